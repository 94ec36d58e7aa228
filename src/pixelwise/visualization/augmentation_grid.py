"""Draw several random versions of each of a few images with their masks."""

from collections.abc import Collection, Sequence

import numpy as np
from PIL import Image

from pixelwise.palette import Palette
from pixelwise.visualization._cells import draw_heading, draw_title, fit_image, fit_mask, paste_centered
from pixelwise.visualization.overlay import Pixels, overlay
from pixelwise.visualization.text import BACKGROUND, font, legend, wrap

# All sizes are in pixels.
_CELL, _GAP, _MARGIN = 160, 6, 20
_TITLE_SIZE, _LINE_HEIGHT, _HEADING_SIZE = 15, 19, 14


def augmentation_grid(
    versions: Sequence[Sequence[tuple[Pixels, Pixels]]],
    classes: Sequence[str],
    palette: Palette,
    title: str,
    uncolored: Collection[int] = (),
) -> Image.Image:
    """Draw one row per image: its versions, each with its mask as an overlay. A legend is at the bottom.

    A cell has 160x160 pixels. Larger pairs are reduced and smaller ones are enlarged, without distortion.

    Args:
        versions: for each row, the same number of images, (H, W, 3) uint8 RGB, and masks. Masks are (H, W) uint8 with
            values in [0, len(classes)) or 255 = ignore.
        classes: class names in index order.
        palette: one color per class.
        title: heading of the grid. A long one is broken into lines.
        uncolored: classes without a color, see `overlay`. The legend leaves them out.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ValueError: There are no images, a row has another number of versions, or an image or a mask is not valid.

    >>> image, mask = np.zeros((40, 60, 3), np.uint8), np.zeros((40, 60), np.uint8)
    >>> augmentation_grid([[(image, mask)] * 3], ("cat",), ((255, 0, 0),), "crop").width
    532
    """
    columns = len(versions[0]) if versions else 0
    if not columns or any(len(row) != columns for row in versions):
        raise ValueError("each image needs the same number of versions, and there must be at least one image")
    width = 2 * _MARGIN + columns * _CELL + (columns - 1) * _GAP
    titles = wrap(title, width - 2 * _MARGIN, font(_TITLE_SIZE, bold=True))
    top = _MARGIN + len(titles) * _LINE_HEIGHT + 8 + _HEADING_SIZE + 8
    bottom = top + len(versions) * (_CELL + _GAP)
    masks = [mask for row in versions for _, mask in row]
    strip = legend(classes, palette, masks, width - 2 * _MARGIN, uncolored)
    grid = Image.new("RGB", (width, bottom + strip.height + _MARGIN), BACKGROUND)
    for number, line in enumerate(titles):
        draw_title(grid, (_MARGIN, _MARGIN + number * _LINE_HEIGHT), line, _TITLE_SIZE, width - 2 * _MARGIN)
    left = [_MARGIN + column * (_CELL + _GAP) for column in range(columns)]
    for column, x in enumerate(left):
        draw_heading(grid, x + _CELL // 2, top - 8, f"version {column + 1}", _HEADING_SIZE)
    for number, row in enumerate(versions):
        for x, (image, mask) in zip(left, row, strict=True):
            drawn = _draw(image, mask, palette, uncolored)
            paste_centered(grid, (x, top + number * (_CELL + _GAP)), (_CELL, _CELL), drawn)
    grid.paste(strip, (_MARGIN, bottom + 4))
    return grid


def _draw(image: Pixels, mask: Pixels, palette: Palette, uncolored: Collection[int]) -> Image.Image:
    """Return the overlay of a mask over an image. Its longer side is that of a cell."""
    if image.shape[:2] != mask.shape:
        raise ValueError(f"an image of shape {image.shape} has a mask of shape {mask.shape}")
    # The overlay is drawn after scaling, because scaling makes outlines jagged or invisible.
    pixels = fit_image(image, (_CELL, _CELL), Image.Resampling.BILINEAR)
    return overlay(np.array(pixels), fit_mask(mask, (_CELL, _CELL)), palette, 0.4, uncolored)
