"""Atomic writes of files and directories, by temporary directories beside them that are renamed when complete."""

import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock

from pixelwise.errors import OutputError
from pixelwise.runtime.files import TEMPORARY_PREFIX, is_disk_full, write_errors

_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + "[0-9a-f]{12}")

_MAX_AGE_SECONDS = 86_400
"""Age at which a temporary directory counts as abandoned if the file system has no locks."""

_shared: "_SharedDirectories | None" = None


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
        _make_directory(out.parent)
        with _temporary_path(out) if _shared is None else _shared.beside(out) as path:
            yield path
            path.replace(out)


@contextmanager
def make_directory(path: Path) -> Iterator[None]:
    """Make a directory and its missing parents. Remove those that were made and are empty if the block fails.

    Args:
        path: the directory. It may exist.

    Raises:
        OutputError: It cannot be made, or the disk is full.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        with write_errors(path):
            _make_directory(path)
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
        raise


def write_text(out: Path, text: str) -> None:
    """Write a UTF-8 file atomically, see `atomic_write`. Characters that UTF-8 lacks become escapes such as \\udce9.

    Args:
        out: the file. Missing parent directories are made.
        text: its content.

    Raises:
        OutputError: See `atomic_write`.
    """
    with atomic_write(out) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


@contextmanager
def share_temporary_directories() -> Iterator[None]:
    """Let `atomic_write` use one temporary directory per parent directory in the block, in all threads.

    Without it, each file has its own temporary directory. To make and remove a directory takes longer than to write a
    small file. Two threads must not write the same file at the same time. The directories are removed after the block.
    """
    global _shared
    before = _shared
    with ExitStack() as stack:
        _shared = _SharedDirectories(stack)
        try:
            yield
        finally:
            _shared = before


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
    with temporary_directory(out.parent) as folder:
        building = folder / out.name
        building.mkdir()
        yield building
        if _shared is not None:
            _shared.close(building)
        if replace and out.exists():
            out.rename(folder / ".old")
        building.rename(out)
        _sync_directory(out.parent)


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


def remove_directory(path: Path) -> bool:
    """Remove a directory whole or not at all.

    It first gets the name of a temporary directory. Windows refuses this if a process has opened a file in the
    directory. If this process is killed during the removal, `remove_abandoned` removes the rest.

    Returns:
        True if the directory was removed or renamed.
    """
    doomed = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}")
    try:
        path.rename(doomed)
    except OSError:
        return False
    shutil.rmtree(doomed, ignore_errors=True)
    return True


def _remove_if_abandoned(path: Path) -> None:
    lock, is_free = _lock_directory(path, exclusive=True)
    try:
        if is_free or (is_free is None and time.time() - path.stat().st_mtime > _MAX_AGE_SECONDS):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        if lock is not None:
            os.close(lock)


class _SharedDirectories:
    """The temporary directories of `share_temporary_directories`.

    Args:
        stack: removes the directories.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._folders: dict[Path, tuple[Path, ExitStack]] = {}
        self._lock = Lock()

    @contextmanager
    def beside(self, out: Path) -> Iterator[Path]:
        """Yield the temporary path of a file in the temporary directory of its parent. Remove it after an error."""
        with self._lock:
            folder, _ = self._folders.get(out.parent, (None, None))
            if folder is None or not folder.exists():  # somebody can have removed the parent and everything in it
                own = self._stack.enter_context(ExitStack())
                folder = own.enter_context(temporary_directory(out.parent))
                self._folders[out.parent] = folder, own
        try:
            yield folder / out.name
        except BaseException:
            with suppress(OSError):
                (folder / out.name).unlink()
            raise

    def close(self, root: Path) -> None:
        """Remove the temporary directories in a directory and below it, before the directory is renamed."""
        with self._lock:
            for parent in [parent for parent in self._folders if parent.is_relative_to(root)]:
                self._folders.pop(parent)[1].close()


@contextmanager
def _temporary_path(out: Path) -> Iterator[Path]:
    """Yield a path with the name of `out` in a new temporary directory beside it, which is removed afterwards."""
    with temporary_directory(out.parent) as folder:
        yield folder / out.name


@contextmanager
def temporary_directory(parent: Path) -> Iterator[Path]:
    """Yield a new directory in an existing one. It is locked, and removed after the block. See `remove_abandoned`.

    Raises:
        OSError: It cannot be made.
    """
    lock: int | None = None
    is_kept = False
    while not is_kept:  # `remove_abandoned` of another process can remove it before it is locked
        folder = parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
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


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if is_disk_full(error, path):
            raise
        raise OutputError(f"{path}: cannot be made ({error.strerror}); choose another directory") from None


def _sync_directory(path: Path) -> None:
    """Make renames in a directory survive a power failure."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
