"""Moments of the regions of a mask and of the brightness of an image, for the test of their symmetries."""

from collections.abc import Sequence

import numpy as np

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE


def region_moments(values: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """Return the moments of the regions of each value in a mask.

    Args:
        values: (H, W) the value of each pixel.
        kept: the K values to measure.

    Returns:
        (K, 3) float32: the means over all pixels of the mask of y, x and y² − x² at the pixels that have the value. y
        and x are in (-1, 1), from top to bottom and from left to right.

    >>> region_moments(np.array([[1, 1], [0, 0]]), [0, 1]).tolist()
    [[0.25, 0.0, 0.0], [-0.25, 0.0, 0.0]]
    """
    y, x = ((np.arange(side) + 0.5) / side * 2 - 1 for side in values.shape)
    moments = np.zeros((len(kept), 3))
    for index, value in enumerate(kept):
        present = values == value
        rows, columns = present.sum(1), present.sum(0)
        moments[index] = rows @ y, columns @ x, rows @ y**2 - columns @ x**2
    return (moments / max(values.size, 1)).astype(np.float32)


def brightness_moments(thumbnails: np.ndarray) -> np.ndarray:
    """Return the moments of the brightness of images.

    Args:
        thumbnails: (N, `THUMBNAIL_SIDE`²) uint8 gray thumbnails.

    Returns:
        (N, 3) float64. The mean brightness of the image is first subtracted from its pixels. The first moment is the
        sum of y times the mean of each row. The second is the sum of x times the mean of each column, see
        `region_moments`. The third is the mean squared step from row to row minus that from column to column, divided
        by their sum, so it is in [-1, 1].
    """
    gray = thumbnails.reshape(-1, THUMBNAIL_SIDE, THUMBNAIL_SIDE).astype(np.float64)
    gray = gray - gray.mean((1, 2), keepdims=True)
    axis = (np.arange(THUMBNAIL_SIDE) + 0.5) / THUMBNAIL_SIDE * 2 - 1
    steps = [(np.diff(gray, axis=direction) ** 2).mean((1, 2)) for direction in (1, 2)]
    total = np.maximum(steps[0] + steps[1], 1e-9)
    return np.stack([gray.mean(2) @ axis, gray.mean(1) @ axis, (steps[0] - steps[1]) / total], 1)
