"""Safe file output: atomic writes, unused file names, file locks, and conversion of write errors to messages."""

import errno
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import platformdirs

from pixelwise.errors import OutputError, PixelwiseError

_PREFIX = ".pixelwise-"
"""Start of the name of temporary directories. 12 hexadecimal digits follow."""

_TEMPORARY = re.compile(re.escape(_PREFIX) + "[0-9a-f]{12}")

_MAX_AGE_SECONDS = 86_400
"""Age at which a temporary directory counts as abandoned if the file system has no locks."""

FREE_SPACE = "free space, then try again"
"""The fix in the message about a full disk."""

FULL_DISK_ERRORS = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
"""`errno` values of a full disk, an exhausted quota, and an exceeded limit of the file size."""

_LITTLE_SPACE = 1 << 20
"""Free space in bytes below which the disk counts as full, for errors without an `errno`."""


@contextmanager
def atomic_write(out: Path) -> Iterator[Path]:
    """Yield a temporary path. Rename it to `out` if the block succeeds, otherwise remove it.

    The temporary path is in a temporary directory beside `out`. It has the same file name, because Pillow and
    matplotlib choose the format by the suffix. Missing parent directories are made.

    Raises:
        OutputError: A parent directory cannot be made, the disk is full, or the file cannot be written.

    >>> with atomic_write(Path("notes.txt")) as path:  # doctest: +SKIP
    ...     path.write_text("complete or absent")
    """
    with write_errors(out):
        _make_parent(out)
        with _temporary_directory(out.parent) as folder:
            yield folder / out.name
            (folder / out.name).replace(out)


@contextmanager
def atomic_directory(out: Path, replace: bool = False) -> Iterator[Path]:
    """Yield a new directory. Rename it to `out` if the block succeeds, otherwise remove it.

    The new directory is in a temporary directory beside `out`. Missing parent directories are made. Temporary
    directories of killed processes are removed from the parent directory.

    Args:
        out: the directory to make.
        replace: True to replace an existing directory `out`. If False, OSError is raised if `out` is not empty.

    Raises:
        OSError: The directory cannot be made or renamed.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(out.parent)
    with _temporary_directory(out.parent) as folder:
        building = folder / out.name
        building.mkdir()
        yield building
        if replace and out.exists():
            out.rename(folder / ".old")
        building.rename(out)
        _sync_directory(out.parent)


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
        if is_missing or not (Path(name) in (path, *path.parents) or _PREFIX in name):
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


def is_temporary(path: Path) -> bool:
    """Return True if a path has the name of a temporary directory of this module."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary directories of killed processes from a folder.

    `atomic_write` and `atomic_directory` make these directories, and hold a lock on them until they are removed.
    Without locks (Windows, some network drives), directories older than one day are removed.

    Args:
        folder: the folder. Nothing is done if it is missing.
    """
    try:
        found = [path for path in folder.iterdir() if is_temporary(path)]
    except OSError:
        return
    for path in found:
        with suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    lock, is_free = _lock_directory(path, exclusive=True)
    try:
        if is_free or (is_free is None and time.time() - path.stat().st_mtime > _MAX_AGE_SECONDS):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def _temporary_directory(parent: Path) -> Iterator[Path]:
    """Yield a new directory with a lock on it. After the block, it is removed and unlocked."""
    lock: int | None = None
    is_kept = False
    while not is_kept:  # `remove_abandoned` of another process can remove it before it is locked
        folder = parent / f"{_PREFIX}{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        with suppress(FileNotFoundError):
            lock, is_free = _lock_directory(folder)
            is_kept = is_free is not False and folder.exists()
        if lock is not None and not is_kept:
            os.close(lock)
    try:
        yield folder
    finally:
        try:
            folder.rmdir()  # quicker than rmtree; works if the block succeeded
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock_directory(path: Path, exclusive: bool = False) -> tuple[int | None, bool | None]:
    """Open and lock a directory, without waiting for other locks.

    Returns:
        (file descriptor, is locked). `is locked` is False if another process holds a lock, and None if there are no
        locks. The descriptor is None on Windows.
    """
    if sys.platform == "win32":  # a directory cannot be opened
        return None, None
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return descriptor, False
    except OSError:
        return descriptor, None
    return descriptor, True


def _make_parent(out: Path) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error, out.parent):
            raise
        raise OutputError(f"{out.parent}: cannot be made ({error.strerror}); choose another directory") from None


def _sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power failure."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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


def remove_directory(path: Path) -> bool:
    """Remove a directory whole or not at all.

    It first gets the name of a temporary directory. Windows refuses this if a process has opened a file in the
    directory. If this process is killed during the removal, `remove_abandoned` removes the rest.

    Returns:
        True if the directory was removed or renamed.
    """
    doomed = path.with_name(f"{_PREFIX}{uuid.uuid4().hex[:12]}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True
