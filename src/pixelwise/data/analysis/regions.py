"""For each value in a mask: pixel count, object count and sizes, mean width."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pixelwise.data.analysis.moments import region_moments
from pixelwise.data.analysis.widths import value_widths
from pixelwise.data.label_map.mask_stats import MaskStats
from pixelwise.data.label_map.value_counts import gray_to_rgb
from pixelwise.palette import unpack_rgb

MAX_SIDE = 256
"""Masks are reduced to this longest side, in pixels, before objects are counted."""

MIN_OBJECT_PIXELS = 5
"""Regions of the reduced mask with fewer pixels are not counted as objects."""

MAX_OBJECT_SIZES = 64
"""Maximum number of object sizes kept per value and mask. They are evenly spaced in the sorted sizes."""

MAX_REGION_VALUES = 64
"""Maximum number of values kept per mask, the most frequent ones.

In lossy masks (JPEG, lossy WebP), the pixels of each other value are added to the nearest kept value.
"""

MAX_SMALL_VALUES = 8
"""Maximum number of values without objects, per mask, whose regions are measured at full size.

The most frequent of these values are measured.
"""

_MAX_LOSSY_DISTANCE = 32
"""Values of a lossy mask that differ by at most this, in every channel, count as one value."""

NO_VALUE = -1
"""Stands for the value of pixels that are left out, because the image has no data there."""

_EIGHT_CONNECTED = np.ones((3, 3), int)


@dataclass(frozen=True, eq=False)
class RegionStats:
    """The regions of each of the K values in one mask file.

    Attributes:
        values: (K,) uint32, the values.
        colors: (K,) uint32, their colors as 0xRRGGBB.
        pixels: (K,) int64, pixel counts. 0 for a value that only has pixels without data.
        objects: (K,) int64, numbers of connected regions with at least `MIN_OBJECT_PIXELS` pixels.
        mean_widths: (K,) float32, see `mean_width`.
        widths: (K,) float32, widths of regions in pixels of the mask, see `value_widths`.
        object_sizes: K float32 arrays of at most `MAX_OBJECT_SIZES` sizes, see `object_sizes`.
        small_sizes: (K,) float32, for values whose regions are all too small to count as objects: their median size in
            the mask at full size, see `object_sizes`. 0 for other values, for values beyond `MAX_SMALL_VALUES`, and in
            lossy masks.
        zero_contacts: (K,) float32, see `zero_contacts`.
        moments: (K, 3) float32, see `region_moments`.
    """

    values: np.ndarray
    colors: np.ndarray
    pixels: np.ndarray
    objects: np.ndarray
    mean_widths: np.ndarray
    widths: np.ndarray
    object_sizes: tuple[np.ndarray, ...]
    small_sizes: np.ndarray
    zero_contacts: np.ndarray
    moments: np.ndarray


def region_stats(stats: MaskStats, values: np.ndarray, missing: npt.NDArray[np.bool_] | None = None) -> RegionStats:
    """Measure the regions of each value in a mask.

    Args:
        stats: the value counts of the mask.
        values: (H, W) the value of each pixel.
        missing: (H, W), True for pixels that are left out. None to use all.
    """
    small = reduce_mask(values)
    counts = stats.values if missing is None else _count_present(stats, values, missing)
    counted = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if stats.lossy:
        counted, small = _merge_lossy_values(counted, small, stats.kind)
    if missing is not None:
        small = np.where(reduce_mask(missing), NO_VALUE, small.astype(np.int32))
        values = np.where(missing, NO_VALUE, values.astype(np.int32))
    kept = [value for value, _ in counted[:MAX_REGION_VALUES]]
    sizes = [object_sizes(small == value) for value in kept]
    if stats.lossy:
        small_sizes = np.zeros(len(kept), np.float32)
    else:
        small_sizes = median_small_sizes(kept, sizes, lambda value: object_sizes(values == value, min_pixels=1))
    total = int(np.count_nonzero(values != NO_VALUE)) if stats.numbered > MAX_REGION_VALUES else 0
    widths = value_widths(values, small, kept, exact=not stats.lossy)
    return measure_regions(stats, counted, small, sizes, total, widths, small_sizes)


def measure_regions(
    stats: MaskStats,
    counted: Sequence[tuple[int, int]],
    small: np.ndarray,
    sizes: Sequence[np.ndarray],
    total: int,
    widths: np.ndarray,
    small_sizes: np.ndarray,
) -> RegionStats:
    """Measure the regions of each value in a reduced mask.

    Args:
        stats: the value counts of the mask.
        counted: (value, number of pixels), most frequent first.
        small: the mask, see `reduce_mask`. Pixels that are left out are `NO_VALUE`.
        sizes: the sizes of the objects of each value, see `object_sizes`. Values are the first `MAX_REGION_VALUES` of
            `counted`.
        total: number of pixels of the mask that are not left out, if `stats.numbered` exceeds `MAX_REGION_VALUES`.
        widths, small_sizes: see `RegionStats`, one per value.
    """
    counted = counted[:MAX_REGION_VALUES]
    kept = [value for value, _ in counted]
    grays = [stats.colors.get(value, gray_to_rgb(value)) for value in kept]
    pixels, objects = np.array([count for _, count in counted], np.int64), np.array([len(each) for each in sizes])
    if stats.numbered > MAX_REGION_VALUES:  # the values number the objects: the last kept value stands for all others
        pixels[-1] += total - pixels.sum()
        objects[-1] += stats.numbered - np.count_nonzero(kept)
    return RegionStats(
        values=np.array(kept, np.uint32),
        colors=np.array(kept if stats.kind == "rgb" else grays, np.uint32),
        pixels=pixels,
        objects=objects.astype(np.int64),
        mean_widths=np.array([mean_width(small == value) for value in kept], np.float32),
        widths=widths,
        object_sizes=tuple(_evenly_spaced(each, MAX_OBJECT_SIZES) for each in sizes),
        small_sizes=small_sizes,
        zero_contacts=zero_contacts(small, kept),
        moments=region_moments(small, kept),
    )


def _count_present(stats: MaskStats, values: np.ndarray, missing: npt.NDArray[np.bool_]) -> dict[int, int]:
    """Return value → number of pixels that are not left out, for the values of the mask that are counted."""
    present, counts = np.unique(values[~missing], return_counts=True)
    pixels = dict(zip(present.tolist(), counts.tolist(), strict=True))
    return {value: pixels.get(value, 0) for value in stats.values}


def median_small_sizes(
    kept: Sequence[int], sizes: Sequence[np.ndarray], measure: Callable[[int], np.ndarray]
) -> npt.NDArray[np.float32]:
    """Return the median region size of each value that has no objects, see `RegionStats.small_sizes`.

    Args:
        kept: the K values.
        sizes: the sizes of their objects.
        measure: a function of a value. It returns the sizes of its regions at full size.
    """
    result = np.zeros(len(kept), np.float32)
    for index in [index for index, each in enumerate(sizes) if not len(each)][:MAX_SMALL_VALUES]:
        found = measure(kept[index])
        result[index] = np.median(found) if len(found) else 0
    return result


def _evenly_spaced(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.linspace(0, len(values) - 1, min(len(values), count)).astype(int)]


def _merge_lossy_values(
    counted: Sequence[tuple[int, int]], small: np.ndarray, kind: str
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Replace each value of a lossy mask by the nearest frequent value.

    Args:
        counted: (value, number of pixels) of the whole mask, most frequent first.
        small: the reduced mask.
        kind: the type of value, see `MaskStats`.

    Returns:
        (value, number of pixels) of the frequent values, and the reduced mask with these values only.
    """
    anchors = _anchors([value for value, _ in counted], kind)
    pixels = dict.fromkeys(anchors.tolist(), 0)
    values = np.array([value for value, _ in counted], np.int64)
    for anchor, (_, count) in zip(anchors[_nearest(values, anchors, kind)].tolist(), counted, strict=True):
        pixels[anchor] += count
    present = np.unique(small)
    nearest = anchors[_nearest(present.astype(np.int64), anchors, kind)]
    return list(pixels.items()), nearest[np.searchsorted(present, small)]


