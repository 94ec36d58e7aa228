"""Sheets of images with their masks: one image that shows many samples, with headings and a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.palette import Palette
from pixelwise.visualization.overlay import Pixels, check_image, check_mask, color_mask, overlay
from pixelwise.visualization.text import FAINT_INK, INK, PAPER, font, legend, shorten

_MARGIN = 20


_GAP = 10


_PAIR_GAP = 3  # between an image and its own overlay


_CELL_PAPER = (238, 240, 242)  # behind images that do not fill their cell


_TITLE_SIZE, _HEADING_SIZE, _NAME_SIZE = 20, 15, 13


_SMALLEST_CELL = 24


def prediction_grid(
    images: Sequence[Pixels],
    truths: Sequence[Pixels],
    predictions: Sequence[Pixels] | None,
    classes: Sequence[str],
    palette: Palette,
    title: str | None = None,
    width: int = 900,
) -> Image.Image:
    """Return one row a sample: image, true mask and (unless `predictions` is None) prediction; then a legend.

    images: HWC uint8 RGB in [0, 255], of any sizes; truths, predictions: HW uint8 of the same height and
    width as their image, values in [0, len(classes)) or 255 = ignore; classes: one name for each color of
    `palette`; width: of the sheet, in pixels. Returns mode "RGB". All cells have the samples' median shape;
    each image is scaled to fit its cell, never distorted. The same images give the same places, whatever is
    predicted, so that the sheets of successive epochs can be animated.

    Raises ValueError for no images, sequences of different lengths, a mask of another size than its image,
    or a class without a color.

    >>> sheet = prediction_grid([image], [truth], [mask], ("pet", "background"), default_palette(2),
    ...                      title="epoch 3 · validation mIoU 0.71")  # doctest: +SKIP
    """
    masks = [truths] if predictions is None else [truths, predictions]
    _check(images, masks, classes, palette)
    headings = ("image", "true mask", "prediction")[: 1 + len(masks)]
    cell = _cell_size(images, (width - 2 * _MARGIN - _GAP * len(masks)) // len(headings), width)

    top = _top(title) + _HEADING_SIZE + 12
    bottom = top + len(images) * (cell[1] + _GAP)
    sheet = _paper(width, bottom, title, legend(classes, palette, _all(masks), width - 2 * _MARGIN))
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        middle = _MARGIN + column * (cell[0] + _GAP) + cell[0] // 2
        draw.text((middle, top - 8), heading, font=font(_HEADING_SIZE), fill=FAINT_INK, anchor="ms")
    for row, image in enumerate(images):
        y = top + row * (cell[1] + _GAP)
        _letterbox(sheet, (_MARGIN, y), cell, _fit_image(image, cell))
        for column, column_masks in enumerate(masks, start=1):
            drawn = Image.fromarray(color_mask(_fit_mask(column_masks[row], cell), palette))
            _letterbox(sheet, (_MARGIN + column * (cell[0] + _GAP), y), cell, drawn)
    return sheet


def overlay_grid(
    images: Sequence[Pixels],
    masks: Sequence[Pixels],
    names: Sequence[str],
    classes: Sequence[str],
    palette: Palette,
    title: str,
    columns: int = 3,
    width: int = 1280,
) -> Image.Image:
    """Return a grid of pairs, each an image beside its overlay with the file's name below; then a legend.

    images: HWC uint8 RGB in [0, 255], of any sizes; masks: HW uint8 of the same height and width as their
    image, values in [0, len(classes)) or 255 = ignore; names: one an image, shortened in the middle where
    too long; columns: most pairs in a row; width: of the sheet, in pixels. Returns mode "RGB".

    Raises ValueError for no images, sequences of different lengths, a mask of another size than its image,
    or a class without a color.

    >>> overlay_grid([image], [mask], ["cat.jpg"], ("pet",), default_palette(1), "1 of 200")  # doctest: +SKIP
    """
    _check(images, [masks], classes, palette)
    if len(names) != len(images):
        raise ValueError(f"{len(images)} images but {len(names)} names")
    if columns < 1:
        raise ValueError(f"a sheet has at least one column, not {columns}")
    columns = min(columns, len(images))
    pair_width = (width - 2 * _MARGIN - 2 * _GAP * (columns - 1)) // columns
    cell = _cell_size(images, (pair_width - _PAIR_GAP) // 2, width)
    row_height = cell[1] + _NAME_SIZE + 2 * _GAP

    top = _top(title)
    rows = -(-len(images) // columns)
    strip = legend(classes, palette, masks, width - 2 * _MARGIN)
    sheet = _paper(width, top + rows * row_height, title, strip)
    draw = ImageDraw.Draw(sheet)
    face = font(_NAME_SIZE)
    for i, (image, mask, name) in enumerate(zip(images, masks, names, strict=True)):
        x = _MARGIN + i % columns * (pair_width + 2 * _GAP)
        y = top + i // columns * row_height
        small = _fit_image(image, cell)
        # Outlined after scaling: an outline drawn on the full image would be lost or jagged in a small cell.
        drawn = overlay(np.array(small), _fit_mask(mask, cell), palette)
        _letterbox(sheet, (x, y), cell, small)
        _letterbox(sheet, (x + cell[0] + _PAIR_GAP, y), cell, drawn)
        draw.text((x, y + cell[1] + 5), shorten(name, pair_width, face), font=face, fill=FAINT_INK, anchor="la")
    return sheet


def _check(
    images: Sequence[Pixels], masks: Sequence[Sequence[Pixels]], classes: Sequence[str], palette: Palette
) -> None:
    """Raise ValueError unless each image has a mask of its size in each of `masks`, each class a color."""
    if not images:
        raise ValueError("a sheet needs at least one image")
    if len(classes) != len(palette):
        raise ValueError(f"{len(classes)} classes but {len(palette)} colors")
    for column in masks:
        if len(column) != len(images):
            raise ValueError(f"{len(images)} images but {len(column)} masks")
        for image, mask in zip(images, column, strict=True):
            check_mask(mask, palette)
            check_image(image, mask)


def _cell_size(images: Sequence[Pixels], cell_width: int, sheet_width: int) -> tuple[int, int]:
    """Return width and height of every cell: the images' median shape, within reason."""
    if cell_width < _SMALLEST_CELL:
        raise ValueError(f"a sheet {sheet_width} pixels wide has no room for so many columns")
    ratio = float(np.clip(np.median([image.shape[0] / image.shape[1] for image in images]), 0.5, 1.5))
    return cell_width, round(cell_width * ratio)


