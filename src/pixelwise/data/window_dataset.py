"""The torch data sets of windows: random ones for training, and those of a grid."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.augmentations import Transform
from pixelwise.data.resize import Scale
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.data.window_images import MAX_DECODED_BYTES, WindowImages, find_kept_pixels
from pixelwise.data.windows import (
    CLASS_FRACTION,
    RANDOM_NUMBERS,
    Window,
    window_around,
    window_at_random,
    windows_per_image,
)
from pixelwise.runtime.progress import Progress, no_progress


class WindowDataset(SegmentationDataset):
    """A data set of random square windows of images and masks, as uint8 tensors.

    Item k is a window of the image `owners[k]`, at another place each time it is drawn. `CLASS_FRACTION` of the windows
    are placed around a pixel of a random class instead, in a random image with this class. Without the cache, the class
    is one of those in the image `owners[k]`.

    Images are decoded and resized by the scale once, and cached. A window reads its own part of the cached file.
    Without the cache, a process keeps decoded images of up to `MAX_DECODED_BYTES`. If all images together are larger,
    windows of TIFF files are read from the files, see `RecordWindows`.

    Args:
        records: records with masks.
        read_spec: the parameters with which the data set's files are read.
        scale: working pixels per image pixel.
        side: side of a window in working pixels, before the transform.
        transform: see `SegmentationDataset`. It determines the size of the items.
        progress, cache_images, skip_unreadable: see `SegmentationDataset`.
        total_images: number of images of the data set of which `records` is a sample. None if it is not a sample.

    Attributes:
        owners: the index of the image of each window of an epoch.
        side: side of a window in working pixels.
        mean_bytes: mean size in bytes of the decoded pixels of an image and its mask that are kept without the cache.

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
        total_images: int | None = None,
    ) -> None:
        super().__init__(records, read_spec, Scale(scale), transform, None, progress, cache_images, skip_unreadable)
        self.side = side
        sizes = self.image_sizes()
        kept = find_kept_pixels(self, total_images)
        self.mean_bytes = sum(pixels.nbytes for pixels in kept) / max(len(kept), 1)
        counts = windows_per_image([height * width for height, width in sizes], side)
        self.owners: list[int] = np.repeat(np.arange(len(sizes)), counts).tolist()
        self._images = WindowImages(self, kept)

    def __getstate__(self) -> dict[str, object]:
        return super().__getstate__() | {"_images": self._images.kept}  # its locks cannot be pickled

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)
        self._images = WindowImages(self, state["_images"])  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self.owners)

    @property
    def images_in_memory(self) -> int:
        """Number of images that a process keeps, or reads by windows, without the cache, at least 1."""
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
        return window_at_random(owner, self._images.size(owner), self.side, draws[:2])

    def _around(self, owner: int, value: int, draws: Sequence[float]) -> Window:
        """Return a window around a random pixel of a class, see `WindowImages.places` for the image."""
        index, candidates = self._images.places(owner, value)
        image = int(candidates[int(draws[0] * len(candidates))])
        position = image if self.cache_entry is not None else 0  # without the cache, each image has an index of its own
        pixel = self._images.draw_class_pixel(image, index, position, value, draws[1:3])
        return window_around(image, self._images.size(image), self.side, pixel, draws[3:5])

    def class_pixels_of(self, index: int) -> Tensor:
        """Count the pixels of each class in one mask, without decoding it as a whole if its windows can be read."""
        counts = self._images.class_pixels(index)
        if counts is None:
            return super().class_pixels_of(index)
        return torch.from_numpy(self.read_spec.partial_labels.count_as_background(counts))


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
        self.side, self._images = side, WindowImages(images, find_kept_pixels(images))
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