def _anchors(values: Sequence[int], kind: str) -> np.ndarray:
    """Return at most `MAX_REGION_VALUES` values, most frequent first, that are far from each other.

    Args:
        values: all values, most frequent first.
        kind: the type of value, see `MaskStats`.
    """
    anchors: list[int] = []
    for value in values:
        if len(anchors) == MAX_REGION_VALUES:
            break
        if not anchors or _distances(np.array([value]), np.array(anchors), kind).min() > _MAX_LOSSY_DISTANCE:
            anchors.append(value)
    return np.array(anchors, np.int64)


def _nearest(values: np.ndarray, anchors: np.ndarray, kind: str) -> np.ndarray:
    return _distances(values, anchors, kind).argmin(1)


def _distances(values: np.ndarray, anchors: np.ndarray, kind: str) -> np.ndarray:
    """Return the (N, K) distances of N values to K anchors. For colors, it is the largest difference in any channel."""
    if kind != "rgb":
        return np.abs(values[:, None] - anchors)
    return np.abs(unpack_rgb(values)[:, None] - unpack_rgb(anchors)).max(2)


def reduce_mask(values: np.ndarray) -> np.ndarray:
    """Resize (H, W) values to a longest side of `MAX_SIDE` by nearest neighbor. Smaller masks are returned as is."""
    return values if max(values.shape) <= MAX_SIDE else values[np.ix_(*reduced_indices(*values.shape))]


