"""What a mask shows of each of its values, before anyone knows what they mean: pixels, objects, how wide they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pixelwise.data.label_map.value_counts import MaskStats

LONGEST_SIDE = 256
"""Masks are reduced to this for counting objects."""


SMALLEST_OBJECT = 5
"""Regions of fewer pixels, of the reduced mask, are no objects."""


MAX_SIDES = 64
"""Of the objects of one value on one image, the sizes of so many are kept, evenly over them."""


MAX_VALUES = 64
"""Of one mask so many values are kept, the commonest; in lossy masks the others go with the nearest one."""


_NEAR = 32
"""Values of a lossy mask that are no farther apart, in any channel, are one."""


_EIGHT_CONNECTED = np.ones((3, 3), int)


@dataclass(frozen=True, eq=False)
class RegionStats:
    """What one image of a mask shows of each value.

    Attributes:
        values, colors: (K,) uint32: the value, and the color 0xRRGGBB that it has.
        pixels: (K,) int64.
        objects: (K,) int64: connected regions of `SMALLEST_OBJECT` pixels or more.
        widths: (K,) float32: how wide its regions are on the whole, over the image's side; see `mean_width`.
        sides: for each value float32: square roots of its objects' shares of the image, `MAX_SIDES` at most.
    """

    values: np.ndarray
    colors: np.ndarray
    pixels: np.ndarray
    objects: np.ndarray
    widths: np.ndarray
    sides: tuple[np.ndarray, ...]


def region_stats(look: MaskStats, values: np.ndarray) -> RegionStats:
    """What each value shows; of lossy masks, or those of very many values, the values that stand out."""
    small = reduce_mask(values)
    counted = sorted(look.values.items(), key=lambda item: (-item[1], item[0]))
    if look.lossy:
        anchors = _anchors([value for value, _ in counted], look.kind)
        pixels = dict.fromkeys(anchors.tolist(), 0)
        own = np.array([value for value, _ in counted], np.int64)
        for value, (_, count) in zip(anchors[_nearest(own, anchors, look.kind)].tolist(), counted, strict=True):
            pixels[value] += count
        present = np.unique(small)
        nearest = anchors[_nearest(present.astype(np.int64), anchors, look.kind)]
        small = nearest[np.searchsorted(present, small)]
        counted = list(pixels.items())
    counted = counted[:MAX_VALUES]
    names = [value for value, _ in counted]
    grays = [look.colors.get(value, min(value, 255) * 0x010101) for value in names]
    sides = [object_sizes(small == value) for value in names]
    return RegionStats(
        np.array(names, np.uint32),
        np.array(names if look.kind == "rgb" else grays, np.uint32),
        np.array([count for _, count in counted], np.int64),
        np.array([len(each) for each in sides], np.int64),
        np.array([mean_width(small == value) for value in names], np.float32),
        tuple(each[np.linspace(0, len(each) - 1, min(len(each), MAX_SIDES)).astype(int)] for each in sides),
    )


def _anchors(values: Sequence[int], kind: str) -> np.ndarray:
    """Of values, commonest first, those that are far from all commoner ones."""
    found: list[int] = []
    for value in values:
        if len(found) == MAX_VALUES:
            break
        if not found or _apart(np.array([value]), np.array(found), kind).min() > _NEAR:
            found.append(value)
    return np.array(found, np.int64)


def _nearest(values: np.ndarray, anchors: np.ndarray, kind: str) -> np.ndarray:
    return _apart(values, anchors, kind).argmin(1)


def _apart(values: np.ndarray, anchors: np.ndarray, kind: str) -> np.ndarray:
    if kind != "rgb":
        return np.abs(values[:, None] - anchors)
    shifts = np.array([16, 8, 0])
    return np.abs((values[:, None, None] >> shifts & 255) - (anchors[:, None] >> shifts & 255)).max(2)


def reduce_mask(values: np.ndarray) -> np.ndarray:
    """Values (H, W) at most `LONGEST_SIDE` a side, by nearest neighbor; themselves where they are no larger."""
    longest = max(values.shape)
    if longest <= LONGEST_SIDE:
        return values
    rows, columns = (
        ((np.arange(kept) + 0.5) * side / kept).astype(int)
        for side in values.shape
        for kept in [max(1, round(side * LONGEST_SIDE / longest))]
    )
    return values[np.ix_(rows, columns)]


def object_sizes(present: np.ndarray) -> np.ndarray:
    """Of each region of True in (H, W), touching at corners included: √(its share of the area), sorted float32."""
    rows, columns = np.flatnonzero(present.any(1)), np.flatnonzero(present.any(0))
    if not len(rows):
        return np.zeros(0, np.float32)
    regions, _ = ndimage.label(present[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], _EIGHT_CONNECTED)
    areas = np.bincount(regions.ravel())[1:]
    areas = np.sort(areas[areas >= SMALLEST_OBJECT])
    return np.sqrt(areas / present.size).astype(np.float32)


def mean_width(present: np.ndarray) -> float:
    """How wide the regions of True in (H, W) are on the whole, over √(H·W): twice their area over their outline.

    Of a strip its width, of a square half its side. 0 where nothing is True.

    >>> strip = np.zeros((100, 100), bool)
    >>> strip[:, 40:50] = True
    >>> mean_width(strip)
    0.1
    """
    edges = present[:, 1:] != present[:, :-1], present[1:] != present[:-1]
    outline = max(sum(int(np.count_nonzero(each)) for each in edges), 1)
    return 2 * int(np.count_nonzero(present)) / outline / math.sqrt(present.size)
