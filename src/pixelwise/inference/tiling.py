"""Overlapping windows of an image, and the blend of their predictions in memory that does not grow with the height.

The positions and the Gaussian weights follow Isensee et al. 2021, "nnU-Net: a self-configuring method for deep
learning-based biomedical image segmentation".
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from pixelwise.data.windows import mirror_indices

OVERLAP = 0.25
"""Minimum overlap of a window with the next one, as a fraction of its side."""

BATCH_SIZE = 16
"""Default maximum number of windows per forward pass."""

_SIGMA = 1 / 8
"""Standard deviation of the Gaussian weights as a fraction of the window's side, as in nnU-Net."""


class Window(NamedTuple):
    """The upper left pixel of a window. It is negative if the image is smaller than the window."""

    top: int
    left: int


@dataclass(frozen=True)
class TileGrid:
    """The windows of an image in working pixels.

    Attributes:
        height: height of the image.
        width: width of the image.
        size: height and width of a window.
        overlap: see `window_starts`.

    >>> grid = TileGrid(100, 64, (64, 64))
    >>> grid.tops, grid.lefts
    ((0, 36), (0,))
    """

    height: int
    width: int
    size: tuple[int, int]
    overlap: float = OVERLAP

    @cached_property
    def tops(self) -> tuple[int, ...]:
        """First row of each row of windows, see `window_starts`."""
        return window_starts(self.height, self.size[0], self.overlap)

    @cached_property
    def lefts(self) -> tuple[int, ...]:
        """First column of each column of windows, see `window_starts`."""
        return window_starts(self.width, self.size[1], self.overlap)

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.tops) * len(self.lefts)

    @property
    def windows(self) -> list[Window]:
        """All windows, row by row."""
        return [Window(top, left) for top in self.tops for left in self.lefts]


