"""The image cache: decode and resize images and masks once, and keep them as uint8 in memory-mapped files.

`pixelwise.data.cache.entry` describes the files.
"""

import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from filelock import FileLock

from pixelwise.data.cache.entry import VERSION, CacheEntry, CacheHeader, flush
from pixelwise.data.cache.eviction import evict_lru
from pixelwise.data.cache.keys import cache_key
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_image, resize_mask
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import CacheUnavailableError, DataError, PixelwiseError
from pixelwise.runtime.files import atomic_directory, user_cache_folder
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import batched, prefetch_map

_RECORDS_PER_TASK = 8
"""Number of records per task of a decoding thread. With 1 record per task, threads wait 10% of the time."""


def cache_folder() -> Path:
    """Return the folder of the cache entries.

    It is a subfolder of the folder that the environment variable PIXELWISE_CACHE names, or of the user's cache folder
    if the variable is not set.

    Raises:
        CacheUnavailableError: PIXELWISE_CACHE is not set and the user has no home directory.
    """
    try:
        return user_cache_folder() / "prepared"
    except PixelwiseError as error:
        raise CacheUnavailableError(str(error)) from None


def load_and_resize(record: Record, read_spec: ReadSpec, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Read a record's image and mask and resize them to squares.

    Args:
        record: a record with a mask.
        read_spec: the parameters for reading images and masks.
        image_size: side of the squares in pixels.

    Returns:
        The image, (image_size, image_size, channels) uint8, and the mask, (image_size, image_size) uint8. A multi-label
        mask is (C, image_size, image_size).

    Raises:
        DataError: A file cannot be used. The message names it.
    """
    image, mask = read_image_and_mask(record, read_spec, min_size=image_size)
    size = (image_size, image_size)
    resized = resize_image(image, size).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(resized), np.ascontiguousarray(resize_mask(mask, size).numpy())


def get_or_build(
    records: Sequence[Record],
    read_spec: ReadSpec,
    image_size: int,
    progress: Progress = no_progress,
    skip_unreadable: bool = False,
) -> tuple[CacheEntry, list[DataError]]:
    """Return the cache entry of a list of records. Build it if it is missing or damaged.

    If two processes need the same entry, one builds it and the other waits.

    Args:
        records: records with masks.
        read_spec: the parameters for reading images and masks.
        image_size: side of the images and masks in pixels.
        progress: see `Progress`.
        skip_unreadable: leave out records that cannot be used instead of raising an error.

    Returns:
        The entry, and the errors of the records that were left out.

    Raises:
        DataError: An image or mask cannot be used. With `skip_unreadable`: none of the records can be used. No new
            entry is written.
        CacheUnavailableError: The cache cannot be written, or the entry needs more than half of the free disk space.
    """
    root = cache_folder()
    folder = root / cache_key(records, read_spec, image_size, VERSION, progress)
    entry = _open(folder)
    if entry is None:
        entry = _build_locked(folder, _Builder(records, read_spec, image_size, progress, skip_unreadable))
    errors = [_error_of(records[index], read_spec, image_size) for index in entry.header.skipped]
    if errors and not skip_unreadable:
        raise errors[0]
    return entry, errors


def _open(folder: Path) -> CacheEntry | None:
    """Return the entry, or None if it is missing or damaged."""
    try:
        entry = CacheEntry(folder)
        if not entry.is_intact():
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with suppress(OSError):
        os.utime(folder / "header.json")  # the modification time is the time of the last use, see `evict_lru`
    return entry


def _error_of(record: Record, read_spec: ReadSpec, image_size: int) -> DataError:
    """Return the reason why the record was left out when the entry was built.

    The record is read again. The cache key contains hashes of its files, so they have the same content.
    """
    try:
        load_and_resize(record, read_spec, image_size)
    except DataError as error:
        return error
    return DataError(f"{record.image}: could not be read when the cache was built")


def _build_locked(folder: Path, builder: "_Builder") -> CacheEntry:
    """Build and return an entry. If another process builds it first, wait and return that entry."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            entry = _open(folder)
            if entry is None:
                builder.build(folder)
                entry = CacheEntry(folder)
    except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
        raise CacheUnavailableError(f"{folder.parent}: {getattr(error, 'strerror', None) or error}") from None
    evict_lru(folder.parent)
    return entry


class _Item(NamedTuple):
    image: np.ndarray
    mask: np.ndarray
    checksums: tuple[int, int]
    class_pixels: np.ndarray


class _Builder:
    """Decodes records and writes an entry. See `get_or_build` for the arguments."""

    def __init__(
        self,
        records: Sequence[Record],
        read_spec: ReadSpec,
        image_size: int,
        progress: Progress,
        skip_unreadable: bool,
    ) -> None:
        self.records, self.read_spec, self.image_size = records, read_spec, image_size
        self.progress, self.skip_unreadable = progress, skip_unreadable

    def build(self, folder: Path) -> None:
        image_shape = (self.image_size, self.image_size, self.read_spec.channels)
        mask_shape = self.read_spec.task.mask_shape(self._class_count(), self.image_size, self.image_size)
        image_bytes, mask_bytes = (len(self.records) * int(np.prod(shape)) for shape in (image_shape, mask_shape))
        _check_free_space(folder.parent, image_bytes + mask_bytes)
        with atomic_directory(folder, replace=True) as building:
            header, checksums = self._write_items(building, image_shape, mask_shape)
            with _open_new(building / "sums.bin", checksums.nbytes) as file:
                file.write(checksums.tobytes())
            header.write(building / "header.json")

    def _write_items(
        self, building: Path, image_shape: tuple[int, ...], mask_shape: tuple[int, ...]
    ) -> tuple[CacheHeader, np.ndarray]:
        """Write photos.bin and masks.bin. Return the header and the (N, 2) uint32 checksums."""
        checksums: list[tuple[int, int]] = []
        skipped: dict[int, DataError] = {}
        class_pixels = np.zeros(256 if self.read_spec.task is not MULTILABEL else mask_shape[0], np.int64)
        count = len(self.records)
        with (
            _open_new(building / "photos.bin", count * int(np.prod(image_shape))) as images,
            _open_new(building / "masks.bin", count * int(np.prod(mask_shape))) as masks,
        ):
            for index, item in enumerate(self.progress(self._items(), count)):
                if isinstance(item, DataError):
                    if not self.skip_unreadable:
                        raise item
                    skipped[index] = item
                    continue
                images.write(item.image)
                masks.write(item.mask)
                checksums.append(item.checksums)
                class_pixels += item.class_pixels
        if skipped and not checksums:
            first = next(iter(skipped.values()))
            raise DataError(f"none of the {count} images can be used; the first: {first}")
        header = CacheHeader(len(checksums), image_shape, mask_shape, tuple(skipped), tuple(class_pixels.tolist()))
        return header, np.array(checksums, np.uint32)

    def _items(self) -> Iterator[_Item | DataError]:
        groups = batched(self.records, _RECORDS_PER_TASK)
        decode = partial(_decode_all, read_spec=self.read_spec, image_size=self.image_size)
        return chain.from_iterable(prefetch_map(decode, groups, prefetch=6))

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


def _decode_all(records: Sequence[Record], read_spec: ReadSpec, image_size: int) -> list[_Item | DataError]:
    return [_decode(record, read_spec, image_size) for record in records]


def _decode(record: Record, read_spec: ReadSpec, image_size: int) -> _Item | DataError:
    """Return a record's pixels, checksums and class counts, or the error if it cannot be read."""
    try:
        image, mask = load_and_resize(record, read_spec, image_size)
    except DataError as error:
        return error
    checksums = (zlib.crc32(image.data), zlib.crc32(mask.data))
    return _Item(image, mask, checksums, read_spec.task.class_pixels(mask))


def _check_free_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free / 2:
        raise CacheUnavailableError(
            f"{folder}: the cache needs {_format_gib(needed)}, more than half of the {_format_gib(free)} that are free"
        )


@contextmanager
def _open_new(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a new file for writing at most `max_bytes`. Raise OSError if the disk has less space.

    The file is not written through a memory map, because a full disk would then kill the process.
    """
    with path.open("xb", buffering=1 << 20) as file:
        if max_bytes and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max_bytes)
        yield file
        file.truncate()
        flush(file)


def _format_gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
