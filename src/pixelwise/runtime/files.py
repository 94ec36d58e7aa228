"""Paths of output files, file locks, and conversion of write errors to messages. For atomic writes see `atomic`."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

from pixelwise.errors import OutputError, PixelwiseError

TEMPORARY_PREFIX = ".pixelwise-"
"""Start of the name of the temporary directories of `pixelwise.runtime.atomic`. 12 hexadecimal digits follow."""

FREE_SPACE = "free space, then try again"
"""The fix in the message about a full disk."""

FULL_DISK_ERRORS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
"""`errno` values of a full disk, an exhausted quota, and an exceeded limit of the file size."""

_LITTLE_SPACE = 1 << 20
"""Free space in bytes below which the disk counts as full, for errors without an `errno`."""


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Convert an OSError from writing in the block to an OutputError with the path, the fault and the fix.

    An OSError about another file, such as one that the block reads, is raised unchanged.

    Args:
        path: the file or directory that is written.

    Raises:
        OutputError: The disk is full, or the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error, path):
            raise OutputError(f"{path}: no space left on device; {FREE_SPACE}") from None
        name = str(error.filename or path)
        is_missing = isinstance(error, FileNotFoundError) and path.parent.exists()  # the block did not write the file
        if is_missing or not (Path(name) in (path, *path.parents) or TEMPORARY_PREFIX in name):
            raise
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}); choose another path") from None


def is_disk_full(error: OSError, path: Path) -> bool:
    """Return True if a write error means that the disk is full, or that a quota or the file size limit is exceeded.

    Args:
        error: the error.
        path: the file that was written. For errors without an `errno`, as Pillow raises, the free space of its disk is
            checked.
    """
    if error.errno is not None:
        return error.errno in FULL_DISK_ERRORS
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < _LITTLE_SPACE
    return False


def expand_home(path: str | Path) -> Path:
    """Return a path with "~" at its start replaced by the home directory.

    Raises:
        PixelwiseError: There is no such user or no home directory.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise PixelwiseError(f"{path}: there is no such home directory; write the full path") from None


def user_cache_folder() -> Path:
    """Return the folder that the environment variable PIXELWISE_CACHE names, else the user's cache folder.

    Raises:
        PixelwiseError: The user has no home directory.
    """
    named = os.environ.get("PIXELWISE_CACHE")
    if named:
        return expand_home(named)
    try:
        folder = platformdirs.user_cache_path("pixelwise")
    except RuntimeError:
        folder = Path("~")
    if not folder.is_absolute():  # earlier versions of platformdirs return "~" as it is
        raise PixelwiseError("this user has no home directory; set the environment variable PIXELWISE_CACHE")
    return folder


def size_in_bytes(path: Path) -> int:
    """Return the size of a file, or of all files in a folder."""
    return (
        sum(each.stat().st_size for each in path.rglob("*") if each.is_file()) if path.is_dir() else path.stat().st_size
    )


def next_free_path(path: Path) -> Path:
    """Return the path itself if nothing exists there, otherwise the first free path of name-2, name-3, …"""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def lock_file(path: Path, exclusive: bool = False) -> BinaryIO | None:
    """Lock a file until the returned file object is closed.

    The function does not wait for other locks. On some network drives, it only opens the file, without a lock.

    Windows does not allow an open file to be replaced or removed. So an exclusive lock there is a lock on another file,
    `path` with the ending ".lock", which Windows removes when it is closed. A shared lock is the open file itself:
    while it is open, `remove_directory` does not remove its directory.

    Args:
        path: an existing file.
        exclusive: if True, no other process can hold a lock at the same time. If False, others can hold shared locks.

    Returns:
        The open file, or None if another process holds a lock that excludes this one.
    """
    if sys.platform == "win32" and exclusive:
        from pixelwise.runtime.windows import lock_beside

        return lock_beside(path)
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
