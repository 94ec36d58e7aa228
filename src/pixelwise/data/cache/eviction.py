"""Eviction of the least recently used entries of the image cache."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from pixelwise.runtime.files import BUILDING, lock_file

MAX_CACHE_BYTES = 50 * 2**30
"""Maximum size of the cache in bytes."""


MAX_DISK_FRACTION = 0.2
"""Maximum size of the cache as a fraction of the disk."""


def evict_lru(root: Path, max_bytes: int | None = None) -> None:
    """Remove the entries that were used longest ago, and unfinished entries of killed processes.

    Entries in use are kept.

    Args:
        root: the cache folder.
        max_bytes: maximum size of the entries left, in bytes. By default, MAX_CACHE_BYTES or MAX_DISK_FRACTION of the
            disk, whichever is less.
    """
    if max_bytes is None:
        max_bytes = min(MAX_CACHE_BYTES, int(shutil.disk_usage(root).total * MAX_DISK_FRACTION))
    entries = []
    for folder in root.iterdir():
        if BUILDING in folder.name:
            _remove_unused(root / folder.name.partition(BUILDING)[0], remove_unfinished)
        elif folder.is_dir():
            with suppress(OSError):
                entries.append(((folder / "header.json").stat().st_mtime, _size_bytes(folder), folder))
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= max_bytes:
            break
        if _remove_unused(folder, partial(shutil.rmtree, ignore_errors=True)):
            total -= size


def _remove_unused(folder: Path, remove: Callable[[Path], None]) -> bool:
    """Call `remove` with an entry's folder under its lock. Return False if another process builds or reads it."""
    header = folder / "header.json"
    with suppress(Timeout, OSError), FileLock(folder.with_name(folder.name + ".lock"), timeout=0):
        if not header.exists():
            remove(folder)
            return True
        if (lock := lock_file(header, exclusive=True)) is not None:
            with lock:
                remove(folder)
            return True
    return False


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of an entry. The caller must hold the entry's lock."""
    for path in folder.parent.glob(f"{folder.name}{BUILDING}*"):
        shutil.rmtree(path, ignore_errors=True)
