"""Eviction of the least recently used entries of the image cache."""

import shutil
import sys
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pixelwise.runtime.atomic import is_temporary, remove_abandoned, remove_directory
from pixelwise.runtime.files import lock_file

MAX_CACHE_BYTES = 50 * 2**30
"""Maximum size of the cache in bytes."""


MAX_DISK_FRACTION = 0.2
"""Maximum size of the cache as a fraction of the disk."""


def evict_lru(root: Path, max_bytes: int | None = None) -> None:
    """Remove the least recently used entries, and unfinished entries of killed processes.

    Entries in use are kept, even if they exceed `max_bytes`.

    Args:
        root: the cache folder.
        max_bytes: maximum total size of the remaining entries, in bytes. The default is the smaller one of
            `MAX_CACHE_BYTES` and `MAX_DISK_FRACTION` of the disk.
    """
    if max_bytes is None:
        max_bytes = min(MAX_CACHE_BYTES, int(shutil.disk_usage(root).total * MAX_DISK_FRACTION))
    remove_abandoned(root)
    entries = []
    for folder in root.iterdir():
        if folder.is_dir() and not is_temporary(folder):
            with suppress(OSError):
                entries.append(((folder / "header.json").stat().st_mtime, _size_bytes(folder), folder))
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= max_bytes:
            break
        if _remove_unused(folder):
            total -= size


def _remove_unused(folder: Path) -> bool:
    """Lock an entry and remove it. Return False if another process builds or reads it, or on any OS error."""
    header = folder / "header.json"
    with suppress(Timeout, OSError), FileLock(folder.with_name(folder.name + ".lock"), timeout=0):
        if sys.platform == "win32":  # readers have opened the entry's files
            return remove_directory(folder)
        lock = lock_file(header, exclusive=True) if header.exists() else None
        if lock is None and header.exists():
            return False
        is_removed = remove_directory(folder)
        if lock is not None:
            lock.close()
        return is_removed
    return False


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
