"""The images that windows are cut out of: from the cache, decoded, or read by windows from their files."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixelwise.data.class_cells import ClassCells, find_cells
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.record_windows import RecordWindows, has_mask_windows, open_image_windows
from pixelwise.data.resize import Scale
from pixelwise.data.scaled_windows import ScaledWindows
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.data.validation_parts import ValidationParts
from pixelwise.data.windows import Window, cut_window, draw_class_cell, draw_pixel_of
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.threads import prefetch_map

MAX_DECODED_BYTES = 512 << 20
"""Maximum size in bytes of the decoded images that a process keeps without the cache."""

_Decoded = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], ClassCells | None]
"""An image, its mask, and the places of its classes."""

_MAX_DECODED_IMAGES = 1 << 16
"""Maximum number of the decoded images that a process keeps without the cache."""

_MAX_OPEN_IMAGES = 64
"""Maximum number of images whose files a process keeps open to read windows of them."""

T = TypeVar("T")


def _decoded_bytes(item: _Decoded) -> int:
    return item[0].nbytes + item[1].nbytes


class KeptPixels(NamedTuple):
    """The pixels of an image and its mask that are kept if windows are read without the cache.

    Attributes:
        nbytes: their size in bytes.
        has_windows: True if windows are read from the files. Then at most the mask is kept.
    """

    nbytes: int
    has_windows: bool


def find_kept_pixels(dataset: SegmentationDataset, total_images: int | None = None) -> list[KeptPixels]:
    """Return which pixels of each image are kept if windows are read without the cache.

    If all images fit into `MAX_DECODED_BYTES`, they are decoded once. Else, windows are read from files if possible.

    Args:
        dataset: the images. Its `image_size` is a scale.
        total_images: number of images of the data set of which these are a sample. None if they are not a sample.
    """
    bytes_per_pixel = dataset.read_spec.channels + 1
    decoded = [height * width * bytes_per_pixel for height, width in dataset.image_sizes()]
    total = sum(decoded) * (total_images or len(decoded)) / max(len(decoded), 1)
    if dataset.cache_entry is not None or total <= MAX_DECODED_BYTES or isinstance(dataset, ValidationParts):
        return [KeptPixels(size, False) for size in decoded]

    def kept(index: int) -> KeptPixels:
        record = dataset.records[index]
        image = open_image_windows(record, dataset.read_spec)
        if image is None:
            return KeptPixels(decoded[index], False)
        with image:
            return KeptPixels(0 if has_mask_windows(record.mask) else image.height * image.width, True)

    return list(prefetch_map(kept, range(len(decoded))))


class WindowImages:
    """The images of a data set, from its cache, decoded, or read by windows, with the places of their classes.

    Args:
        dataset: the data set.
        kept: see `find_kept_pixels`.
    """

    def __init__(self, dataset: SegmentationDataset, kept: Sequence[KeptPixels]) -> None:
        self.dataset, self.kept = dataset, kept
        self._decoded = LRUCache[_Decoded](_MAX_DECODED_IMAGES, MAX_DECODED_BYTES, _decoded_bytes)
        self._opened = LRUCache[ScaledWindows](_MAX_OPEN_IMAGES, MAX_DECODED_BYTES, lambda windows: windows.nbytes)
        self._cells: dict[int, ClassCells] = {}
        self._unreadable: set[int] = set()
        labels = dataset.read_spec.partial_labels
        # In joined data sets, the values from C on are not classes.
        self._limit = labels.classes if labels.possible else IGNORE_INDEX
        entry = dataset.cache_entry
        self._values = [] if entry is None or entry.cells is None else self._present(entry.cells)

    def _present(self, cells: ClassCells) -> list[int]:
        return [value for value, images in enumerate(cells.images) if len(images) and value < self._limit]

    def prepare(self, indices: set[int]) -> None:
        """Decode or open images in threads if they are not cached and this is the main process.

        Raise DataError if the files of the cache are truncated.
        """
        if self.dataset.cache_entry is not None:
            try:
                self.dataset.cache_entry.check_size()
            except DataError as error:
                raise self.dataset.in_process(error) from None
        elif len(indices) > 1 and torch.utils.data.get_worker_info() is None:
            list(prefetch_map(self.size, sorted(indices), 2))

    def size(self, index: int) -> tuple[int, int]:
        """Return the height and width of an image at the working scale in pixels."""
        size = self._from_files(index, lambda windows: windows.size)
        if size is None:
            height, width = self.get(index)[0].shape[:2]
            return height, width
        return size

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

    def _from_files(self, index: int, read: Callable[[ScaledWindows], T]) -> T | None:
        """Return the result of a function of the windows of an image's files.

        Return None if windows are not read from its files. With `skip_unreadable`, this is also so after an error. Then
        decoding the image as a whole reports it.
        """
        if not self.kept[index].has_windows or index in self._unreadable:
            return None
        try:
            return read(self._opened.get(index, lambda: self._open(index)))
        except DataError as error:
            if not self.dataset.skip_unreadable:
                raise self.dataset.in_process(error) from None
            self._unreadable.add(index)
            self._cells.pop(index, None)  # the image that replaces an unreadable one has no classes
            return None

    def _open(self, index: int) -> ScaledWindows:
        record, spec, scale = self.dataset.records[index], self.dataset.read_spec, self.dataset.image_size
        assert isinstance(scale, Scale), "windows need a scale"
        image = open_image_windows(record, spec)
        if image is None:
            raise DataError(f"{record.image}: cannot be read by windows anymore; do not change it during a training")
        return ScaledWindows(RecordWindows(record, spec, image), scale)

    def _cells_of(self, index: int) -> ClassCells:
        """Return the places of the classes of one image without the cache."""
        if index not in self._cells:
            found = self._from_files(index, lambda windows: windows.find_cells())
            if found is None:
                cells = self.get(index)[2]
                assert cells is not None, "decoded images have an index"
                return cells
            self._cells[index] = found
        return self._cells[index]

    def values(self, owner: int) -> list[int]:
        """Return the classes that a window of an image can be placed around."""
        return self._values if self.dataset.cache_entry is not None else self._present(self._cells_of(owner))

    def places(self, owner: int, value: int) -> tuple[ClassCells, "Sequence[int] | npt.NDArray[np.int64]"]:
        """Return the index that has a class, and the images to choose from."""
        entry = self.dataset.cache_entry
        if entry is not None and entry.cells is not None:
            return entry.cells, entry.cells.images[value]
        return self._cells_of(owner), [owner]

    def draw_class_pixel(
        self, image: int, cells: ClassCells, position: int, value: int, draws: Sequence[float]
    ) -> tuple[int, int]:
        """Return a random pixel of a class, from a random one of the cells that have it.

        Args:
            image: index of the image.
            cells: an index of masks.
            position: index of the image in `cells`.
            value: index of the class. The image must contain it.
            draws: two random numbers in [0, 1).

        Returns:
            The row and the column.
        """
        height, width = self.size(image)
        rows, columns = draw_class_cell(width, cells, position, value, draws[0])
        part = self._from_files(
            image,
            lambda windows: windows.read_mask(
                range(rows.start, min(rows.stop, height)), range(columns.start, min(columns.stop, width))
            ),
        )
        row, column = draw_pixel_of(self.get(image)[1][..., rows, columns] if part is None else part, value, draws[1])
        return rows.start + row, columns.start + column

    def class_pixels(self, index: int) -> npt.NDArray[np.int64] | None:
        """Count the pixels of each class in the mask of an image, see `Task.class_pixels`.

        Return None if windows are not read from its files.
        """
        task = self.dataset.read_spec.task
        return self._from_files(index, lambda windows: windows.class_pixels(task))

    def cut(self, window: Window, side: int) -> tuple[Tensor, Tensor]:
        """Return a window of an image, (channels, side, side), and of its mask."""
        parts = self._from_files(window.image, lambda windows: windows.cut(window.top, window.left, side))
        if parts is not None:
            image, mask = parts
            return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(mask)
        image, mask, _ = self.get(window.image)
        pixels = torch.from_numpy(cut_window(image, window.top, window.left, side)).permute(2, 0, 1)
        if mask.ndim == 2:
            return pixels, torch.from_numpy(cut_window(mask, window.top, window.left, side))
        channels_last = cut_window(mask.transpose(1, 2, 0), window.top, window.left, side)
        return pixels, torch.from_numpy(channels_last).permute(2, 0, 1)
