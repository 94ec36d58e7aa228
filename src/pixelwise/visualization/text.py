"""Text on images drawn with Pillow: fonts, text that fits, and the legend of classes."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pixelwise.palette import IGNORE_COLOR, Color, Palette
from pixelwise.visualization.overlay import Pixels

INK: Color = (33, 37, 41)


FAINT_INK: Color = (92, 99, 106)


PAPER: Color = (255, 255, 255)


_NO_LETTERS = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, of bytes that are no text, and of ends of lines."""


_LEGEND_SIZE = 15


_LEGEND_LIMIT = 24  # with more classes, the legend lists only those in the images


@lru_cache(maxsize=32)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which comes with matplotlib: Pillow's own font lacks most accented letters."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def shorten(text: str, width: float, face: ImageFont.FreeTypeFont) -> str:
    """Return `text`, its middle replaced with "…" if wider than `width` pixels: ends tell file names apart.

    >>> shorten("american_bulldog_151.jpg", 120, font(14))
    'america…51.jpg'
    """
    # Line breaks and the like cannot be drawn, and names of files may have them.
    text = "".join("\ufffd" if unicodedata.category(each) in _NO_LETTERS else each for each in text)
    if face.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        short = text[: (kept + 1) // 2] + "…" + text[len(text) - kept // 2 :]
        if face.getlength(short) <= width:
            return short
    return "…"


def legend(classes: Sequence[str], palette: Palette, masks: Sequence[Pixels], width: int) -> Image.Image:
    """Return a strip of swatches and class names, `width` pixels wide and as high as its lines need.

    masks: the HW uint8 masks that the legend explains. "ignore" is listed if one of them holds 255. With
    more than 24 classes, those that no mask holds are counted rather than listed.
    """
    present = np.zeros(256, bool)
    for mask in masks:
        present[np.unique(mask)] = True
    listed = [i for i in range(len(classes)) if present[i] or len(classes) <= _LEGEND_LIMIT]
    entries: list[tuple[str, Color | None]] = [(classes[i], palette[i]) for i in listed]
    if present[255]:
        entries.append(("ignore", IGNORE_COLOR))
    if len(listed) < len(classes):
        entries.append((f"({len(classes) - len(listed)} more classes, not in these images)", None))
    return _flow(entries, width)


def _flow(entries: Sequence[tuple[str, Color | None]], width: int) -> Image.Image:
    """Draw swatch and text of each entry from left to right, in as many lines as it takes."""
    face = font(_LEGEND_SIZE)
    swatch, gap, line_height = 16, 22, 26
    places: list[tuple[int, int, str, Color | None]] = []
    x = y = 0
    for text, color in entries:
        indent = 0 if color is None else swatch + 7
        text = shorten(text, width - indent, face)
        length = indent + round(face.getlength(text))
        if x and x + length > width:
            x, y = 0, y + line_height
        places.append((x, y, text, color))
        x += length + gap
    strip = Image.new("RGB", (width, y + line_height), PAPER)
    draw = ImageDraw.Draw(strip)
    for x, y, text, color in places:
        if color is not None:
            box = (x, y + 5, x + swatch - 1, y + 5 + swatch - 1)
            draw.rectangle(box, fill=color, outline=FAINT_INK)
            x += swatch + 7
        draw.text((x, y + line_height // 2), text, font=face, fill=INK, anchor="lm")
    return strip
