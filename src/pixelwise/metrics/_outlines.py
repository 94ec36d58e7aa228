"""Outlines of label images: pixels near another label, pixels that touch another label, and windows of pixels.

All labels of an image are handled at once. To limit memory, callers cut an image into slabs of rows, see `slabs`.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pixelwise.palette import IGNORE_INDEX

Labels: TypeAlias = npt.NDArray[np.uint8]
Region: TypeAlias = npt.NDArray[np.bool_]

_SLAB_PIXELS = 1 << 22
"""Maximum number of pixels of a slab without its margins. A slab has more if twice the margin has more."""


def window_reduce(array: npt.NDArray[Any], size: int, axis: int, reduce: Callable[..., Any]) -> npt.NDArray[Any]:
    """Reduce each window of consecutive elements along an axis, by a minimum, a maximum or a logical operation.

    Windows of 2, 4, 8, … elements are computed from each other. So the time grows with the logarithm of the size.

    Args:
        array: (H, W).
        size: number of elements of a window, at most the length of the axis.
        axis: 0 or 1.
        reduce: an idempotent function of two arrays, for example `numpy.minimum`.

    Returns:
        The array with `size` − 1 fewer elements along the axis. Element i is the result of elements i to i + size − 1.

    >>> window_reduce(np.array([[3, 1, 2, 5]]), 2, 1, np.minimum).tolist()
    [[1, 1, 2]]
    """

    def combine(array: npt.NDArray[Any], shift: int) -> npt.NDArray[Any]:
        return reduce(array[:-shift], array[shift:]) if axis == 0 else reduce(array[:, :-shift], array[:, shift:])

    width = 1
    while 2 * width <= size:
        array, width = combine(array, width), 2 * width
    return array if width == size else combine(array, size - width)


def near_other_label(labels: npt.NDArray[Any], pixels: int) -> Region:
    """Return the pixels that are near a pixel with another label, or near the border of the image.

    Args:
        labels: (H, W).
        pixels: maximum distance in chessboard metric (a diagonal step is one pixel), at least 1. The distance to the
            border is that to the first pixel outside.

    Returns:
        (H, W) bool.
    """
    near = np.ones(labels.shape, bool)
    if min(labels.shape) > 2 * pixels:
        size = 2 * pixels + 1
        low, high = (
            window_reduce(window_reduce(labels, size, 1, reduce), size, 0, reduce)
            for reduce in (np.minimum, np.maximum)
        )
        near[pixels:-pixels, pixels:-pixels] = low != high
    return near


def touching_other_label(labels: Labels) -> Region:
    """Return the pixels with a neighbor (left, right, above or below) of another label.

    Pixels to ignore do not count as neighbors. The border of the image is not another label.

    Args:
        labels: (H, W) uint8, 255 = ignore.

    Returns:
        (H, W) bool.
    """
    touching, counted = np.zeros(labels.shape, bool), labels != IGNORE_INDEX
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = (labels[one] != labels[other]) & counted[one] & counted[other]
        touching[one] |= differ
        touching[other] |= differ
    return touching


def same_label_near(
    one: Labels, edge_one: Region, other: Labels, edge_other: Region, pixels: int
) -> tuple[Region, Region]:
    """Find the pixels of two outlines that are near a pixel of the same label in the other outline.

    Args:
        one: (H, W) uint8 labels.
        edge_one: (H, W) bool, the outlines of all labels of `one`.
        other: (H, W) uint8 labels.
        edge_other: (H, W) bool, the outlines of all labels of `other`.
        pixels: maximum distance in chessboard metric.

    Returns:
        The pixels of `edge_other` that are near `edge_one`, and those of `edge_one` that are near `edge_other`,
        (H, W) bool.
    """
    near_one, near_other = np.zeros(one.shape, bool), np.zeros(one.shape, bool)
    present = np.flatnonzero(count_labels(one[edge_one]) + count_labels(other[edge_other]))
    for start in range(0, len(present), 8):  # the outlines of 8 labels are dilated at once, each as one bit
        bits = np.zeros(256, np.uint8)
        group = present[start : start + 8]
        bits[group] = 1 << np.arange(len(group))
        bits_one, bits_other = bits[one] * edge_one, bits[other] * edge_other
        near_one |= (bits_other & _dilate_bits(bits_one, pixels)) != 0
        near_other |= (bits_one & _dilate_bits(bits_other, pixels)) != 0
    return near_one, near_other


def _dilate_bits(bits: npt.NDArray[np.uint8], pixels: int) -> npt.NDArray[np.uint8]:
    """Return the union of the bits of all pixels within a distance of each pixel, in chessboard metric."""
    size = 2 * pixels + 1
    padded = np.zeros((bits.shape[0] + size - 1, bits.shape[1] + size - 1), np.uint8)
    padded[pixels:-pixels, pixels:-pixels] = bits
    return window_reduce(window_reduce(padded, size, 1, np.bitwise_or), size, 0, np.bitwise_or)


def slabs(height: int, width: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """Cut an image into slabs of rows with a margin on both sides.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        margin: number of rows before and after a slab that its results depend on.

    Yields:
        The rows of a slab with its margins, and the rows of the slab without its margins within these rows.
    """
    rows = max(2 * margin, _SLAB_PIXELS // max(1, width), 1)
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        first = max(0, start - margin)
        yield slice(first, min(height, stop + margin)), slice(start - first, stop - first)


def count_labels(labels: Labels) -> npt.NDArray[np.int64]:
    """Return the number of pixels of each label, (256,) int64."""
    return np.bincount(labels.ravel(), minlength=256)