def window_starts(length: int, size: int, overlap: float = OVERLAP) -> tuple[int, ...]:
    """Return the first pixels of the windows along one side of an image.

    The first window begins at the first pixel, the last one ends at the last pixel, and all overlaps are equal up to
    rounding. If the side is not longer than a window, there is one window with the image in its middle.

    Args:
        length: the side of the image in pixels.
        size: the side of a window in pixels.
        overlap: minimum overlap of a window with the next one, as a fraction of its side, in [0, 1).

    >>> window_starts(200, 64, 0.25), window_starts(60, 64)
    ((0, 45, 91, 136), (-2,))
    """
    if length <= size:
        return (-((size - length) // 2),)
    step = max(1, int(size * (1 - overlap)))
    count = -(-(length - size) // step)
    return tuple(round(index * (length - size) / count) for index in range(count + 1))


def crop_windows(image: Tensor, windows: Sequence[Window], size: tuple[int, int]) -> Tensor:
    """Cut windows out of an image. Pixels outside the image are mirrored at its border.

    Args:
        image: (channels, H, W) of any type.
        windows: the windows.
        size: their height and width in pixels.

    Returns:
        (N, channels, height, width), a copy.
    """
    return torch.stack([_crop(image, window, size) for window in windows])


def _crop(image: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    for dimension, start, side in ((1, window.top, size[0]), (2, window.left, size[1])):
        length = image.shape[dimension]
        if start >= 0 and start + side <= length:
            image = image.narrow(dimension, start, side)
        else:
            indices = torch.from_numpy(mirror_indices(length, start, side))
            image = image.index_select(dimension, indices.to(image.device))
    return image


@lru_cache(maxsize=64)
def gaussian_weights(size: int) -> Tensor:
    """Return the weights of the pixels along one side of a window: a Gaussian with its maximum 1 in the middle.

    The standard deviation is an eighth of the side. The weight of a pixel in a window is the product of two of them.

    Args:
        size: the side in pixels.

    Returns:
        (size,) float64 in (0, 1]. Do not change it, because it is cached.
    """
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.exp(-0.5 * (offset / (size * _SIGMA)) ** 2)


def windows_per_pass(size: tuple[int, int], model_size: tuple[int, int]) -> int:
    """Return the number of windows with at most as many pixels as `BATCH_SIZE` windows of the model's size, at least 1.

    Args:
        size: height and width of the windows in working pixels.
        model_size: height and width of the images of the model.

    >>> windows_per_pass((128, 128), (128, 128)), windows_per_pass((256, 256), (128, 128))
    (16, 4)
    """
    return max(1, BATCH_SIZE * math.prod(model_size) // math.prod(size))


def blend(grid: TileGrid, predict: Callable[[Sequence[Window]], Tensor], batch_size: int = BATCH_SIZE) -> Tensor:
    """Return the blended probabilities of all pixels of an image.

    Args:
        grid: the windows.
        predict, batch_size: see `blend_rows`.

    Returns:
        (C, H, W) float32 in [0, 1], on the device of the probabilities.
    """
    return torch.cat([probabilities for _, probabilities in blend_rows(grid, predict, None, batch_size)], 1)


def blend_rows(
    grid: TileGrid,
    predict: Callable[[Sequence[Window]], Tensor],
    columns: range | None = None,
    batch_size: int = BATCH_SIZE,
) -> Iterator[tuple[range, Tensor]]:
    """Blend the predictions of windows row by row. One row of windows is in memory.

    The probability at a pixel is the mean over its windows, weighted by `gaussian_weights`.

    Args:
        grid: the windows.
        predict: a function of at most `batch_size` windows with the same top. It returns their probabilities,
            (N, C, height, width) float32 on any device, see `Task.activate`.
        columns: the columns of the image to compute, to limit the memory. None for all. Only windows that contain one
            of them are predicted. The result does not depend on the other columns.
        batch_size: maximum number of windows per forward pass.

    Yields:
        From top to bottom: the rows, and the probabilities of their pixels, (C, rows, columns) float32 in [0, 1].
    """
    columns = columns or range(grid.width)
    weights = dict(zip(grid.lefts, _normalized_weights(grid.lefts, grid.size[1], grid.width), strict=True))
    lefts = [left for left in grid.lefts if left < columns.stop and left + grid.size[1] > columns.start]
    rows = list(zip(grid.tops, _normalized_weights(grid.tops, grid.size[0], grid.height), strict=True))
    total: Tensor | None = None
    for number, (top, row_weights) in enumerate(rows):
        visible = range(max(top, 0), min(top + grid.size[0], grid.height))
        for index in range(0, len(lefts), batch_size):
            batch = lefts[index : index + batch_size]
            predicted = predict([Window(top, left) for left in batch])
            if total is None:
                total = predicted.new_zeros(predicted.shape[1], len(visible), len(columns))
            for left, probabilities in zip(batch, predicted, strict=True):
                _add(total, probabilities, (row_weights, weights[left]), Window(top, left), columns)
        assert total is not None, "at least one window contains a column"
        done = rows[number + 1][0] if number + 1 < len(rows) else visible.stop
        finished = done - visible.start
        yield range(visible.start, done), total[:, :finished].clone()
        total[:, : len(visible) - finished] = total[:, finished:].clone()
        total[:, len(visible) - finished :] = 0


def _add(total: Tensor, probabilities: Tensor, weights: tuple[Tensor, Tensor], window: Window, columns: range) -> None:
    """Add the weighted probabilities of a window to the sum of its row of windows.

    Args:
        total: (C, rows, columns), the sum. Its rows are those of the window that are in the image.
        probabilities: (C, height, width) of the window.
        weights: (height,) and (width,) float32.
        window: its first row and column.
        columns: the columns of the sum.
    """
    above = max(-window.top, 0)
    first, last = max(window.left, columns.start), min(window.left + probabilities.shape[2], columns.stop)
    rows, part = slice(above, above + total.shape[1]), slice(first - window.left, last - window.left)
    product = (weights[0][rows, None] * weights[1][None, part]).to(probabilities.device)
    total[:, :, first - columns.start : last - columns.start].addcmul_(probabilities[:, rows, part], product)


def _normalized_weights(starts: Sequence[int], size: int, length: int) -> list[Tensor]:
    """Return the weights of each window along one side. They sum to 1 at each pixel of the image.

    The sum over rows and columns of windows is the product of the sums, so each side can be normalized alone.
    """
    weights = gaussian_weights(size)
    total = torch.zeros(max(length, size), dtype=torch.float64)
    shift = min(starts)  # negative if the image is smaller than a window
    for start in starts:
        total[start - shift : start - shift + size] += weights
    return [(weights / total[start - shift : start - shift + size]).float() for start in starts]
