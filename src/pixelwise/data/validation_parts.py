"""Validation images, of which those that are too large to be decoded are represented by some of their parts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.data.io.record_windows import RecordWindows
from pixelwise.data.record_parts import open_undecodable
from pixelwise.data.resize import Scale
from pixelwise.data.scaled_windows import ScaledWindows, exceeds_limit
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

_MAX_PARTS = 64
"""Maximum number of parts of all images of a process, apart from those for classes that the others do not have."""

_PARTS_PER_IMAGE = (4, 16)
"""Minimum and maximum number of parts of an image."""

_WINDOWS_PER_SIDE = 3
"""Number of windows along each side of a part. Neighboring windows overlap by a quarter."""


class Part(NamedTuple):
    """A part of an image at the working scale: its rows and its columns."""

    rows: range
    columns: range


class ValidationParts(SegmentationDataset):
    """A data set of validation images at the working scale, without the cache.

    An image of more than `MAX_PIXELS` working pixels is represented by square parts of 3x3 overlapping windows. They
    are drawn at random from a grid, one from each of as many bands of the image. For each class that the image has, but
    none of these parts, the part with the most pixels of the class is added. Each part is an item of its own.

    Args:
        records: records with masks.
        read_spec: the parameters with which the data set's files are read.
        scale: working pixels per image pixel.
        side: side of a window in working pixels.
        seed: determines the parts.
        progress: reports the progress of choosing the parts, see `Progress`.
        skip_unreadable: see `SegmentationDataset`.

    Attributes:
        messages: see `SegmentationDataset`.

    Raises:
        DataError: A file of a large image cannot be read.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read_spec: ReadSpec,
        scale: float,
        side: int,
        seed: int = 0,
        progress: Progress = no_progress,
        skip_unreadable: bool = False,
    ) -> None:
        self._side, self._scale, self._seed = int(side * (1 + (_WINDOWS_PER_SIDE - 1) * 0.75)), Scale(scale), seed
        self._opened: dict[int, ScaledWindows] = {}
        large = [exceeds_limit(record, self._scale) for record in records]
        low, high = _PARTS_PER_IMAGE
        self._count = min(high, max(low, _MAX_PARTS // max(sum(large), 1)))

        def choose(index: int) -> list[Part | None]:
            try:
                return [*self._choose(records[index], read_spec, index)] if large[index] else [None]
            except DataError:
                if skip_unreadable:
                    return [None]  # reading the image reports the error
                raise

        chosen = list(progress(prefetch_map(choose, range(len(records)), 2), len(records)))
        self._parts = [part for parts in chosen for part in parts]
        repeated = [record for record, parts in zip(records, chosen, strict=True) for _ in parts]
        super().__init__(repeated, read_spec, self._scale, cache_images=False, skip_unreadable=skip_unreadable)
        self.messages = tuple(
            f"{record.image}: too large to be validated as a whole; validations during the training use "
            f"{len(parts)} parts of {self._side}x{self._side} px, the same ones each time"
            for record, parts in zip(records, chosen, strict=True)
            if parts[0] is not None
        )

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"_opened": {}}  # open files cannot be pickled

    def _choose(self, record: Record, read_spec: ReadSpec, index: int) -> list[Part]:
        """Return the parts of an image."""
        windows = open_undecodable(record, read_spec)
        if windows is None:
            raise DataError(f"{record.image}: too large to be decoded, and its windows cannot be read")
        scaled = ScaledWindows(windows, self._scale)
        grid = [_ranges(length, self._side) for length in scaled.size]
        places = [Part(rows, columns) for rows in grid[0] for columns in grid[1]]
        generator = np.random.default_rng((self._seed, index))
        count = min(self._count, len(places))
        starts = np.linspace(0, len(places), count + 1).astype(int)
        chosen = [int(generator.integers(low, high)) for low, high in pairwise(starts)]
        pixels = np.stack(list(_class_pixels(scaled, grid, read_spec)))
        for value in np.flatnonzero(pixels.sum(0)).tolist():
            if not pixels[chosen, value].any():
                chosen.append(int(pixels[:, value].argmax()))
        return [places[place] for place in sorted(chosen)]

    def _size_of(self, index: int) -> tuple[int, int]:
        part = self._parts[index]
        return super()._size_of(index) if part is None else (len(part.rows), len(part.columns))

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Read an image or a part of one, see `SegmentationDataset.read`."""
        part = self._parts[index]
        if part is None:
            return super().read(index)
        try:
            image, mask = self._windows(index).read(*part)
        except DataError as error:
            raise self.in_process(error) from None
        return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), torch.from_numpy(
            np.ascontiguousarray(mask)
        )

    def _windows(self, index: int) -> ScaledWindows:
        """Return the windows of the image of an item. They stay open."""
        key = id(self.records[index])
        if key not in self._opened:
            windows: RecordWindows | None = open_undecodable(self.records[index], self.read_spec)
            if windows is None:
                raise DataError(f"{self.records[index].image}: cannot be read by windows anymore")
            self._opened[key] = ScaledWindows(windows, self._scale)
        return self._opened[key]


def _ranges(length: int, side: int) -> list[range]:
    """Return ranges of at most `side` pixels that cover a side of an image once, with equal lengths up to rounding."""
    edges = np.linspace(0, length, -(-length // side) + 1).round().astype(int).tolist()
    return [range(start, stop) for start, stop in pairwise(edges)]


def _class_pixels(
    windows: ScaledWindows, grid: Sequence[Sequence[range]], read_spec: ReadSpec
) -> "list[npt.NDArray[np.int64]]":
    """Return the number of pixels of each class in each part of a grid."""
    counts = []
    for rows in grid[0]:
        band = windows.read_mask(rows, range(windows.size[1]))
        for columns in grid[1]:
            pixels = read_spec.task.class_pixels(band[..., columns.start : columns.stop])
            counts.append(read_spec.partial_labels.count_as_background(pixels))
    return counts
