"""Records, reading photos and masks, and the data set that training draws from."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from pixelwise.data.transforms import Transform, resize_mask, resize_photo
from pixelwise.errors import DataError
from pixelwise.losses import pixel_weights

T = TypeVar("T")
Item = TypeVar("Item")

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Called with (items, how many there will be); gives the items back one by one, and may draw a bar meanwhile."""


def no_progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    """Draw nothing."""
    return items


@dataclass(frozen=True)
class Record:
    """One photo and where its mask is.

    `group` names what the photo belongs to (a breed, a video): splits are drawn evenly over groups.
    """

    image: Path
    mask: Path | None
    group: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set as found on disk: its classes and its records, no pixel read yet.

    `mask_values` maps what a mask file holds to class indices 0..C-1, or 255 for "ignore"; a value that is
    not among its keys is an error. `palette` has one (red, green, blue) in 0..255 a class.
    """

    root: Path
    format: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    mask_values: dict[int, int]
    train: tuple[Record, ...] = ()
    val: tuple[Record, ...] = ()
    test: tuple[Record, ...] = ()

    def records(self, split: Split) -> tuple[Record, ...]:
        """The records of one split; a split that is empty or unknown is an error that names those that are not."""
        records: tuple[Record, ...] = getattr(self, split) if split in SPLITS else ()
        if not records:
            present = ", ".join(name for name in SPLITS if getattr(self, name)) or "none"
            raise DataError(f"{self.root}: no '{split}' split; splits with photos: {present}")
        return records


def read_image(path: Path) -> np.ndarray:
    """Read a photo as HWC uint8 RGB with values in [0, 255], turned upright by its EXIF orientation.

    The content decides the decoder, not the suffix: Oxford-IIIT Pet has GIF and PNG files named .jpg.
    Raises DataError, which names the file, for one that is missing, truncated or no picture.
    """
    return np.array(_open(path, to_rgb))


def to_rgb(image: Image.Image) -> Image.Image:
    """A PIL image as upright RGB: 16 bits are scaled to 8, and transparent pixels are laid on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F"):
        raise DataError(f"pixels in mode {image.mode} have no known range; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips: all but the darkest 256 levels would become white.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def read_mask(path: Path, mask_values: dict[int, int]) -> np.ndarray:
    """Read a mask as HW uint8 class indices 0..C-1, with 255 for "ignore".

    This is the one place where what is on disk becomes a class index: `mask_values` maps the values in the
    file (a palette PNG's indices, a greyscale PNG's levels). A value it does not name raises DataError.
    """
    values = _open(path, _mask_levels)
    lookup = np.full(256, -1, np.int16)
    lookup[list(mask_values)] = list(mask_values.values())
    mask = lookup[values]
    if (mask < 0).any():
        bad = np.unique(values[mask < 0])
        shown = ", ".join(map(str, bad[:5])) + (" …" if len(bad) > 5 else "")
        raise DataError(
            f"{path}: mask value {shown} is outside the classes; expected only {', '.join(map(str, mask_values))}"
        )
    return mask.astype(np.uint8)


def _mask_levels(image: Image.Image) -> np.ndarray:
    if image.mode not in ("1", "L", "P"):
        raise DataError(f"a mask must be greyscale or palette with 8 bits, this one is {image.mode}")
    return np.array(image).astype(np.uint8)


def _open(path: Path, read: Callable[[Image.Image], T]) -> T:
    try:
        with Image.open(path) as image:
            return read(image)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not a picture that can be read; replace or remove it") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow reports a truncated or corrupt file by any of these.
        raise DataError(f"{path}: truncated or corrupt ({error}); replace or remove it") from None


def read_pair(record: Record, mask_values: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Read a record's photo (HWC uint8) and mask (HW uint8); both must be there and of one size."""
    if record.mask is None:
        raise DataError(f"{record.image}: has no mask; add one or take the photo out of the list")
    image, mask = read_image(record.image), read_mask(record.mask, mask_values)
    if image.shape[:2] != mask.shape:
        raise DataError(
            f"{record.image}: photo is {image.shape[1]}x{image.shape[0]} but its mask {record.mask} "
            f"is {mask.shape[1]}x{mask.shape[0]}; they must be of one size"
        )
    return image, mask


def read_ahead(read: Callable[[Item], T], items: Iterable[Item], ahead: int = 32) -> Iterator[T]:
    """Map `read` over items in order, in threads, at most `ahead` results in wait: memory stays bounded.

    Pillow and torch release the interpreter lock while they decode and resize, so threads do.

    >>> list(read_ahead(len, ["a", "bb"]))
    [1, 2]
    """
    with ThreadPoolExecutor() as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def in_groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order, the last one shorter.

    >>> list(in_groups("abc", 2))
    [['a', 'b'], ['c']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


class SegmentationDataset(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Photos and masks as uint8 tensors, prepared once and kept in memory, transformed each time they are drawn.

    An item is asked for by its index or by (index, seed); with a seed the random transform is drawn from it
    alone, so that an epoch is the same with any number of workers or processes, and after a resume.

    Args:
        records: what to read, each with a mask.
        mask_values: see `read_mask`.
        size: pixels; photos and masks are kept at size x size.
        transform: applied to (image, mask) when an item is drawn; None leaves them as prepared.
        class_weights: (C,) float; where given, items are (image, mask, weight).
        progress: see `Progress`.

    Items: image (3, size, size) uint8 RGB in [0, 255], mask (size, size) uint8 (255 = ignore) and, where asked,
    weight (size, size) float32, the class weight of each pixel (0 where ignored).
    """

    def __init__(
        self,
        records: Sequence[Record],
        mask_values: dict[int, int],
        size: int,
        transform: Transform | None = None,
        class_weights: Tensor | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.transform = transform
        self.class_weights = class_weights

        def prepare(record: Record) -> tuple[Tensor, Tensor]:
            image, mask = read_pair(record, mask_values)
            return resize_photo(image, (size, size)), resize_mask(mask, (size, size))

        self.items = list(progress(read_ahead(prepare, records), len(records)))

    def __len__(self) -> int:
        return len(self.items)

    def class_pixels(self, classes: int) -> Tensor:
        """How many pixels each class has in the prepared masks: (C,) int64, ignored pixels left out."""
        counts = torch.zeros(256, dtype=torch.int64)
        for _, mask in self.items:
            counts += torch.bincount(mask.flatten(), minlength=256)
        return counts[:classes]

    def __getitem__(self, draw: int | tuple[int, int]) -> tuple[Tensor, ...]:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[int | tuple[int, int]]) -> list[tuple[Tensor, ...]]:
        """The items of a batch: saving torch's random state takes longer than a flip, so it is done once for all."""
        if not all(isinstance(draw, tuple) for draw in draws):
            return [self._item(draw) if isinstance(draw, int) else self[draw] for draw in draws]
        with torch.random.fork_rng(devices=[]):
            return [self._item(*draw) for draw in draws if isinstance(draw, tuple)]

    def _item(self, index: int, seed: int | None = None) -> tuple[Tensor, ...]:
        if seed is not None:
            torch.manual_seed(seed)
        image, mask = self.items[index]
        if self.transform is not None:
            image, mask = self.transform(image, mask)
        if self.class_weights is None:
            return image, mask
        return image, mask, pixel_weights(mask, self.class_weights)
