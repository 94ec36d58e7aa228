"""Draw grids of images and masks with headings and a legend."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.palette import Palette
from pixelwise.visualization._cells import draw_heading, draw_title, fit_image, fit_mask, paste_centered
from pixelwise.visualization.overlay import Pixels, check_image, check_mask, color_mask, overlay
from pixelwise.visualization.text import BACKGROUND, FAINT_TEXT_COLOR, font, legend, shorten

# All sizes are in pixels.
_MARGIN = 20
_GAP = 10
_PAIR_GAP = 3  # between an image and its overlay
_CELL_BACKGROUND = (238, 240, 242)
_TITLE_SIZE, _HEADING_SIZE, _NAME_SIZE = 20, 15, 13
_MIN_CELL_WIDTH = 24


def prediction_grid(
    images: Sequence[Pixels],
    true_masks: Sequence[Pixels],
    predictions: Sequence[Pixels] | None,
    classes: Sequence[str],
    palette: Palette,
    title: str | None = None,
    width: int = 900,
) -> Image.Image:
    """Draw one row per image with its true mask and its prediction, and a legend below the rows.

    All cells have the median aspect ratio of the images. Images are scaled to fit without distortion. The positions of
    the cells do not depend on the masks, so that the grids of successive epochs can be animated.

    Args:
        images: (H, W, 3) uint8 RGB arrays of any sizes.
        true_masks: (H, W) uint8 arrays as large as their images, values in [0, len(classes)) or 255 = ignore.
        predictions: predicted masks of the same form, or None to leave out their column.
        classes: class names in index order.
        palette: one color per class.
        title: heading of the grid, or None.
        width: width of the grid in pixels.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ValueError: There are no images, the sequences have different lengths, an array has a wrong shape, dtype or
            value, a class has no color, or `width` is too small.

    >>> grid = prediction_grid([image], [true_mask], [mask], ("pet", "background"), default_palette(2),
    ...                        title="epoch 3 · validation mIoU 0.71")  # doctest: +SKIP
    """
    columns = {"true mask": true_masks} | ({} if predictions is None else {"prediction": predictions})
    return mask_grid(images, columns, classes, palette, title, width)


def mask_grid(
    images: Sequence[Pixels],
    columns: Mapping[str, Sequence[Pixels]],
    classes: Sequence[str],
    palette: Palette,
    title: str | None = None,
    width: int = 900,
    names: Sequence[str] | None = None,
) -> Image.Image:
    """Draw one row per image with several masks, and a legend below the rows. See `prediction_grid`.

    Args:
        images: (H, W, 3) uint8 RGB arrays of any sizes.
        columns: heading → one mask per image, (H, W) uint8, values in [0, len(classes)) or 255 = ignore.
        classes: class names in index order.
        palette: one color per class.
        title: heading of the grid, or None.
        width: width of the grid in pixels.
        names: a text below each row, or None.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ValueError: See `prediction_grid`.
    """
    masks = list(columns.values())
    _check(images, masks, classes, palette)
    headings = ("image", *columns)
    cell = _cell_size(images, (width - 2 * _MARGIN - _GAP * len(masks)) // len(headings), width)
    row_height = cell[1] + _GAP + (0 if names is None else _NAME_SIZE + _GAP)

    top = _top(title) + _HEADING_SIZE + 12
    bottom = top + len(images) * row_height
    strip = legend(classes, palette, [mask for column in masks for mask in column], width - 2 * _MARGIN)
    grid = _blank_grid(width, bottom, title, strip)
    for column, heading in enumerate(headings):
        middle = _MARGIN + column * (cell[0] + _GAP) + cell[0] // 2
        draw_heading(grid, middle, top - 8, heading, _HEADING_SIZE)
    for row, image in enumerate(images):
        y = top + row * row_height
        _letterbox(grid, (_MARGIN, y), cell, fit_image(image, cell))
        for column, column_masks in enumerate(masks, start=1):
            drawn = Image.fromarray(color_mask(fit_mask(column_masks[row], cell), palette))
            _letterbox(grid, (_MARGIN + column * (cell[0] + _GAP), y), cell, drawn)
        if names is not None:
            text = shorten(names[row], width - 2 * _MARGIN, font(_NAME_SIZE))
            place = (_MARGIN, y + cell[1] + 5)
            ImageDraw.Draw(grid).text(place, text, font=font(_NAME_SIZE), fill=FAINT_TEXT_COLOR, anchor="la")
    return grid


def overlay_grid(
    images: Sequence[Pixels],
    masks: Sequence[Pixels],
    names: Sequence[str],
    classes: Sequence[str],
    palette: Palette,
    title: str,
    columns: int = 3,
    width: int = 1280,
    uncolored: Collection[int] = (),
) -> Image.Image:
    """Draw each image beside its overlay, with the file name below each pair and a legend at the bottom.

    Args:
        images: (H, W, 3) uint8 RGB arrays of any sizes.
        masks: (H, W) uint8 arrays as large as their images, values in [0, len(classes)) or 255 = ignore.
        names: one name per image. Long names are shortened in the middle.
        classes: class names in index order.
        palette: one color per class.
        title: heading of the grid.
        columns: maximum number of pairs in a row.
        width: width of the grid in pixels.
        uncolored: classes without a color, see `overlay`. The legend leaves them out.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ValueError: There are no images, the sequences have different lengths, an array has a wrong shape, dtype or
            value, a class has no color, `columns` is below 1, or `width` is too small.

    >>> overlay_grid([image], [mask], ["cat.jpg"], ("pet",), default_palette(1), "1 of 200")  # doctest: +SKIP
    """
    _check(images, [masks], classes, palette)
    if len(names) != len(images):
        raise ValueError(f"{len(images)} images but {len(names)} names")
    if columns < 1:
        raise ValueError(f"`columns` is {columns}; a grid has at least one column")
    columns = min(columns, len(images))
    pair_width = (width - 2 * _MARGIN - 2 * _GAP * (columns - 1)) // columns
    cell = _cell_size(images, (pair_width - _PAIR_GAP) // 2, width)
    row_height = cell[1] + _NAME_SIZE + 2 * _GAP

    top = _top(title)
    rows = -(-len(images) // columns)
    strip = legend(classes, palette, masks, width - 2 * _MARGIN, uncolored)
    grid = _blank_grid(width, top + rows * row_height, title, strip)
    draw = ImageDraw.Draw(grid)
    face = font(_NAME_SIZE)
    for i, (image, mask, name) in enumerate(zip(images, masks, names, strict=True)):
        x = _MARGIN + i % columns * (pair_width + 2 * _GAP)
        y = top + i // columns * row_height
        small = fit_image(image, cell)
        # The overlay is drawn after scaling, because scaling makes outlines jagged or invisible.
        drawn = overlay(np.array(small), fit_mask(mask, cell), palette, uncolored=uncolored)
        _letterbox(grid, (x, y), cell, small)
        _letterbox(grid, (x + cell[0] + _PAIR_GAP, y), cell, drawn)
        draw.text((x, y + cell[1] + 5), shorten(name, pair_width, face), font=face, fill=FAINT_TEXT_COLOR, anchor="la")
    return grid


def overlay_pair(
    image: Pixels, mask: Pixels, palette: Palette, width: int = 640, uncolored: Collection[int] = ()
) -> Image.Image:
    """Draw an image beside its overlay.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, values in [0, len(palette)) or 255 = ignore.
        palette: one color per class.
        width: maximum width of the pair in pixels. The maximum height is 3/4 of it. Small images are enlarged.
        uncolored: classes without a color, see `overlay`.

    Returns:
        A PIL image of mode "RGB".

    Raises:
        ValueError: An array has a wrong shape, dtype or value.

    >>> overlay_pair(np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.uint8), ((0, 0, 0),), 123).size
    (123, 40)
    """
    check_mask(mask, palette)
    check_image(image, mask)
    side = (width - _PAIR_GAP) // 2
    cell = side, round(1.5 * side)
    small = fit_image(image, cell)
    drawn = overlay(np.array(small), fit_mask(mask, cell), palette, uncolored=uncolored)
    pair = Image.new("RGB", (2 * small.width + _PAIR_GAP, small.height), BACKGROUND)
    pair.paste(small, (0, 0))
    pair.paste(drawn, (small.width + _PAIR_GAP, 0))
    return pair


def _check(
    images: Sequence[Pixels], masks: Sequence[Sequence[Pixels]], classes: Sequence[str], palette: Palette
) -> None:
    """Raise ValueError unless each image has a mask of its size in each column, and each class has a color."""
    if not images:
        raise ValueError("a grid needs at least one image")
    if len(classes) != len(palette):
        raise ValueError(f"{len(classes)} classes but {len(palette)} colors")
    for column in masks:
        if len(column) != len(images):
            raise ValueError(f"{len(images)} images but {len(column)} masks")
        for image, mask in zip(images, column, strict=True):
            check_mask(mask, palette)
            check_image(image, mask)


def _cell_size(images: Sequence[Pixels], cell_width: int, grid_width: int) -> tuple[int, int]:
    """Return (width, height) of a cell. Its height/width is the images' median, clipped to [0.5, 1.5]."""
    if cell_width < _MIN_CELL_WIDTH:
        raise ValueError(f"a grid {grid_width} pixels wide is too narrow for its columns; increase `width`")
    ratio = float(np.clip(np.median([image.shape[0] / image.shape[1] for image in images]), 0.5, 1.5))
    return cell_width, round(cell_width * ratio)


def _top(title: str | None) -> int:
    return _MARGIN if title is None else _MARGIN + _TITLE_SIZE + 16


def _blank_grid(width: int, bottom: int, title: str | None, strip: Image.Image) -> Image.Image:
    """Return a grid without images: the title at the top, and the legend below `bottom`."""
    grid = Image.new("RGB", (width, bottom + strip.height + _MARGIN - 6), BACKGROUND)
    if title is not None:
        draw_title(grid, (_MARGIN, _MARGIN - 2), title, _TITLE_SIZE, width - 2 * _MARGIN)
    grid.paste(strip, (_MARGIN, bottom + 2))
    return grid


def _letterbox(grid: Image.Image, corner: tuple[int, int], cell: tuple[int, int], image: Image.Image) -> None:
    """Paste an image into the center of the cell whose upper left corner is `corner`."""
    x, y = corner
    grid.paste(_CELL_BACKGROUND, (x, y, x + cell[0], y + cell[1]))
    paste_centered(grid, corner, cell, image)
