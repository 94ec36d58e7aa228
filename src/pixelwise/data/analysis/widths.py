"""The width of the regions of each value in a mask, in pixels of the mask."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_MIN_REDUCED_WIDTH = 4.0
"""Regions that are narrower in the reduced mask, in its pixels, are measured at full size."""

_MAX_FULL_SIZE_VALUES = 8
"""Maximum number of values per mask that are measured at full size: the narrowest ones in the reduced mask."""

MAX_FULL_SIDE = 4096
"""Maximum side in pixels of the part of a mask that is measured at full size. It is around a pixel of the value."""

_EIGHT_CONNECTED = np.ones((3, 3), int)


def value_widths(
    values: npt.NDArray[np.generic], reduced: npt.NDArray[np.generic], kept: Sequence[int], exact: bool = True
) -> npt.NDArray[np.float32]:
    """Return the typical width of the regions of each value in a mask, see `region_width`.

    Wide regions are measured in the reduced mask. Narrow ones are measured at full size, because reducing the mask
    breaks them up or removes them.

    Args:
        values: (H, W) the value of each pixel.
        reduced: the same mask, reduced by nearest neighbor.
        kept: the K values to measure.
        exact: measure the narrow regions of at most `_MAX_FULL_SIZE_VALUES` values at full size.

    Returns:
        (K,) float32, in pixels of the full mask. 0 for a value that is not found in the mask in which it is measured.
    """
    factor = max(values.shape) / max(reduced.shape)
    return widths_by_parts(factor, reduced, kept, (lambda value: _crop(values == value)) if exact else None)


def widths_by_parts(
    factor: float,
    reduced: npt.NDArray[np.generic],
    kept: Sequence[int],
    part_of: Callable[[int], npt.NDArray[np.bool_]] | None,
) -> npt.NDArray[np.float32]:
    """Return the typical width of the regions of each value, see `value_widths`, without the mask at full size.

    Args:
        factor: long side of the mask divided by that of the reduced mask.
        reduced: the mask, reduced by nearest neighbor.
        kept: the K values to measure.
        part_of: a function of a value. It returns a part of the mask at full size, True at the pixels that have the
            value. None to measure all values in the reduced mask.

    Returns:
        (K,) float32, in pixels of the full mask.
    """
    widths = np.array([region_width(reduced == value) for value in kept], np.float32)
    if factor > 1 and part_of is not None:
        narrow = [index for index in np.argsort(widths, kind="stable").tolist() if widths[index] < _MIN_REDUCED_WIDTH]
        for index in narrow[:_MAX_FULL_SIZE_VALUES]:
            widths[index] = region_width(part_of(kept[index])) / factor
    return (widths * factor).astype(np.float32)


def _crop(present: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the bounding box of the pixels. If the mask exceeds `MAX_FULL_SIDE`, return a part of it."""
    rows, columns = np.flatnonzero(present.any(1)), np.flatnonzero(present.any(0))
    if not len(rows):
        return present[:0]
    if max(present.shape) > MAX_FULL_SIDE:
        row = int(rows[len(rows) // 2])
        inside = np.flatnonzero(present[row])
        column = int(inside[len(inside) // 2])
        top, left = max(row - MAX_FULL_SIDE // 2, 0), max(column - MAX_FULL_SIDE // 2, 0)
        return present[top : top + MAX_FULL_SIDE, left : left + MAX_FULL_SIDE]
    return present[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def region_width(present: npt.NDArray[np.bool_]) -> float:
    """Return the typical width of the connected regions: the short side of a rectangle with their area and outline.

    Area and outline are means over the regions. For a strip at any angle, the result is its width within 10 %. For a
    compact region such as a disc or a square, it is the square root of the area. The outline is measured by the
    Cauchy-Crofton formula from the changes along rows, columns and diagonals. The edge of the image is part of it.

    Args:
        present: (H, W) bool. Regions that touch at a corner are connected.

    Returns:
        The width in pixels. 0 if there are no regions.

    >>> square = np.zeros((50, 50), bool)
    >>> square[10:20, 10:20] = True
    >>> round(region_width(square), 1)
    10.0
    """
    area = int(np.count_nonzero(present))
    if not area:
        return 0.0
    _, count = ndimage.label(present, _EIGHT_CONNECTED)
    side, half = _outline(present) / count / 4, area / count
    discriminant = side**2 - half
    width = math.sqrt(half) if discriminant <= 0 else side - math.sqrt(discriminant)
    return min(width, *present.shape)


def _outline(present: npt.NDArray[np.bool_]) -> float:
    """Return the length of the outline of all regions in pixels."""
    present = np.pad(present, 1)
    straight = np.count_nonzero(present[:, 1:] != present[:, :-1]) + np.count_nonzero(present[1:] != present[:-1])
    diagonal = np.count_nonzero(present[1:, 1:] != present[:-1, :-1])
    diagonal += np.count_nonzero(present[1:, :-1] != present[:-1, 1:])
    return math.pi / 8 * (straight + diagonal / math.sqrt(2))