def reduced_indices(height: int, width: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows and the columns that `reduce_mask` keeps of a mask with a side of more than `MAX_SIDE`."""
    longest = max(height, width)
    rows, columns = (
        ((np.arange(new_side) + 0.5) * side / new_side).astype(int)
        for side in (height, width)
        for new_side in [max(1, round(side * MAX_SIDE / longest))]
    )
    return rows, columns


def object_sizes(present: np.ndarray, min_pixels: int = MIN_OBJECT_PIXELS) -> np.ndarray:
    """Return the size of each connected region of at least `min_pixels` pixels.

    Args:
        present: (H, W) bool. Regions that touch at a corner are connected.
        min_pixels: smaller regions are left out.

    Returns:
        (N,) float32, sorted: the square root of each region's fraction of the image area, in [0, 1].
    """
    rows, columns = np.flatnonzero(present.any(1)), np.flatnonzero(present.any(0))
    if not len(rows):
        return np.zeros(0, np.float32)
    regions, _ = ndimage.label(present[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], _EIGHT_CONNECTED)
    areas = np.bincount(regions.ravel())[1:]
    areas = np.sort(areas[areas >= min_pixels])
    return np.sqrt(areas / present.size).astype(np.float32)


def mean_width(present: np.ndarray) -> float:
    """Return the mean width of the regions: twice their area divided by the length of their outline.

    For a long strip, the result is its width. For a square, it is half the side. The edge of the image is not part of
    an outline, so the width is limited to the image's shorter side.

    Args:
        present: (H, W) bool.

    Returns:
        The mean width as a fraction of √(H·W), in [0, 1]. 0 if there are no regions.

    >>> strip = np.zeros((100, 100), bool)
    >>> strip[:, 40:50] = True
    >>> mean_width(strip)
    0.1
    >>> mean_width(np.ones((100, 100), bool))
    1.0
    """
    edges = present[:, 1:] != present[:, :-1], present[1:] != present[:-1]
    outline = max(sum(int(np.count_nonzero(edge)) for edge in edges), 1)
    width = 2 * int(np.count_nonzero(present)) / outline
    return min(width, *present.shape) / math.sqrt(present.size)


def zero_contacts(values: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Return the fraction of the outline of each value's regions that borders on the value 0.

    Args:
        values: (H, W) the value of each pixel.
        kept: the K values to measure.

    Returns:
        (K,) float32 in [0, 1]. NaN for a value without an outline, for 0 itself, and if no pixel is 0.

    >>> zero_contacts(np.array([[0, 1, 2]]), [0, 1, 2]).tolist()
    [nan, 0.5, 0.0]
    """
    if not (values == 0).any():
        return np.full(len(kept), np.nan, np.float32)
    pairs = (values[:, 1:], values[:, :-1]), (values[1:], values[:-1])
    first = np.concatenate([one[one != other] for one, other in pairs])
    second = np.concatenate([other[one != other] for one, other in pairs])
    inside, outside = np.concatenate([first, second]), np.concatenate([second, first])
    order = np.argsort(kept)
    index = np.searchsorted(kept, inside, sorter=order).clip(max=len(kept) - 1)
    row = order[index]
    is_kept = np.asarray(kept)[row] == inside
    total = np.bincount(row[is_kept], minlength=len(kept))
    at_zero = np.bincount(row[is_kept & (outside == 0)], minlength=len(kept))
    with np.errstate(invalid="ignore"):
        return np.where(np.asarray(kept) == 0, np.nan, at_zero / total).astype(np.float32)
