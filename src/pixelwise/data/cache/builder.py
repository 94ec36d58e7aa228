"""Writes new entries of the image cache: decodes, resizes and counts the images and masks of records."""

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixelwise.data.cache.disk import check_free_space, free_space, open_new, stated_bytes
from pixelwise.data.cache.entry import CELLS_FILE, CacheHeader
from pixelwise.data.class_cells import ClassCells, find_cells
from pixelwise.data.input_size import to_pair
from pixelwise.data.io.image_size import READ_AHEAD_BYTES, decoded_bytes
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.record_parts import open_undecodable
from pixelwise.data.resize import ImageSize, Scale, resize_image, resize_mask, target_size
from pixelwise.data.scaled_windows import ScaledWindows
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.runtime.atomic import atomic_directory
from pixelwise.runtime.progress import Progress
from pixelwise.runtime.threads import batched, prefetch_map

_RECORDS_PER_TASK = 8
"""Number of records per task of a decoding thread. With 1 record per task, threads wait 10% of the time."""

_TASKS_AHEAD = 6
"""Maximum number of tasks that are computed ahead."""


def load_and_resize(record: Record, read_spec: ReadSpec, image_size: ImageSize) -> tuple[np.ndarray, np.ndarray]:
    """Read a record's image and mask and resize them.

    Args:
        record: a record with a mask.
        read_spec: the parameters for reading images and masks.
        image_size: the side of squares in pixels, a height and a width, or a scale.

    Returns:
        The image, (height, width, channels) uint8, and the mask, (height, width) uint8. A multi-label mask is
        (C, height, width). Height and width are those of `target_size`.

    Raises:
        DataError: A file cannot be used. The message names it.
    """
    windows = open_undecodable(record, read_spec)
    if windows is not None:
        with windows:
            scaled = ScaledWindows(windows, image_size)
            return scaled.read(*(range(side) for side in scaled.size))
    min_size = None if isinstance(image_size, Scale) else max(to_pair(image_size))
    image, mask = read_image_and_mask(record, read_spec, min_size)
    size = target_size(image_size, *mask.shape[-2:])
    if image.shape[:2] == mask.shape[-2:] == size:
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)
    resized = resize_image(image, size).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(resized), np.ascontiguousarray(resize_mask(mask, size).numpy())


class _Item(NamedTuple):
    image: np.ndarray
    mask: np.ndarray
    checksums: tuple[int, int]
    class_pixels: np.ndarray
    cells: dict[int, np.ndarray]


