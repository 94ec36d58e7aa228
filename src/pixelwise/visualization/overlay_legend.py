"""The legend inside an overlay: class names and colors in the corner with the fewest colored pixels."""

from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.palette import Color, Palette
from pixelwise.visualization.overlay import Pixels, check_mask
from pixelwise.visualization.text import BACKGROUND, FAINT_TEXT_COLOR, TEXT_COLOR, font, shorten

_MIN_SIDE = 120
"""Minimum side of an image in pixels. In a smaller image, a legible legend would hide too much."""

_FONT_FRACTION, _MIN_FONT_SIZE, _MAX_FONT_SIZE = 0.034, 11, 72
"""Font size as a fraction of the shorter side, and its limits in pixels."""

_MAX_HEIGHT, _MAX_WIDTH = 0.4, 0.6
"""Maximum height and width of the legend as fractions of the image's height and width."""

_COLUMNS = 2
"""Maximum number of columns."""

_OPACITY = 205
"""Opacity of the legend's background, in [0, 255]."""


def add_legend(
    drawn: Image.Image, mask: Pixels, classes: Sequence[str], palette: Palette, uncolored: Collection[int] = ()
) -> None:
    """Draw a legend with the name and the color of each class in the mask onto an overlay.

    The legend is in the corner where it hides the fewest colored pixels. If it has no room for all classes, it lists
    those with the most pixels and the number of the others. An image with a side below 120 pixels is left unchanged.

    Args:
        drawn: the overlay, an RGB image. It is changed.
        mask: (H, W) uint8 of the same size, values in [0, len(classes)) or 255 = ignore.
        classes: class names in index order.
        palette: one color per class.
        uncolored: mask values to leave out, see `overlay`.

    Raises:
        ValueError: The mask has a wrong shape, dtype or value.
    """
    check_mask(mask, palette)
    if min(drawn.size) < _MIN_SIDE:
        return
    pixels = np.array(Image.fromarray(mask).histogram())
    pixels[list(uncolored)] = 0
    present = np.flatnonzero(pixels[: len(classes)])
    if not len(present):
        return
    size = int(np.clip(min(drawn.size) * _FONT_FRACTION, _MIN_FONT_SIZE, _MAX_FONT_SIZE))
    rows = max(1, int(drawn.height * _MAX_HEIGHT / (1.5 * size)) - 1)
    if len(present) > _COLUMNS * rows:
        listed = np.sort(present[np.argsort(-pixels[present], kind="stable")][: _COLUMNS * rows - 1])
    else:
        listed = present
    entries: list[tuple[str, Color | None]] = [(classes[index], palette[index]) for index in listed]
    if len(listed) < len(present):
        entries.append((f"and {len(present) - len(listed)} more", None))
    columns = -(-len(entries) // rows)
    panel = _panel(tuple(entries), rows, size, int(drawn.width * _MAX_WIDTH / columns))
    is_colored = np.ones(256, bool)
    is_colored[list(uncolored)] = False
    drawn.paste(panel, _emptiest_corner(mask, is_colored, panel.size, size // 2), panel)


@lru_cache(maxsize=64)
def _panel(entries: tuple[tuple[str, Color | None], ...], max_rows: int, size: int, max_width: int) -> Image.Image:
    """Draw the entries of a legend in columns on a translucent rectangle.

    Args:
        entries: (text, color of its swatch or None).
        max_rows: maximum number of entries in a column.
        size: font size in pixels.
        max_width: maximum width of a column in pixels. Longer texts are shortened.
    """
    face, line, padding = font(size), round(1.5 * size), size // 2
    indent = padding + size + padding
    texts = [shorten(text, max(max_width - indent - padding, size), face) for text, _ in entries]
    columns = -(-len(entries) // max_rows)
    rows = -(-len(entries) // columns)
    width = indent + max(round(face.getlength(text)) for text in texts) + padding
    panel = Image.new("RGBA", (width * columns, line * rows + padding), (*BACKGROUND, _OPACITY))
    draw = ImageDraw.Draw(panel)
    for number, (text, (_, color)) in enumerate(zip(texts, entries, strict=True)):
        left = number // rows * width
        middle = padding // 2 + number % rows * line + line // 2
        if color is not None:
            top = middle - size // 2
            box = (left + padding, top, left + padding + size - 1, top + size - 1)
            draw.rectangle(box, fill=(*color, 255), outline=(*FAINT_TEXT_COLOR, 255))
        draw.text((left + indent, middle), text, font=face, fill=(*TEXT_COLOR, 255), anchor="lm")
    return panel


def _emptiest_corner(mask: Pixels, is_colored: np.ndarray, size: tuple[int, int], margin: int) -> tuple[int, int]:
    """Return the (left, top) of a rectangle in the corner with the fewest colored pixels. In a tie: lower left first.

    Args:
        mask: (H, W) uint8.
        is_colored: (256,) bool, True for the mask values that are colored.
        size: (width, height) of the rectangle in pixels.
        margin: distance to the edges of the image in pixels.
    """
    right, bottom = mask.shape[1] - size[0] - margin, mask.shape[0] - size[1] - margin
    corners = [(left, top) for top in (bottom, margin) for left in (margin, right)]

    def hidden(corner: tuple[int, int]) -> int:
        left, top = corner
        return int(np.count_nonzero(is_colored[mask[max(top, 0) : top + size[1], max(left, 0) : left + size[0]]]))

    return min(corners, key=hidden)