def _all(columns: Sequence[Sequence[Pixels]]) -> list[Pixels]:
    return [mask for column in columns for mask in column]


def _top(title: str | None) -> int:
    return _MARGIN if title is None else _MARGIN + _TITLE_SIZE + 16


def _paper(width: int, bottom: int, title: str | None, strip: Image.Image) -> Image.Image:
    """Return an empty sheet with its title and, below `bottom`, the legend `strip`."""
    sheet = Image.new("RGB", (width, bottom + strip.height + _MARGIN - 6), PAPER)
    if title is not None:
        face = font(_TITLE_SIZE, bold=True)
        text = shorten(title, width - 2 * _MARGIN, face)
        ImageDraw.Draw(sheet).text((_MARGIN, _MARGIN - 2), text, font=face, fill=INK, anchor="la")
    sheet.paste(strip, (_MARGIN, bottom + 2))
    return sheet


def _fitted_size(array: Pixels, cell: tuple[int, int]) -> tuple[int, int]:
    """Return the greatest width and height of the shape of `array` (HW or HWC) that `cell` holds."""
    height, width = array.shape[:2]
    scale = min(cell[0] / width, cell[1] / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fit_image(image: Pixels, cell: tuple[int, int]) -> Image.Image:
    return Image.fromarray(image).resize(_fitted_size(image, cell), Image.Resampling.LANCZOS)


def _fit_mask(mask: Pixels, cell: tuple[int, int]) -> Pixels:
    resized = Image.fromarray(mask).resize(_fitted_size(mask, cell), Image.Resampling.NEAREST)
    return np.array(resized)


def _letterbox(sheet: Image.Image, corner: tuple[int, int], cell: tuple[int, int], image: Image.Image) -> None:
    """Paste `image` in the middle of the cell whose upper left corner is `corner`."""
    x, y = corner
    sheet.paste(_CELL_PAPER, (x, y, x + cell[0], y + cell[1]))
    sheet.paste(image, (x + (cell[0] - image.width) // 2, y + (cell[1] - image.height) // 2))
