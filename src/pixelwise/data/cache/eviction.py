"""Making room in the cache of prepared images."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from pixelwise.runtime.files import lock_file

MAX_BYTES = 50 * 2**30


MAX_SHARE = 0.2
"""Entries beyond so many bytes, or this share of the disk, are removed: those that were used longest ago first."""


def evict_lru(root: Path, most: int | None = None) -> None:
    """Remove the entries that were used longest ago, until those left have `most` bytes; never one that is in use.

    Also what killed processes left. `most` is MAX_BYTES or MAX_SHARE of the disk, whichever is less.
    """
    if most is None:
        most = min(MAX_BYTES, int(shutil.disk_usage(root).total * MAX_SHARE))
    entries = []
    for folder in root.iterdir():
        if ".building-" in folder.name:
            _remove_unused(root / folder.name.partition(".building-")[0], remove_unfinished)
        elif folder.is_dir():
            with suppress(OSError):
                entries.append(((folder / "header.json").stat().st_mtime, _bytes_in(folder), folder))
    total = sum(size for _, size, _ in entries)
    for _, size, folder in sorted(entries):
        if total <= most:
            break
        if _remove_unused(folder, partial(shutil.rmtree, ignore_errors=True)):
            total -= size


def _remove_unused(folder: Path, remove: Callable[[Path], None]) -> bool:
    """Call `remove` with an entry's folder under its lock; False where another process builds or reads it."""
    header = folder / "header.json"
    with suppress(Timeout, OSError), FileLock(folder.with_name(folder.name + ".lock"), timeout=0):
        if not header.exists():
            remove(folder)
            return True
        if (held := lock_file(header, exclusive=True)) is not None:
            with held:
                remove(folder)
            return True
    return False


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left of this entry; the caller has its lock."""
    for left in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
