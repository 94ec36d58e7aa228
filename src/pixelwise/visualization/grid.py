"""Sheets of photos with their masks: one picture that shows many samples, with headings and a legend."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pixelwise.palette import Palette
from pixelwise.visualization.overlay import Pixels, check_mask, check_photo, color_mask, overlay
from pixelwise.visualization.text import FAINT_INK, INK, PAPER, font, legend, shorten

_MARGIN = 20


_GAP = 10


_PAIR_GAP = 3  # between a photo and its own overlay


_CELL_PAPER = (238, 240, 242)  # behind photos that do not fill their cell


_TITLE_SIZE, _HEADING_SIZE, _NAME_SIZE = 20, 15, 13


_SMALLEST_CELL = 24


def prediction_grid(
    photos: Sequence[Pixels],
    truths: Sequence[Pixels],
    predictions: Sequence[Pixels] | None,
    classes: Sequence[str],
    palette: Palette,
    title: str | None = None,
    width: int = 900,
) -> Image.Image:
    """Return one row a sample: photo, true mask and (unless `predictions` is None) prediction; then a legend.

    photos: HWC uint8 RGB in [0, 255], of any sizes; truths, predictions: HW uint8 of the same height and
    width as their photo, values in [0, len(classes)) or 255 = ignore; classes: one name for each colour of
    `palette`; width: of the sheet, in pixels. Returns mode "RGB". All cells have the samples' median shape;
    each photo is scaled to fit its cell, never distorted. The same photos give the same places, whatever is
    predicted, so that the sheets of successive epochs can be animated.

    Raises ValueError for no photos, sequences of different lengths, a mask of another size than its photo,
    or a class without a colour.

    >>> sheet = prediction_grid([photo], [truth], [mask], ("pet", "background"), default_palette(2),
    ...                      title="epoch 3 · validation mIoU 0.71")  # doctest: +SKIP
    """
    masks = [truths] if predictions is None else [truths, predictions]
    _check(photos, masks, classes, palette)
    headings = ("photo", "true mask", "prediction")[: 1 + len(masks)]
    cell = _cell_size(photos, (width - 2 * _MARGIN - _GAP * len(masks)) // len(headings), width)

    top = _top(title) + _HEADING_SIZE + 12
    bottom = top + len(photos) * (cell[1] + _GAP)
    sheet = _paper(width, bottom, title, legend(classes, palette, _all(masks), width - 2 * _MARGIN))
    draw = ImageDraw.Draw(sheet)
    for column, heading in enumerate(headings):
        middle = _MARGIN + column * (cell[0] + _GAP) + cell[0] // 2
        draw.text((middle, top - 8), heading, font=font(_HEADING_SIZE), fill=FAINT_INK, anchor="ms")
    for row, photo in enumerate(photos):
        y = top + row * (cell[1] + _GAP)
        _letterbox(sheet, (_MARGIN, y), cell, _fit_photo(photo, cell))
        for column, column_masks in enumerate(masks, start=1):
            drawn = Image.fromarray(color_mask(_fit_mask(column_masks[row], cell), palette))
            _letterbox(sheet, (_MARGIN + column * (cell[0] + _GAP), y), cell, drawn)
    return sheet


def overlay_grid(
    photos: Sequence[Pixels],
    masks: Sequence[Pixels],
    names: Sequence[str],
    classes: Sequence[str],
    palette: Palette,
    title: str,
    columns: int = 3,
    width: int = 1280,
) -> Image.Image:
    """Return a grid of pairs, each a photo beside its overlay with the file's name below; then a legend.

    photos: HWC uint8 RGB in [0, 255], of any sizes; masks: HW uint8 of the same height and width as their
    photo, values in [0, len(classes)) or 255 = ignore; names: one a photo, shortened in the middle where
    too long; columns: most pairs in a row; width: of the sheet, in pixels. Returns mode "RGB".

    Raises ValueError for no photos, sequences of different lengths, a mask of another size than its photo,
    or a class without a colour.

    >>> overlay_grid([photo], [mask], ["cat.jpg"], ("pet",), default_palette(1), "1 of 200")  # doctest: +SKIP
    """
    _check(photos, [masks], classes, palette)
    if len(names) != len(photos):
        raise ValueError(f"{len(photos)} photos but {len(names)} names")
    if columns < 1:
        raise ValueError(f"a sheet has at least one column, not {columns}")
    columns = min(columns, len(photos))
    pair_width = (width - 2 * _MARGIN - 2 * _GAP * (columns - 1)) // columns
    cell = _cell_size(photos, (pair_width - _PAIR_GAP) // 2, width)
    row_height = cell[1] + _NAME_SIZE + 2 * _GAP

    top = _top(title)
    rows = -(-len(photos) // columns)
    strip = legend(classes, palette, masks, width - 2 * _MARGIN)
    sheet = _paper(width, top + rows * row_height, title, strip)
    draw = ImageDraw.Draw(sheet)
    face = font(_NAME_SIZE)
    for i, (photo, mask, name) in enumerate(zip(photos, masks, names, strict=True)):
        x = _MARGIN + i % columns * (pair_width + 2 * _GAP)
        y = top + i // columns * row_height
        small = _fit_photo(photo, cell)
        # Outlined after scaling: an outline drawn on the full photo would be lost or jagged in a small cell.
        drawn = overlay(np.array(small), _fit_mask(mask, cell), palette)
        _letterbox(sheet, (x, y), cell, small)
        _letterbox(sheet, (x + cell[0] + _PAIR_GAP, y), cell, drawn)
        draw.text((x, y + cell[1] + 5), shorten(name, pair_width, face), font=face, fill=FAINT_INK, anchor="la")
    return sheet


def _check(
    photos: Sequence[Pixels], masks: Sequence[Sequence[Pixels]], classes: Sequence[str], palette: Palette
) -> None:
    """Raise ValueError unless each photo has a mask of its size in each of `masks`, each class a colour."""
    if not photos:
        raise ValueError("a sheet needs at least one photo")
    if len(classes) != len(palette):
        raise ValueError(f"{len(classes)} classes but {len(palette)} colours")
    for column in masks:
        if len(column) != len(photos):
            raise ValueError(f"{len(photos)} photos but {len(column)} masks")
        for photo, mask in zip(photos, column, strict=True):
            check_mask(mask, palette)
            check_photo(photo, mask)


def _cell_size(photos: Sequence[Pixels], cell_width: int, sheet_width: int) -> tuple[int, int]:
    """Return width and height of every cell: the photos' median shape, within reason."""
    if cell_width < _SMALLEST_CELL:
        raise ValueError(f"a sheet {sheet_width} pixels wide has no room for so many columns")
    ratio = float(np.clip(np.median([photo.shape[0] / photo.shape[1] for photo in photos]), 0.5, 1.5))
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


def _fit_photo(photo: Pixels, cell: tuple[int, int]) -> Image.Image:
    return Image.fromarray(photo).resize(_fitted_size(photo, cell), Image.Resampling.LANCZOS)


def _fit_mask(mask: Pixels, cell: tuple[int, int]) -> Pixels:
    resized = Image.fromarray(mask).resize(_fitted_size(mask, cell), Image.Resampling.NEAREST)
    return np.array(resized)


def _letterbox(sheet: Image.Image, corner: tuple[int, int], cell: tuple[int, int], picture: Image.Image) -> None:
    """Paste `picture` in the middle of the cell whose upper left corner is `corner`."""
    x, y = corner
    sheet.paste(_CELL_PAPER, (x, y, x + cell[0], y + cell[1]))
    sheet.paste(picture, (x + (cell[0] - picture.width) // 2, y + (cell[1] - picture.height) // 2))
