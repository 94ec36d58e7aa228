"""Draw text on Pillow images: fonts, shortened text, and the class legend."""

import unicodedata
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelwise.palette import IGNORE_COLOR, IGNORE_INDEX, Color, Palette
from pixelwise.visualization.overlay import Pixels

TEXT_COLOR: Color = (33, 37, 41)
FAINT_TEXT_COLOR: Color = (92, 99, 106)
BACKGROUND: Color = (255, 255, 255)

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters, surrogates (bytes that are not valid UTF-8), and line separators."""

_DIRECTIONS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional classes in Unicode of the characters that change the direction of the following text."""

_MAX_LENGTH = 400
"""Longer texts are cut to this number of characters before their width is measured."""

_LEGEND_FONT_SIZE = 15

_MAX_CLASSES_LISTED = 24
"""If there are more classes, the legend lists only those in the masks."""


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font DejaVu Sans.

    It is installed with matplotlib. Pillow's default font lacks most accented letters.

    Args:
        size: font size in pixels.
        bold: True for the bold face.
    """
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def shorten(text: str, width: float, face: ImageFont.FreeTypeFont) -> str:
    """Replace the middle of a text with "…" if the text is too wide. The ends are kept, as they differ in file names.

    Args:
        text: the text. Characters that cannot be drawn, such as line breaks, are replaced with U+FFFD.
        width: maximum width in pixels.
        face: the font.

    Returns:
        The text in one line.

    >>> shorten("american_bulldog_151.jpg", 120, font(14))
    'america…51.jpg'
    """
    text = plain(text)
    if len(text) > _MAX_LENGTH:
        text = f"{text[: _MAX_LENGTH // 2]}…{text[-_MAX_LENGTH // 2 :]}"
    if face.getlength(text) <= width:
        return text
    low, high = 0, len(text) - 1  # bounds of the largest number of kept characters that fits
    while low < high:
        kept = (low + high + 1) // 2
        low, high = (kept, high) if face.getlength(_ends(text, kept)) <= width else (low, kept - 1)
    return _ends(text, low)


def wrap(text: str, width: float, face: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text into lines at its spaces. A word that is too wide is shortened.

    Args:
        text: the text.
        width: maximum width of a line in pixels.
        face: the font.

    Returns:
        The lines, at least one.

    >>> wrap("crop (rotate 15, blur 0.2)", 120, font(14))
    ['crop (rotate 15,', 'blur 0.2)']
    """
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and face.getlength(plain(longer)) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shorten(line, width, face) for line in lines]


def _ends(text: str, kept: int) -> str:
    return text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]


def plain(text: str) -> str:
    """Convert a text to one line that can be drawn.

    Control characters, line breaks and characters that change the direction of the text are replaced with U+FFFD.

    >>> plain("cat\\n") == "cat\\ufffd"
    True
    """
    return "".join(
        "\ufffd"
        if unicodedata.category(char) in _UNPRINTABLE or unicodedata.bidirectional(char) in _DIRECTIONS
        else char
        for char in text
    )


def legend(
    classes: Sequence[str], palette: Palette, masks: Sequence[Pixels], width: int, uncolored: Collection[int] = ()
) -> Image.Image:
    """Draw a legend with a color swatch and the name of each class.

    The legend has an entry "ignore" if a mask has ignored pixels. If there are more than 24 classes, it lists only the
    classes in the masks and the number of the others.

    Args:
        classes: class names in index order.
        palette: one color per class.
        masks: the masks that the legend explains, (H, W) uint8.
        width: width in pixels.
        uncolored: classes to leave out.

    Returns:
        A PIL image of mode "RGB". Its height depends on the number of lines.
    """
    present = np.zeros(256, bool)
    for mask in masks:
        present[np.unique(mask)] = True
    colored = [i for i in range(len(classes)) if i not in uncolored]
    listed = [i for i in colored if present[i] or len(colored) <= _MAX_CLASSES_LISTED]
    entries: list[tuple[str, Color | None]] = [(classes[i], palette[i]) for i in listed]
    if present[IGNORE_INDEX]:
        entries.append(("ignore", IGNORE_COLOR))
    if len(listed) < len(colored):
        entries.append((f"({len(colored) - len(listed)} more classes, not in these images)", None))
    return _flow(entries, width)


def _flow(entries: Sequence[tuple[str, Color | None]], width: int) -> Image.Image:
    """Draw the swatch and text of each entry from left to right, with line breaks."""
    face = font(_LEGEND_FONT_SIZE)
    swatch, gap, line_height = 16, 22, 26
    positions: list[tuple[int, int, str, Color | None]] = []
    x = y = 0
    for text, color in entries:
        indent = 0 if color is None else swatch + 7
        text = shorten(text, width - indent, face)
        length = indent + round(face.getlength(text))
        if x and x + length > width:
            x, y = 0, y + line_height
        positions.append((x, y, text, color))
        x += length + gap
    strip = Image.new("RGB", (width, y + line_height), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    for x, y, text, color in positions:
        if color is not None:
            box = (x, y + 5, x + swatch - 1, y + 5 + swatch - 1)
            draw.rectangle(box, fill=color, outline=FAINT_TEXT_COLOR)
            x += swatch + 7
        draw.text((x, y + line_height // 2), text, font=face, fill=TEXT_COLOR, anchor="lm")
    return strip
