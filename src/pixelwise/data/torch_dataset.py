"""The data set that training draws from."""

import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.augmentations import Transform, identity
from pixelwise.data.cache.store import CacheEntry, CacheUnavailableError, get_or_build, load_and_resize
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map


class WorkerDataError(DataError):
    """A DataError met while images are drawn. torch wraps a worker's error in its stack trace; this unwraps it."""

    def __init__(self, text: str) -> None:
        super().__init__(text.rstrip().rpartition("\n")[2].removeprefix(f"{__name__}.{type(self).__name__}: "))


class SegmentationDataset(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Images and masks as uint8 tensors, prepared once and kept in the cache, transformed each time they are drawn.

    An item is asked for by its index or by (index, seed); with a seed the random transform is drawn from it
    alone, so that an epoch is the same with any number of workers or processes, and after a resume.

    Args:
        records: what to read, each with a mask.
        reading: how its files become arrays.
        size: pixels; images and masks are kept at size x size.
        transform: applied to (image, mask) when an item is drawn; None leaves them as prepared.
        class_weights: (C,) float; where given, items are (image, mask, weight).
        progress: see `Progress`; called for each pass over the records.
        cache: keep prepared images in the user's cache folder (see `prepared`), else decode each at every draw; so
            too where the cache cannot be used.
        skip_bad: leave out what cannot be read instead of raising DataError. While streaming, such an image is black
            with a mask that is all "ignore", so that nothing is learnt from it, and named once on stderr.

    Attributes:
        skipped: a DataError for each record that was left out of the cache.
        notes: lines to be told to a person: why the cache is not used.

    Items: image (3, size, size) uint8 RGB in [0, 255], channels last in memory; mask (size, size) uint8 (255 = ignore),
    multi-label (C, size, size); and, where asked, weight (size, size) float32, the class weight of each pixel (0 where
    ignored). They may be views of what is kept: do not change them in place.

    Raises DataError for an image or mask that cannot be read: with the cache at once, else when it is drawn.
    """

    def __init__(
        self,
        records: Sequence[Record],
        reading: ReadSpec,
        size: int,
        transform: Transform | None = None,
        class_weights: Tensor | None = None,
        progress: Progress = no_progress,
        cache: bool = True,
        skip_bad: bool = False,
    ) -> None:
        self.records, self.reading, self.size = records, reading, size
        self.transform = None if transform is identity else transform  # which needs no random state
        self.class_weights, self.skip_bad = class_weights, skip_bad
        self.skipped: list[DataError] = []
        self.notes: tuple[str, ...] = ()
        self.prepared: CacheEntry | None = None
        self._told: set[int] = set()
        if cache and records:
            try:
                self.prepared, self.skipped = get_or_build(records, reading, size, progress, skip_bad)
            except CacheUnavailableError as error:
                self.notes = (f"images are decoded each time they are drawn, for the cache cannot be used: {error}",)
        self._view()

    def _view(self) -> None:
        """The memory maps as tensors: to cut an item out of one takes a microsecond."""
        self._kept = None
        if self.prepared is not None:
            images = torch.from_numpy(self.prepared.images).permute(0, 3, 1, 2)
            self._kept = images, torch.from_numpy(self.prepared.masks)

    def __getstate__(self) -> dict[str, object]:
        # A tensor of a memory map would be pickled whole.
        return self.__dict__ | {"_kept": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._view()

    def __len__(self) -> int:
        return len(self.records) if self._kept is None else len(self._kept[0])

    def class_pixels(self, classes: int, progress: Progress = no_progress) -> Tensor:
        """How many pixels each class has in the prepared masks: (C,) int64, ignored pixels left out.

        Known already where the cache is used, else a pass over all masks.
        """
        if self.prepared is not None:
            return torch.tensor(self.prepared.header.class_pixels[:classes])

        def count(index: int) -> Tensor:
            mask = self._read(index)[1]
            return torch.from_numpy(self.reading.task.class_pixels(mask.numpy()))

        counts = torch.zeros(classes, dtype=torch.int64)
        for each in progress(prefetch_map(count, range(len(self))), len(self)):
            counts += each[:classes]
        return counts

    def __getitem__(self, draw: int | tuple[int, int]) -> tuple[Tensor, ...]:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[int | tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """The items of a batch: saving torch's random state takes longer than a flip, so it is done once for all."""
        pairs = self._pairs([draw if isinstance(draw, int) else draw[0] for draw in draws])
        if self.transform is None or not any(isinstance(draw, tuple) for draw in draws):
            return [self._item(*pair) for pair in pairs]
        if not all(isinstance(draw, tuple) for draw in draws):
            return [self[draw] for draw in draws]
        with torch.random.fork_rng(devices=[]):
            return [
                self._item(*pair, draw[1]) for pair, draw in zip(pairs, draws, strict=True) if isinstance(draw, tuple)
            ]

    def _pairs(self, indices: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Prepared images and masks: kept ones, or read now, in threads where that is not a worker's job already."""
        if self._kept is not None:
            images, masks = self._kept
            return [(images[index], masks[index]) for index in indices]
        if len(indices) == 1 or torch.utils.data.get_worker_info() is not None:
            return [self._read(index) for index in indices]
        return list(prefetch_map(self._read, indices))

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        record = self.records[index]
        try:
            image, mask = load_and_resize(record, self.reading, self.size)
        except DataError as error:
            if not self.skip_bad:
                raise WorkerDataError(str(error)) from None
            if index not in self._told:
                self._told.add(index)
                print(f"left out: {error}", file=sys.stderr, flush=True)
            square = (self.size, self.size)
            layers = (len(record.mask.channels),) if isinstance(record.mask, MultilabelMask) else ()
            image = np.zeros((*square, self.reading.channels), np.uint8)
            mask = np.full((*layers, *square), IGNORE_INDEX, np.uint8)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

    def _item(self, image: Tensor, mask: Tensor, seed: int | None = None) -> tuple[Tensor, ...]:
        if seed is not None:
            torch.manual_seed(seed)
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        if self.class_weights is None:
            return image, mask
        return image, mask, self.reading.task.pixel_weights(mask, self.class_weights)


def collate(items: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    """Stack the items of a batch: images (N, C, H, W), channels last in memory as encoders want them; masks; weights.

    For a DataLoader's `collate_fn`. numpy copies images that lie channels last in one stretch each, in less time than
    torch starts its threads.

    >>> images, masks = collate([(torch.zeros(3, 8, 8), torch.zeros(8, 8))] * 2)
    >>> tuple(images.shape), images.is_contiguous(memory_format=torch.channels_last)
    ((2, 3, 8, 8), True)
    """
    images, *others = zip(*items, strict=True)
    stacked = np.ascontiguousarray(np.stack([image.permute(1, 2, 0).numpy() for image in images]))
    batch = torch.from_numpy(stacked).permute(0, 3, 1, 2)
    return [batch, *(torch.from_numpy(np.stack([each.numpy() for each in other])) for other in others)]
