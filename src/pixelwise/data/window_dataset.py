"""The torch data sets of windows: random ones for training, and those of a grid."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.data.augmentations import Transform
from pixelwise.data.class_cells import ClassCells, find_cells
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.resize import Scale
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.data.windows import (
    CLASS_FRACTION,
    RANDOM_NUMBERS,
    Window,
    cut_window,
    draw_class_pixel,
    window_around,
    window_at_random,
    windows_per_image,
)
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import prefetch_map

MAX_DECODED_BYTES = 512 << 20
"""Maximum size in bytes of the decoded images that a process keeps without the cache."""

_Decoded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], ClassCells | None]
"""An image, its mask, and the places of its classes."""

_MAX_DECODED_IMAGES = 1 << 16
"""Maximum number of the decoded images that a process keeps without the cache."""


def _decoded_bytes(item: _Decoded) -> int:
    return item[0].nbytes + item[1].nbytes


class WindowDataset(SegmentationDataset):
    """A data set of random square windows of images and masks, as uint8 tensors.

    Item k is a window of the image `owners[k]`, at another place each time it is drawn. `CLASS_FRACTION` of the windows
    are placed around a pixel of a random class instead, in a random image with this class. Without the cache, the class
    is one of those in the image `owners[k]`.

    Images are decoded and resized by the scale once, and cached. A window reads its own part of the cached file.
    Without the cache, a process keeps decoded images of up to `MAX_DECODED_BYTES`.

    Args:
        records: records with masks.
        read_spec: the parameters with which the data set's files are read.
        scale: working pixels per image pixel.
        side: side of a window in working pixels, before the transform.
        transform: see `SegmentationDataset`. It determines the size of the items.
        progress, cache_images, skip_unreadable: see `SegmentationDataset`.

    Attributes:
        owners: the index of the image of each window of an epoch.
        side: side of a window in working pixels.
        mean_bytes: mean size of a decoded image and its mask in bytes.

    Raises:
        DataError: See `SegmentationDataset`.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read_spec: ReadSpec,
        scale: float,
        side: int,
        transform: Transform | None = None,
        progress: Progress = no_progress,
        cache_images: bool = True,
        skip_unreadable: bool = False,
    ) -> None:
        super().__init__(records, read_spec, Scale(scale), transform, None, progress, cache_images, skip_unreadable)
        self.side = side
        sizes = self.image_sizes()
        self.mean_bytes = sum(height * width for height, width in sizes) / max(len(sizes), 1) * (read_spec.channels + 1)
        counts = windows_per_image([height * width for height, width in sizes], side)
        self.owners: list[int] = np.repeat(np.arange(len(sizes)), counts).tolist()
        self._images = _Images(self)

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"_images": None}  # its locks cannot be pickled

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self._images = _Images(self)

    def __len__(self) -> int:
        return len(self.owners)

    @property
    def images_in_memory(self) -> int:
        """Number of decoded images that a process keeps without the cache, at least 1."""
        return max(1, int(MAX_DECODED_BYTES / max(self.mean_bytes, 1)))

    def prepare(self, images: Iterable[int]) -> None:
        """Decode images in threads if they are neither cached nor in memory.

        Args:
            images: indices of the images.
        """
        self._images.prepare(set(images))

    def __getitems__(self, draws: Sequence[int | tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """Return the windows of a batch. A DataLoader calls this.

        Args:
            draws: one index or one pair (index, seed) per window.
        """
        self.prepare(self.owners[draw if isinstance(draw, int) else draw[0]] for draw in draws)
        items = []
        # Only the CPU's generator is seeded, see `SegmentationDataset`.
        is_seeded = any(isinstance(draw, tuple) for draw in draws)
        with torch.random.fork_rng(devices=[]) if is_seeded else nullcontext():
            for draw in draws:
                if isinstance(draw, tuple):
                    torch.default_generator.manual_seed(draw[1])
                window = self._draw(self.owners[draw if isinstance(draw, int) else draw[0]])
                items.append(self._item(*self._images.cut(window, self.side)))
        return items

    def image_of(self, draw: tuple[int, int]) -> int:
        """Return the index of the image that a seeded window is cut out of, see `SegmentationDataset.image_of`."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(draw[1])
            return self._draw(self.owners[draw[0]]).image

    def _draw(self, owner: int) -> Window:
        """Return a random window of an image, or around a pixel of a random class. It uses torch's generator."""
        kind, *draws = torch.rand(RANDOM_NUMBERS).tolist()
        if kind < CLASS_FRACTION:
            values = self._images.values(owner)
            if len(values):
                return self._around(owner, values[int(draws[0] * len(values))], draws[1:])
        return window_at_random(owner, self._images.get(owner)[0].shape[:2], self.side, draws[:2])

    def _around(self, owner: int, value: int, draws: Sequence[float]) -> Window:
        """Return a window around a random pixel of a class, see `_Images.places` for the image."""
        index, candidates = self._images.places(owner, value)
        image = int(candidates[int(draws[0] * len(candidates))])
        _, mask, _ = self._images.get(image)
        position = image if self.cache_entry is not None else 0  # without the cache, each image has an index of its own
        pixel = draw_class_pixel(mask, index, position, value, draws[1:3])
        return window_around(image, (mask.shape[-2], mask.shape[-1]), self.side, pixel, draws[3:5])


class _Images:
    """The images of a data set, from its cache or decoded, with the places of their classes.

    Args:
        dataset: the data set.
    """

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset = dataset
        self._decoded = LRUCache[_Decoded](_MAX_DECODED_IMAGES, MAX_DECODED_BYTES, _decoded_bytes)
        labels = dataset.read_spec.partial_labels
        # In joined data sets, the values from C on are not classes.
        self._limit = labels.classes if labels.possible else IGNORE_INDEX
        entry = dataset.cache_entry
        self._values = [] if entry is None or entry.cells is None else self._present(entry.cells)

    def _present(self, cells: ClassCells) -> list[int]:
        return [value for value, images in enumerate(cells.images) if len(images) and value < self._limit]

    def prepare(self, indices: set[int]) -> None:
        """Decode images in threads if they are not cached and this is the main process.

        Raise DataError if the files of the cache are truncated.
        """
        if self.dataset.cache_entry is not None:
            try:
                self.dataset.cache_entry.check_size()
            except DataError as error:
                raise self.dataset.in_process(error) from None
        elif len(indices) > 1 and torch.utils.data.get_worker_info() is None:
            list(prefetch_map(self.get, sorted(indices), 2))

    def get(self, index: int) -> _Decoded:
        """Return an image (H, W, channels), its mask, and without the cache the places of its classes."""
        entry = self.dataset.cache_entry
        if entry is not None:
            return entry.images[index], entry.masks[index], None
        return self._decoded.get(index, lambda: self._decode(index))

    def _decode(self, index: int) -> _Decoded:
        image, mask = self.dataset.read(index)
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        return pixels, mask.numpy(), ClassCells.of([find_cells(mask.numpy())])

    def values(self, owner: int) -> list[int]:
        """Return the classes that a window of an image can be placed around."""
        if self.dataset.cache_entry is not None:
            return self._values
        cells = self.get(owner)[2]
        assert cells is not None, "decoded images have an index"
        return self._present(cells)

    def places(self, owner: int, value: int) -> tuple[ClassCells, "Sequence[int] | npt.NDArray[np.int64]"]:
        """Return the index that has a class, and the images to choose from."""
        entry = self.dataset.cache_entry
        if entry is not None and entry.cells is not None:
            return entry.cells, entry.cells.images[value]
        cells = self.get(owner)[2]
        assert cells is not None, "decoded images have an index"
        return cells, [owner]

    def cut(self, window: Window, side: int) -> tuple[Tensor, Tensor]:
        """Return a window of an image, (channels, side, side), and of its mask."""
        image, mask, _ = self.get(window.image)
        pixels = torch.from_numpy(cut_window(image, window.top, window.left, side)).permute(2, 0, 1)
        if mask.ndim == 2:
            return pixels, torch.from_numpy(cut_window(mask, window.top, window.left, side))
        channels_last = cut_window(mask.transpose(1, 2, 0), window.top, window.left, side)
        return pixels, torch.from_numpy(channels_last).permute(2, 0, 1)


class GridWindows(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """A data set of the windows of a grid that covers each image once, with as little overlap as possible.

    An item is an image window (channels, side, side) uint8 and a mask window.

    Args:
        images: whole images at the working scale.
        side: side of a window in working pixels.

    Attributes:
        windows: the windows of all images.
    """

    def __init__(self, images: SegmentationDataset, side: int) -> None:
        self.side, self._images = side, _Images(images)
        self.read_spec = images.read_spec
        self.windows = [
            Window(index, top, left)
            for index, (height, width) in enumerate(images.image_sizes())
            for top in _grid_starts(height, side)
            for left in _grid_starts(width, side)
        ]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._images.cut(self.windows[index], self.side)


def _grid_starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [-((side - length) // 2)]
    count = -(-length // side)
    return [round(index * (length - side) / (count - 1)) for index in range(count)]
