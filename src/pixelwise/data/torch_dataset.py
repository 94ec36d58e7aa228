"""The torch data set of images and masks that training draws from."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.augmentations import Transform
from pixelwise.data.cache.entry import CacheEntry
from pixelwise.data.cache.store import get_or_build, load_and_resize
from pixelwise.data.image_versions import Unchanged
from pixelwise.data.input_size import to_pair
from pixelwise.data.io.image_size import header_size
from pixelwise.data.resize import ImageSize, Scale, target_size
from pixelwise.data.scaled_windows import exceeds_limit
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.errors import CacheUnavailableError, DataError, WorkerDataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

logger = logging.getLogger(__name__)

_UNREADABLE_SIDE = 64
"""Side in pixels of the black image that replaces an unreadable one if images are resized by a scale."""


class SegmentationDataset(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """A data set of images and masks as uint8 tensors.

    Images and masks are decoded and resized once, and cached. The transform is applied each time an item is drawn.

    An item is requested by its index, or by (index, seed). The random transform of a seeded item depends on the seed
    alone, so that an epoch is the same with any number of workers or processes, and after a resume. Drawing a seeded
    item does not change torch's global random state.

    An item is a tuple:

    - image: (channels, height, width) uint8 in [0, 255], channels last in memory. Without a transform, the size is
      `image_size`. If that is a scale, height and width differ from item to item.
    - mask: (height, width) uint8 class indices, 255 = ignore. Multi-label: (C, height, width). Joined data sets
      have further values, see `PartialLabels`.
    - weight, if `class_weights` is given: float32 of the mask's shape, the class weight of each pixel, 0 for pixels to
      ignore.

    Items can be views of cached memory. Do not change them in place.

    Args:
        records: records with masks.
        read_spec: the parameters with which the data set's files are read.
        image_size: the side in pixels of the squares to which images and masks are resized, a height and a width, or a
            scale. With a scale, items differ in size.
        transform: a function of (image, mask) that is applied when an item is drawn. None applies nothing.
        class_weights: (C,) float, see `Task.pixel_weights`.
        progress: reports the progress of building the cache, see `Progress`.
        cache_images: keep resized images in the user's cache folder. If False, or if the cache cannot be used, the
            files are decoded each time an item is drawn.
        skip_unreadable: leave out records that cannot be read instead of raising an error. Without the cache, such an
            item has a black image and a mask of 255 ("ignore"), and the error is logged once per process.

    Attributes:
        skipped: the errors of the records that are left out. Without the cache, only the errors of items that were
            drawn so far, in this process or in a worker of a DataLoader. The cause of a worker's error is only logged.
        messages: lines for the user, for example why the cache is disabled.
        cache_entry: the images in the cache, or None without the cache.

    Raises:
        DataError: An image or mask cannot be read. With the cache, the constructor raises the error. Without it,
            drawing the item does. `image_sizes` does so if the size of the image is not in the header of a local file.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read_spec: ReadSpec,
        image_size: ImageSize,
        transform: Transform | None = None,
        class_weights: Tensor | None = None,
        progress: Progress = no_progress,
        cache_images: bool = True,
        skip_unreadable: bool = False,
    ) -> None:
        self.records, self.read_spec, self.image_size = records, read_spec, image_size
        self.transform = None if isinstance(transform, Unchanged) else transform  # None avoids saving the random state
        self.class_weights, self.skip_unreadable = class_weights, skip_unreadable
        self._skipped: list[DataError] = []
        self.messages: tuple[str, ...] = ()
        self.cache_entry: CacheEntry | None = None
        self._logged: set[int] = set()
        self._sizes: list[tuple[int, int]] = []
        self._unreadable: Tensor | None = None
        if cache_images and isinstance(image_size, Scale) and any(exceeds_limit(each, image_size) for each in records):
            self.messages = ("the image cache is not used, because an image is too large: windows are read from files",)
        elif cache_images and records:
            try:
                self.cache_entry, self._skipped = get_or_build(
                    records, read_spec, image_size, progress, skip_unreadable
                )
            except CacheUnavailableError as error:
                self.messages = (f"the image cache cannot be used, every epoch decodes the images again: {error}",)
        if skip_unreadable and self.cache_entry is None:
            # Workers have copies of this object. All copies share this memory.
            self._unreadable = torch.zeros(len(records), dtype=torch.bool).share_memory_()
        self._open_tensors()

    @property
    def skipped(self) -> list[DataError]:
        by_workers = [] if self._unreadable is None else self._unreadable.nonzero().flatten().tolist()
        return self._skipped + [
            DataError(f"{self.records[index].image}: cannot be read")
            for index in by_workers
            if index not in self._logged
        ]

    def _open_tensors(self) -> None:
        """Open the memory maps as tensors. Indexing them is faster than indexing an array and converting the item."""
        self._cached: tuple[Sequence[Tensor] | Tensor, Sequence[Tensor] | Tensor] | None = None
        entry = self.cache_entry
        if entry is not None and isinstance(entry.images, np.ndarray) and isinstance(entry.masks, np.ndarray):
            self._cached = torch.from_numpy(entry.images).permute(0, 3, 1, 2), torch.from_numpy(entry.masks)
        elif entry is not None:
            images = [torch.from_numpy(image).permute(2, 0, 1) for image in entry.images]
            self._cached = images, [torch.from_numpy(mask) for mask in entry.masks]

    def __getstate__(self) -> dict[str, object]:
        # Do not pickle the tensors, which would copy the whole memory maps.
        return self.__dict__ | {"_cached": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open_tensors()

    @property
    def image_count(self) -> int:
        """Number of images. Images that are left out of the cache are not counted."""
        return len(self.records) if self._cached is None else len(self._cached[0])

    def __len__(self) -> int:
        return self.image_count

    def image_sizes(self) -> list[tuple[int, int]]:
        """Return the height and width in pixels of each image as it is resized.

        Without the cache, sizes are those in the headers of local files. Images without such a header are decoded.
        """
        if not isinstance(self.image_size, Scale):
            return [to_pair(self.image_size)] * self.image_count
        if self.cache_entry is not None:
            return list(self.cache_entry.header.sizes)
        if not self._sizes:
            self._sizes = list(prefetch_map(self._size_of, range(self.image_count)))
        return list(self._sizes)

    def _size_of(self, index: int) -> tuple[int, int]:
        size = header_size(self.records[index].image)
        if size is not None:
            return target_size(self.image_size, *size)
        height, width = self.read(index)[0].shape[1:]
        return height, width

    def class_pixels(self, classes: int, progress: Progress = no_progress) -> Tensor:
        """Count the pixels of each class in the resized masks.

        With the cache, the counts are read from its header. Without it, all masks are read.

        Args:
            classes: number of classes C.
            progress: reports the progress of reading the masks, see `Progress`.

        Returns:
            (C,) int64. Pixels to ignore are not counted. A pixel with several possible classes counts as background.
        """
        if self.cache_entry is not None:
            counts = np.array(self.cache_entry.header.class_pixels)
            return torch.from_numpy(self.read_spec.partial_labels.count_as_background(counts)[:classes])

        total = torch.zeros(classes, dtype=torch.int64)
        for counts in progress(prefetch_map(self.class_pixels_of, range(self.image_count)), self.image_count):
            total += counts[:classes]
        return total

    def class_pixels_of(self, index: int) -> Tensor:
        """Count the pixels of each class in one resized mask.

        Args:
            index: index of the record.

        Returns:
            (256,) int64, the count of each mask value, or (C,) int64 for a multi-label mask. A pixel with several
            possible classes counts as background.
        """
        counts = self.read_spec.task.class_pixels(self.read(index)[1].numpy())
        return torch.from_numpy(self.read_spec.partial_labels.count_as_background(counts))

    def __getitem__(self, draw: int | tuple[int, int]) -> tuple[Tensor, ...]:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[int | tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """Return the items of a batch. A DataLoader calls this.

        Args:
            draws: one index or one pair (index, seed) per item.
        """
        pairs = self.read_all([draw if isinstance(draw, int) else draw[0] for draw in draws])
        if self.transform is None or not any(isinstance(draw, tuple) for draw in draws):
            return [self._item(*pair) for pair in pairs]
        if not all(isinstance(draw, tuple) for draw in draws):
            return [self[draw] for draw in draws]
        # The random state is saved once per batch, because saving it takes longer than a flip. Only the CPU's generator
        # is seeded. torch.manual_seed would change the generators of GPUs too.
        with torch.random.fork_rng(devices=[]):
            items = []
            for pair, draw in zip(pairs, draws, strict=True):
                if isinstance(draw, tuple):
                    torch.default_generator.manual_seed(draw[1])
                items.append(self._item(*pair))
            return items

    def read_all(self, indices: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        """Return resized images and masks without the transform, from the cache or else from their files.

        In the main process, several files are read in threads.

        Args:
            indices: indices of the records.

        Raises:
            DataError: A file cannot be read, or the cache is damaged.
        """
        if self._cached is not None and self.cache_entry is not None:
            self._check_cache(self.cache_entry)
            images, masks = self._cached
            return [(images[index], masks[index]) for index in indices]
        if len(indices) == 1 or torch.utils.data.get_worker_info() is not None:
            return [self.read(index) for index in indices]
        return list(prefetch_map(self.read, indices))

    def _check_cache(self, entry: CacheEntry) -> None:
        """Raise DataError if the files of the cache are truncated."""
        try:
            entry.check_size()
        except DataError as error:
            raise self.in_process(error) from None

    def image_of(self, draw: tuple[int, int]) -> int:
        """Return the index of the image that an item of this index and seed shows."""
        return draw[0]

    @staticmethod
    def in_process(error: DataError) -> DataError:
        """Return the error, converted to a WorkerDataError if this process is a worker of a DataLoader."""
        return error if torch.utils.data.get_worker_info() is None else WorkerDataError(str(error))

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Read the image and the mask of one record from its files, see `load_and_resize`.

        Args:
            index: index of the record.

        Returns:
            The image and the mask. With `skip_unreadable`, black and 255 ("ignore") if the files cannot be read.

        Raises:
            DataError: The files cannot be read.
        """
        try:
            image, mask = load_and_resize(self.records[index], self.read_spec, self.image_size)
        except DataError as error:
            if not self.skip_unreadable:
                raise self.in_process(error) from None
            if index not in self._logged:
                self._logged.add(index)
                self._skipped.append(error)
                if self._unreadable is not None:
                    self._unreadable[index] = True
                logger.warning("left out: %s", error)
            image, mask = self._ignored_item(self.records[index])
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)

    def _ignored_item(self, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """Return a black image and a mask of 255 ("ignore"), which have no influence on the loss."""
        # The size of the unreadable image is not known.
        size = to_pair(_UNREADABLE_SIDE if isinstance(self.image_size, Scale) else self.image_size)
        image = np.zeros((*size, self.read_spec.channels), np.uint8)
        classes = len(record.mask.channels) if isinstance(record.mask, MultilabelMask) else 0
        shape = self.read_spec.task.mask_shape(classes, *size)
        return image, np.full(shape, IGNORE_INDEX, np.uint8)

    def _item(self, image: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        if self.class_weights is None:
            return image, mask
        known = torch.from_numpy(self.read_spec.partial_labels.to_background(mask.numpy()))
        return image, mask, self.read_spec.task.pixel_weights(known, self.class_weights)


def collate(items: Sequence[tuple[Tensor, ...]]) -> list[Tensor]:
    """Stack the items of a batch. This is the `collate_fn` of a DataLoader.

    Items are stacked by numpy. Its copy of images that are channels last takes less time than torch needs to start its
    threads.

    Args:
        items: items of a `SegmentationDataset`, all with the same shapes.

    Returns:
        Images (N, channels, H, W) uint8, channels last in memory, then masks, then weights if the items have them.

    >>> images, masks = collate([(torch.zeros(3, 8, 8), torch.zeros(8, 8))] * 2)
    >>> tuple(images.shape), images.is_contiguous(memory_format=torch.channels_last)
    ((2, 3, 8, 8), True)
    """
    images, *others = zip(*items, strict=True)
    stacked = np.ascontiguousarray(np.stack([image.permute(1, 2, 0).numpy() for image in images]))
    batch = torch.from_numpy(stacked).permute(0, 3, 1, 2)
    return [batch, *(torch.from_numpy(np.stack([tensor.numpy() for tensor in column])) for column in others)]
