"""Safe file output: atomic writes, file names that are free, and file locks."""

import errno
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import PixelwiseError

BUILDING = ".building-"
"""Part of the name of directories that `atomic_directory` has not finished."""


@contextmanager
def atomic_write(out: Path) -> Iterator[Path]:
    """Yield a temporary path beside `out`. Rename it to `out` if the block succeeds, otherwise remove it.

    The temporary name has the same suffix, from which Pillow and matplotlib choose the format. Missing parent
    directories are made.

    Raises:
        PixelwiseError: A parent directory cannot be made.

    >>> with atomic_write(Path("notes.txt")) as path:  # doctest: +SKIP
    ...     path.write_text("complete or absent")
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PixelwiseError(f"{out.parent}: cannot be made ({error.strerror}); choose another directory") from None
    # tempfile is not used: only the owner can read its files, and the rename would keep that.
    temporary = out.with_name(f".{out.stem}.{uuid.uuid4().hex[:12]}{out.suffix}")
    try:
        yield temporary
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(out: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a new directory beside `out`. Rename it to `out` if the block succeeds, otherwise remove it.

    Its name is that of `out`, `BUILDING` and a random suffix. Missing parent directories are made.

    Args:
        out: the directory to make.
        replace: if True, an existing directory `out` is replaced. If False, it raises OSError.

    Raises:
        OSError: The directory cannot be made or renamed.
    """
    building = out.with_name(f"{out.name}{BUILDING}{uuid.uuid4().hex[:12]}")
    previous = building.with_name(f"{building.name}-previous")
    try:
        building.mkdir(parents=True)
        yield building
        if replace and out.exists():
            out.rename(previous)
        building.rename(out)
        _sync_directory(out.parent)
    finally:
        for leftover in (building, previous):
            shutil.rmtree(leftover, ignore_errors=True)


def _sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power failure."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def next_free_path(path: Path) -> Path:
    """Return the path itself if nothing exists there, otherwise the first free path of name-2, name-3, …"""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def lock_file(path: Path, exclusive: bool = False) -> BinaryIO | None:
    """Lock a file until the returned file object is closed.

    There are no locks on Windows, where an open file cannot be removed, or on some network drives. The file is only
    opened there.

    Args:
        path: an existing file.
        exclusive: if True, no other process can hold a lock at the same time. If False, others can hold shared locks.

    Returns:
        The open file, or None if another process holds a lock that excludes this one.
    """
    file = path.open("rb")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                file.close()
                raise
    return file
