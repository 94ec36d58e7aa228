"""The mask of a large image from rows of logits, and a file that stores it while it is computed."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.resize import nearest_indices
from pixelwise.data.task import Task
from pixelwise.inference.bands import MAX_BAND_BYTES, neighbors
from pixelwise.inference.image_rows import ImageRows
from pixelwise.inference.thresholds import add_shift, class_confidence
from pixelwise.inference.views import ImageView
from pixelwise.models.config import ModelConfig
from pixelwise.runtime.progress import Progress

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]

STEP_ROWS = 64
"""Number of rows in a step of the progress."""

_READ_ROWS = 256
"""Number of rows of the image that are read at once to find its nodata pixels. Tiles often have 256 rows."""


class MaskPart(NamedTuple):
    """A rectangle of the mask of an image.

    Attributes:
        rows: its rows.
        columns: its columns.
        mask: a mask of the task, uint8. For the file of probabilities or of the confidence, float32.
    """

    rows: range
    columns: range
    mask: npt.NDArray[Any]


class ClassConfidence:
    """The mean probability of each class over the pixels that have it, from parts of an image.

    Args:
        task: the task.
        classes: number of classes.
        shift: thresholds of the classes, see `threshold_shift`, or None.
    """

    def __init__(self, task: Task, classes: int, shift: Tensor | None = None) -> None:
        self.shift = shift
        self._task, self._sums, self._counts = task, np.zeros(classes), np.zeros(classes, np.int64)

    def add(self, logits: Tensor, temperature: float, missing: Bools | None = None) -> None:
        """Add the pixels of a part.

        Args:
            logits: (C, h, w) float32.
            temperature: see `ModelConfig`.
            missing: (h, w), True for nodata pixels, which are not added. None if there are none.
        """
        if missing is not None:
            logits = logits[:, torch.from_numpy(~missing).to(logits.device)].unsqueeze(1)
        mask = self._task.logits_to_mask(add_shift(logits, self.shift)).cpu().numpy()
        counts = self._task.class_pixels(mask)[: len(self._counts)]
        means = class_confidence(self._task, logits, temperature, self.shift)
        self._sums += [count * (mean or 0.0) for count, mean in zip(counts, means, strict=True)]
        self._counts += counts

    def means(self) -> list[float | None]:
        """Return the means in [0, 1]. None for a class without pixels."""
        return [
            total / count if count else None for total, count in zip(self._sums, self._counts.tolist(), strict=True)
        ]


class RowProgress:
    """The progress of a large image, in steps of `STEP_ROWS` rows of a strip, see `ImageView.strips`.

    Args:
        progress: see `Progress`. It counts steps.
        height: number of rows of a strip.
        strips: number of strips.
    """

    def __init__(self, progress: Progress, height: int, strips: int) -> None:
        steps = strips * -(-height // STEP_ROWS)
        self._steps = iter(progress(range(steps), steps))

    def add(self, rows: range) -> None:
        """Count rows that are done."""
        for row in rows:
            if row % STEP_ROWS == 0:
                next(self._steps, None)

    def complete(self) -> None:
        """Count the remaining steps."""
        for _ in self._steps:
            pass


def mask_parts(
    view: ImageView,
    image: ImageRows,
    config: ModelConfig,
    confidence: ClassConfidence,
    observe: Callable[[range, range, Tensor], None] | None = None,
    observe_resized: Callable[[range, range, Tensor, npt.NDArray[np.uint8]], None] | None = None,
) -> Iterator[MaskPart]:
    """Predict the mask of a large image in memory that does not grow with its height.

    Args:
        view: the view of the model.
        image: the image.
        config: the configuration of the model.
        confidence: the means to which the logits are added. The mask has its thresholds.
        observe: a function of rows, columns and their logits, (C, rows, columns) float32. It is called with each part
            of the logits before their mask is yielded.
        observe_resized: the same for the logits at the size of the image, with their mask. It is called before each
            part is yielded.

    Yields:
        Parts that cover the image: the first strip from top to bottom, then the next one, see `ImageView.strips`.
    """
    height, width = view.working_size(image.height, image.width)
    strips = min(view.strips(image.width), image.width)
    bounds = [index * image.width // strips for index in range(strips + 1)]
    for first, last in pairwise(bounds):
        before, after, weight = neighbors(width, image.width, first, last)
        columns = range(int(before[0]), int(after[-1]) + 1)
        across = (before - columns.start, after - columns.start, weight)
        resize = RowResizer(height, image.height, None if len(columns) == last - first else across)
        for rows, logits in view.logit_rows(image, columns):
            missing = _missing_logits(image, config.pixel_scale, (height, width), rows, columns)
            confidence.add(logits, config.temperature, missing)
            if observe is not None:
                observe(rows, columns, logits)
            for part, resized in resize.add(rows, logits):
                mask = config.task.logits_to_mask(add_shift(resized, confidence.shift)).cpu().numpy()
                if observe_resized is not None:
                    observe_resized(part, range(first, last), resized, mask)
                yield MaskPart(part, range(first, last), mask)


def _missing_logits(
    image: ImageRows, scale: PixelScale, size: tuple[int, int], rows: range, columns: range
) -> Bools | None:
    """Return which logits have a nodata pixel at their center, or None if there are none, see `PixelScale.missing`.

    Args:
        image: the image.
        scale: the conversion of its pixels.
        size: height and width of all logits.
        rows: the rows of the logits.
        columns: the columns of the logits.

    Returns:
        (rows, columns).
    """
    if not scale.band_ranges:
        return None
    down = nearest_indices(image.height, size[0])[rows.start : rows.stop]
    across = nearest_indices(image.width, size[1])[columns.start : columns.stop]
    result = np.zeros((len(rows), len(columns)), bool)
    step = max(1, _READ_ROWS * size[0] // image.height)
    for start in range(0, len(down), step):
        part = down[start : start + step]
        missing = scale.missing(image.read(int(part[0]), int(part[-1]) + 1))
        if missing is not None:
            result[start : start + step] = missing[part - part[0]][:, across]
    return result if result.any() else None


class RowResizer:
    """Resize logits with bilinear interpolation while their rows are computed.

    Args:
        old: number of rows of the logits.
        new: number of rows after resizing.
        columns: for each new column, the columns before and after it and the weight of the latter, see `neighbors`.
            None if the number of columns does not change.
    """

    def __init__(self, old: int, new: int, columns: tuple[Tensor, Tensor, Tensor] | None) -> None:
        self._old, self._new, self._columns = old, new, columns
        self._kept: Tensor | None = None
        self._first = 0
        self._done = 0

    def add(self, rows: range, logits: Tensor) -> Iterator[tuple[range, Tensor]]:
        """Add the next rows, and yield the new rows that can be computed.

        Args:
            rows: the rows, which follow those of the last call.
            logits: (C, rows, columns) float32.

        Yields:
            Ranges of new rows, and their values, (C, new rows, new columns) float32.
        """
        values = logits if self._kept is None else torch.cat([self._kept, logits], 1)
        width = logits.shape[2] if self._columns is None else len(self._columns[0])
        step = max(1, MAX_BAND_BYTES // (4 * len(logits) * width))
        before, after, weight = neighbors(self._old, self._new, self._done, self._new)
        stop = self._done + int(torch.searchsorted(after, rows.stop))
        for start in range(self._done, stop, step):
            part = slice(start - self._done, min(start + step, stop) - self._done)
            yield (
                range(start, min(start + step, stop)),
                self._interpolate(values, before[part] - self._first, after[part] - self._first, weight[part]),
            )
        if stop < self._new:
            kept = int(before[stop - self._done])
            self._kept = values[:, kept - self._first :].clone()
            self._first = kept
        self._done = stop

    def _interpolate(self, values: Tensor, before: Tensor, after: Tensor, weight: Tensor) -> Tensor:
        device = values.device
        if self._old == self._new:
            result = values[:, int(before[0]) : int(before[-1]) + 1]
        else:
            above, below = (values.index_select(1, index.to(device)) for index in (before, after))
            result = torch.lerp(above, below, weight.view(-1, 1).to(device))
        if self._columns is None:
            return result
        left, right, share = (part.to(device) for part in self._columns)
        return torch.lerp(result.index_select(2, left), result.index_select(2, right), share)


class MaskFile:
    """A temporary file with the pixels of a mask: one byte for each pixel, and for each class if it is multi-label.

    Args:
        path: the file. It is removed at the end.
        shape: (H, W) or (C, H, W).
        dtype: the type of the pixels. Files of probabilities have float32.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike = np.uint8) -> None:
        self.shape, self._dtype = shape, np.dtype(dtype)
        self._path, self._file = path, path.open("w+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def channels(self) -> int:
        """Number of channels: 1, or the number of classes of a multi-label mask."""
        return self.shape[0] if len(self.shape) == 3 else 1

    def write(self, part: MaskPart) -> None:
        """Write a part of the mask. Raises OSError."""
        height, width = self.shape[-2:]
        channels = part.mask if part.mask.ndim == 3 else part.mask[None]
        for number, channel in enumerate(channels):
            offset = number * height * width
            if len(part.columns) == width:
                self._seek(offset + part.rows.start * width)
                self._file.write(np.ascontiguousarray(channel).data)
                continue
            for row, pixels in zip(part.rows, channel, strict=True):
                self._seek(offset + row * width + part.columns.start)
                self._file.write(np.ascontiguousarray(pixels).data)

    def read(self, channel: int, start: int, stop: int) -> Bytes:
        """Return the rows from start to stop of a channel, (stop - start, W) uint8."""
        height, width = self.shape[-2:]
        self._seek((channel * height + start) * width)
        content = self._file.read((stop - start) * width * self._dtype.itemsize)
        return np.frombuffer(content, self._dtype).reshape(stop - start, width)

    def bands(self, channel: int, rows: int) -> Iterator[Bytes]:
        """Yield the rows of a channel from top to bottom, `rows` at a time."""
        for start in range(0, self.shape[-2], rows):
            yield self.read(channel, start, min(start + rows, self.shape[-2]))

    def map(self) -> npt.NDArray[Any]:
        """Return the pixels as an array of the shape that the system reads from the file when they are used."""
        self._file.flush()
        return np.memmap(self._path, self._dtype, "r+", shape=self.shape)

    def _seek(self, pixel: int) -> None:
        self._file.seek(pixel * self._dtype.itemsize)
