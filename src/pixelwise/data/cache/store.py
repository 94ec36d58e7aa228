"""The image cache: decode and resize images and masks once, and keep them as uint8 in memory-mapped files.

`pixelwise.data.cache.entry` describes the files.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from pixelwise.data.cache.builder import CacheBuilder, load_and_resize
from pixelwise.data.cache.entry import VERSION, CacheEntry
from pixelwise.data.cache.eviction import evict_lru
from pixelwise.data.cache.keys import cache_key
from pixelwise.data.resize import ImageSize
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.errors import CacheUnavailableError, DataError, PixelwiseError
from pixelwise.runtime.files import user_cache_folder
from pixelwise.runtime.progress import Progress, no_progress

__all__ = ["cache_folder", "get_or_build", "load_and_resize"]


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


def get_or_build(
    records: Sequence[Record],
    read_spec: ReadSpec,
    image_size: ImageSize,
    progress: Progress = no_progress,
    skip_unreadable: bool = False,
) -> tuple[CacheEntry, list[DataError]]:
    """Return the cache entry of a list of records. Build it if it is missing or damaged.

    If two processes need the same entry, one builds it and the other waits.

    Args:
        records: records with masks.
        read_spec: the parameters for reading images and masks.
        image_size: the size of the images and masks in pixels, or their scale. With a scale, items differ in size.
        progress: see `Progress`.
        skip_unreadable: leave out records that cannot be used instead of raising an error.

    Returns:
        The entry, and the errors of the records that were left out.

    Raises:
        DataError: An image or mask cannot be used. With `skip_unreadable`: none of the records can be used. No new
            entry is written.
        CacheUnavailableError: The cache cannot be written, or the entry needs more than half of the free disk space.
            With a scale, sizes that no header states are known only while the entry is written.
    """
    root = cache_folder()
    folder = root / cache_key(records, read_spec, image_size, VERSION, progress)
    entry = _open(folder)
    if entry is None:
        entry = _build_locked(folder, CacheBuilder(records, read_spec, image_size, progress, skip_unreadable))
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


def _error_of(record: Record, read_spec: ReadSpec, image_size: ImageSize) -> DataError:
    """Return the reason why the record was left out when the entry was built.

    The record is read again. The cache key contains hashes of its files, so they have the same content.
    """
    try:
        load_and_resize(record, read_spec, image_size)
    except DataError as error:
        return error
    return DataError(f"{record.image}: could not be read when the cache was built")


def _build_locked(folder: Path, builder: CacheBuilder) -> CacheEntry:
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
