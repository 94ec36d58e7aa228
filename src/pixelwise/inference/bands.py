"""Masks and probabilities at the original size of an image, computed from logits band by band. A band is a few rows.

The logits of all classes at the original size can take gigabytes: 150 classes at 12 megapixels take 7.2 GB. So they are
computed for one band at a time.
"""

import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.inference.packed_mask import PackedMask

MAX_BAND_BYTES = 8 << 20
"""Maximum size in bytes of the logits of a band. Larger bands take longer, because they exceed the CPU's cache."""

_MIXED = 255
"""Value of a cell whose corners have several classes. No class has this index."""

_MAX_MIXED = 0.25
"""Fraction of the pixels of a band in such cells above which interpolating the whole band takes less time."""

_MAX_UNPACKED_BYTES = 64 << 20
"""Size in bytes above which `resize_to_small_mask` packs a multi-label mask."""


def resize_to_mask(
    logits: Tensor,
    size: tuple[int, int],
    task: Task,
    probabilities: bool = False,
    max_bytes: int = MAX_BAND_BYTES,
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resize logits with bilinear interpolation, and convert them to a mask.

    Args:
        logits: (C, h, w) float32 of one image, any real values.
        size: (H, W) of the image in pixels.
        task: the task of the model.
        probabilities: True to return the probability of each class at each pixel as well.
        max_bytes: maximum size in bytes of the resized logits in memory. A band has at least one row.
        temperature: divisor of the logits before they become probabilities, see `ModelConfig`. It does not change the
            mask.

    Returns:
        The mask (uint8, see `Task`) and the probabilities ((C, H, W) float32 in [0, 1], or None).
    """
    classes, (height, width) = logits.shape[0], size
    if not probabilities and logits.device.type == "cpu":
        return _mask_by_cells(logits, size, task, max_bytes), None
    mask = np.empty(task.mask_shape(classes, height, width), np.uint8)
    likelihood = np.empty((classes, height, width), np.float32) if probabilities else None
    for band, rows in _bands(logits, size, max_bytes):
        mask[..., rows, :] = task.logits_to_mask(band).cpu().numpy()
        if likelihood is not None:
            likelihood[:, rows] = task.activate(band / temperature).cpu().numpy()
    return mask, likelihood


def _mask_by_cells(logits: Tensor, size: tuple[int, int], task: Task, max_bytes: int = MAX_BAND_BYTES) -> np.ndarray:
    """Resize logits like `resize_to_mask`, but interpolate only pixels whose class is not known without it.

    A pixel lies in a cell between four logits. If all four have the same class, so has the pixel, because interpolation
    takes the same weighted mean of the logits of each class. In predicted masks, this holds for most pixels. The result
    equals that of interpolating all pixels.

    Args:
        logits: (C, h, w) float32 of one image on the CPU, any real values.
        size: (H, W) of the image in pixels.
        task: the task of the model.
        max_bytes: see `resize_to_mask`.

    Returns:
        The mask (uint8, see `Task`).
    """
    logits = logits.contiguous()
    labels = task.logits_to_mask(logits).numpy()
    if labels.ndim == 2:
        return _fill_cells(labels, logits, size, task, max_bytes)
    if len(labels) == 1:
        return _fill_cells(labels[0], logits, size, task, max_bytes)[None]
    mask = np.empty((len(labels), *size), np.uint8)
    for index, channel in enumerate(labels):  # the classes of a multi-label mask are independent
        mask[index] = _fill_cells(channel, logits[index : index + 1], size, task, max_bytes)
    return mask


def resize_to_packed_mask(
    logits: Tensor, size: tuple[int, int], task: Task, max_bytes: int = MAX_BAND_BYTES
) -> PackedMask:
    """Resize logits like `resize_to_mask`, and convert them to a packed multi-label mask.

    Args:
        logits: (C, h, w) float32 of one image, any real values.
        size: (H, W) of the image in pixels.
        task: the multi-label task.
        max_bytes: see `resize_to_mask`.

    Returns:
        The mask, (C, H, W) uint8, 1 if the pixel has the class, else 0.
    """
    return PackedMask(
        resize_to_mask(logits[index : index + 1], size, task, False, max_bytes)[0][0] for index in range(len(logits))
    )


def resize_to_small_mask(logits: Tensor, size: tuple[int, int], task: Task) -> np.ndarray:
    """Resize logits like `resize_to_mask`. A large multi-label mask is packed.

    Args:
        logits: (C, h, w) float32 of one image, any real values.
        size: (H, W) of the image in pixels.
        task: the task of the model.

    Returns:
        The mask (uint8, see `Task`). If it is multi-label and larger than `_MAX_UNPACKED_BYTES`, it is a `PackedMask`,
        which has the methods of an array that `predict_folder` uses.
    """
    shape = task.mask_shape(logits.shape[0], *size)
    if len(shape) == 3 and math.prod(shape) > _MAX_UNPACKED_BYTES:
        return cast(np.ndarray, resize_to_packed_mask(logits, size, task))
    return resize_to_mask(logits, size, task)[0]


def resize_to_confidence(
    logits: Tensor, size: tuple[int, int], task: Task, temperature: float = 1.0, max_bytes: int = MAX_BAND_BYTES
) -> np.ndarray:
    """Resize logits with bilinear interpolation, and convert them to the probability of the prediction at each pixel.

    Args:
        logits: (C, h, w) float32 of one image, any real values.
        size: (H, W) of the image in pixels.
        task: the task of the model.
        temperature: see `resize_to_mask`.
        max_bytes: see `resize_to_mask`.

    Returns:
        (H, W) float32 in [0, 1], see `Task.confidence`.
    """
    confidence = np.empty(size, np.float32)
    for band, rows in _bands(logits, size, max_bytes):
        confidence[rows] = task.confidence(task.activate(band / temperature).cpu().numpy())
    return confidence


def _bands(logits: Tensor, size: tuple[int, int], max_bytes: int) -> Iterator[tuple[Tensor, slice]]:
    """Yield the resized logits of each band, and its rows."""
    height, width = size
    step = _band_rows(logits, width, max_bytes)
    for start in range(0, height, step):
        stop = min(height, start + step)
        yield _resize_band(logits, size, start, stop), slice(start, stop)


def _band_rows(logits: Tensor, width: int, max_bytes: int) -> int:
    """Return the number of rows of a band."""
    return max(1, max_bytes // (logits.element_size() * logits.shape[0] * width))


def _resize_band(logits: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """Return the rows from start to stop of the logits resized to (H, W). The shape is (C, stop - start, W).

    The result is that of `torch.nn.functional.interpolate` up to rounding. That function cannot compute a range of
    rows, and takes twice as long on CPUs, because it reads single values instead of rows.
    """
    band = _interpolate(logits.movedim(1, 0), size[0], start, stop).movedim(0, 1)
    return _interpolate(band.movedim(2, 0), size[1], 0, size[1]).movedim(0, 2)


def _interpolate(values: Tensor, new: int, start: int, stop: int) -> Tensor:
    """Resize the first dimension of a tensor to `new` by linear interpolation, and return the range start to stop."""
    lower, upper, weight = neighbors(len(values), new, start, stop, values.device)
    values = values.contiguous()
    weight = weight.view(-1, *[1] * (values.ndim - 1))
    return torch.lerp(values.index_select(0, lower), values.index_select(0, upper), weight)


def neighbors(
    old: int, new: int, start: int, stop: int, device: torch.device | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the neighbors of new positions on a line of `old` values that is resized to `new`.

    Args:
        old: number of old values.
        new: number of new values.
        start: the first new position.
        stop: the new position after the last one.
        device: the device of the results. None for the CPU.

    Returns:
        For the new positions from start to stop: the number of the value before and of the value after (int64), and
        the weight of the latter in [0, 1] (float32).
    """
    numbers = torch.arange(start, stop, dtype=torch.float32, device=device)
    position = ((numbers + 0.5) * (torch.tensor(float(old)) / float(new)).item() - 0.5).clamp(min=0)
    lower = position.long().clamp(max=old - 1)
    return lower, (lower + 1).clamp(max=old - 1), position - lower


def _fill_cells(labels: np.ndarray, logits: Tensor, size: tuple[int, int], task: Task, max_bytes: int) -> np.ndarray:
    """Return the (H, W) mask of logits (K, h, w) whose mask is `labels`, (h, w) uint8. For K > 1 it is multiclass."""
    (height, width), step = size, _band_rows(logits, size[1], max_bytes)
    padded = np.pad(labels, ((0, 1), (0, 1)), mode="edge")
    is_uniform = (padded[1:, :-1] == labels) & (padded[:-1, 1:] == labels) & (padded[1:, 1:] == labels)
    cells = np.where(is_uniform, labels, np.uint8(_MIXED))
    columns = neighbors(labels.shape[1], width, 0, width)
    mask = np.empty(size, np.uint8)
    for start in range(0, height, step):
        band = mask[start : start + step]
        rows = neighbors(len(labels), height, start, start + len(band))
        lower = rows[0].numpy()
        cells_of_band = cells[lower[0] : lower[-1] + 1].take(columns[0].numpy(), axis=1)
        cells_of_band.take(lower - lower[0], axis=0, out=band)
        is_mixed = band == _MIXED
        count = np.count_nonzero(is_mixed)
        if count > _MAX_MIXED * band.size:
            band[:] = task.logits_to_mask(_resize_band(logits, size, start, start + len(band))).numpy()
        elif count:
            pixels = np.flatnonzero(is_mixed)
            values = _interpolate_pixels(logits, rows, columns, pixels)
            band.reshape(-1)[pixels] = task.logits_to_mask(values[:, None]).numpy().reshape(-1)
            del pixels
    return mask


def _interpolate_pixels(
    logits: Tensor, rows: tuple[Tensor, Tensor, Tensor], columns: tuple[Tensor, Tensor, Tensor], pixels: np.ndarray
) -> Tensor:
    """Return the interpolated logits of some pixels of a band, (K, N). They equal those of `_resize_band`.

    Args:
        logits: (K, h, w).
        rows: the `neighbors` of the rows of the band.
        columns: the `neighbors` of the columns.
        pixels: (N,) the numbers of the pixels in the band, row by row.
    """
    above, below = logits.index_select(1, rows[0]), logits.index_select(1, rows[1])
    band = torch.lerp(above, below, rows[2].view(1, -1, 1)).flatten(1)
    row, column = (torch.from_numpy(part) for part in np.divmod(pixels, len(columns[0])))
    first = row * logits.shape[2]
    before, after = (band.index_select(1, first + columns[side].index_select(0, column)) for side in (0, 1))
    return torch.lerp(before, after, columns[2].index_select(0, column))