@dataclass
class _Written:
    """The result of writing items: checksums, fields of `CacheHeader`, and the result of `find_cells` for each item."""

    class_pixels: np.ndarray
    checksums: list[tuple[int, int]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    cells: list[dict[int, np.ndarray]] = field(default_factory=list)
    skipped: tuple[int, ...] = ()

    def add(self, item: _Item) -> None:
        """Add an item."""
        self.class_pixels += item.class_pixels
        self.checksums.append(item.checksums)
        self.sizes.append((item.image.shape[0], item.image.shape[1]))
        self.cells.append(item.cells)


class CacheBuilder:
    """Decodes records and writes an entry.

    Args:
        records: records with masks.
        read_spec: the parameters for reading images and masks.
        image_size: the size of the images and masks in pixels, or their scale. With a scale, items differ in size.
        progress: see `Progress`.
        skip_unreadable: leave out records that cannot be used instead of raising an error.
    """

    def __init__(
        self,
        records: Sequence[Record],
        read_spec: ReadSpec,
        image_size: ImageSize,
        progress: Progress,
        skip_unreadable: bool,
    ) -> None:
        self.records, self.read_spec, self.image_size = records, read_spec, image_size
        self.progress, self.skip_unreadable = progress, skip_unreadable

    def build(self, folder: Path) -> None:
        """Write the entry.

        Args:
            folder: the folder of the entry. An existing one is replaced.

        Raises:
            DataError: An image or mask cannot be used. With `skip_unreadable`: none of the records can be used.
            CacheUnavailableError: The entry needs more than half of the free disk space.
        """
        masks = self._class_count()
        with atomic_directory(folder, replace=True) as building:
            if isinstance(self.image_size, Scale):
                header, checksums = self._write_scaled(building, self.image_size, masks)
            else:
                header, checksums = self._write_equal(building, to_pair(self.image_size), masks)
            with open_new(building / "sums.bin", checksums.nbytes) as file:
                file.write(checksums.tobytes())
            header.write(building / "header.json")

    def _write_equal(self, building: Path, size: tuple[int, int], classes: int) -> tuple[CacheHeader, np.ndarray]:
        """Write items of the same size. Return the header and the (N, 2) uint32 checksums."""
        image_shape = (*size, self.read_spec.channels)
        mask_shape = self.read_spec.task.mask_shape(classes, *size)
        sizes = [len(self.records) * int(np.prod(shape)) for shape in (image_shape, mask_shape)]
        written = self._write_items(building, sizes, classes, sum(sizes))
        header = CacheHeader(
            len(written.checksums), image_shape, mask_shape, written.skipped, tuple(written.class_pixels.tolist())
        )
        return header, np.array(written.checksums, np.uint32)

    def _write_scaled(self, building: Path, scale: Scale, classes: int) -> tuple[CacheHeader, np.ndarray]:
        """Write items of different sizes and the places of their classes. Return the header and the checksums."""
        needed = stated_bytes(self.records, scale, self.read_spec.channels + max(classes, 1))
        written = self._write_items(building, [0, 0], classes, needed)
        cells = ClassCells.of(written.cells)
        content = io.BytesIO()
        np.savez(content, cells=cells.cells, starts=cells.starts)
        with open_new(building / CELLS_FILE, 0) as file:
            file.write(content.getvalue())
        header = CacheHeader(
            len(written.checksums),
            (self.read_spec.channels,),
            (classes,) if classes else (),
            written.skipped,
            tuple(written.class_pixels.tolist()),
            tuple(written.sizes),
            zlib.crc32(content.getvalue()),
        )
        return header, np.array(written.checksums, np.uint32)

    def _write_items(self, building: Path, sizes: Sequence[int], classes: int, needed: int) -> "_Written":
        """Write photos.bin and masks.bin.

        Args:
            building: the folder of the files.
            sizes: the sizes of the files in bytes, or 0 if they are not known.
            classes: see `_class_count`.
            needed: the part of the size of both files that is known, in bytes.
        """
        used, free = 0, free_space(building)
        check_free_space(building.parent, needed, free)
        skipped: list[tuple[int, DataError]] = []
        written = _Written(np.zeros(classes or 256, np.int64))
        count = len(self.records)
        with (
            open_new(building / "photos.bin", sizes[0]) as images,
            open_new(building / "masks.bin", sizes[1]) as masks,
        ):
            for index, item in enumerate(self.progress(self._items(), count)):
                if isinstance(item, DataError):
                    if not self.skip_unreadable:
                        raise item
                    skipped.append((index, item))
                    continue
                used += item.image.nbytes + item.mask.nbytes
                if used > free / 2:  # the size of the whole entry is estimated from that of the items so far
                    check_free_space(building.parent, used * count // (index + 1), free)
                images.write(item.image)
                masks.write(item.mask)
                written.add(item)
        if skipped and not written.checksums:
            raise DataError(f"none of the {count} images can be used; the first: {skipped[0][1]}")
        return replace(written, skipped=tuple(index for index, _ in skipped))

    def _items(self) -> Iterator[_Item | DataError]:
        decode = partial(_decode_all, read_spec=self.read_spec, image_size=self.image_size)
        if not isinstance(self.image_size, Scale):
            groups = batched(self.records, _RECORDS_PER_TASK)
            return chain.from_iterable(prefetch_map(decode, groups, _TASKS_AHEAD))
        # Images at their own size can be large, so fewer of them are in memory.
        cost = lambda records: decoded_bytes(records[0].image, self.read_spec.channels)  # noqa: E731
        return chain.from_iterable(prefetch_map(decode, batched(self.records, 1), _TASKS_AHEAD, cost, READ_AHEAD_BYTES))

    def _class_count(self) -> int:
        """Return the number of classes of multi-label masks, or 0 for other masks. Raise DataError if masks differ."""
        if self.read_spec.task is not MULTILABEL:
            return 0
        counts = {len(record.mask.channels) for record in self.records if isinstance(record.mask, MultilabelMask)}
        if len(counts) != 1:
            numbers = ", ".join(map(str, sorted(counts)))
            raise DataError(
                f"{self.records[0].image}: all images must have masks of the same classes, but they have {numbers}"
            )
        return counts.pop()


def _decode_all(records: Sequence[Record], read_spec: ReadSpec, image_size: ImageSize) -> list[_Item | DataError]:
    return [_decode(record, read_spec, image_size) for record in records]


def _decode(record: Record, read_spec: ReadSpec, image_size: ImageSize) -> _Item | DataError:
    """Return a record's pixels, checksums, class counts and class cells, or the error if it cannot be read."""
    try:
        image, mask = load_and_resize(record, read_spec, image_size)
    except DataError as error:
        return error
    checksums = (zlib.crc32(image.data), zlib.crc32(mask.data))
    cells = find_cells(mask) if isinstance(image_size, Scale) else {}
    return _Item(image, mask, checksums, read_spec.task.class_pixels(mask), cells)
