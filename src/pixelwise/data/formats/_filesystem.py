"""Recursive listing of image folders in sorted order, without following link cycles, and reading of single files."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from pixelwise.data.io.image_formats import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError

_SYSTEM_FILES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found"})

_HEAD_BYTES = 1 << 16

_Scan = tuple[list[str], list[tuple[str, bool]]]
"""The content of a folder: file names, and pairs (subfolder name, True if it is a link)."""

_scans: ContextVar[dict[Path, _Scan] | None] = ContextVar("_scans", default=None)
"""Folder → its content, in a block of `shared_scans`. None outside of such a block."""

Listing = dict[str, list[str]]
"""Folder → names of its files, both sorted. The key is the path relative to the root, with "/"; the root is ""."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file with the suffix of an image.

    Attributes:
        folder: see `Listing`.
        name: the file name with suffix.
        stem: the file name without suffix.
    """

    folder: str
    name: str
    stem: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


def list_files(root: Path, depth: int | None = None, on_error: Callable[[DataError], None] | None = None) -> Listing:
    """List the files of a folder and of its subfolders, without hidden and system files.

    Links to folders are followed, except a link to a folder that contains the root. No folder is listed twice. Named
    pipes and dangling links are listed as files. Opening one of them raises an error.

    Args:
        root: a local folder.
        depth: maximum depth of the subfolders. 0 lists only the root, None lists all.
        on_error: called for each folder that cannot be read, which is then left out. None raises its error.

    Returns:
        The file names of each folder, see `Listing`.

    Raises:
        DataError: A folder cannot be read, and `on_error` is None. The message names it.
    """
    listing: Listing = {}
    real_root = os.path.realpath(root)
    visited = set()
    # Links are followed after all real folders. So a folder that is also inside the root is listed by its real path.
    pending, links = [("", real_root)], list[tuple[str, str]]()
    while pending or links:
        folder, real = (pending or links).pop()
        if real in visited or (real != real_root and _contains(real, real_root)):
            continue
        visited.add(real)
        try:
            listing[folder], subfolders = _scan_folder(root / folder)
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        if (depth is not None and folder and folder.count("/") + 1 >= depth) or depth == 0:
            continue
        for name, is_link in subfolders:
            path = f"{folder}/{name}" if folder else name
            if is_link:
                links.append((path, os.path.realpath(root / path)))
            else:
                pending.append((path, f"{real}{os.sep}{name}"))
        links.sort(reverse=True)
    return dict(sorted(listing.items()))


def _contains(folder: str, path: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


@contextmanager
def shared_scans() -> Iterator[None]:
    """Read each folder only once in the block, however often `list_files` lists it.

    The detection of a format lists the same folders for each format.
    """
    token = _scans.set({})
    try:
        yield
    finally:
        _scans.reset(token)


def _scan_folder(folder: Path) -> tuple[list[str], list[tuple[str, bool]]]:
    """Return the sorted file names, and sorted pairs (subfolder name, True if it is a link)."""
    scans = _scans.get()
    if scans is None:
        return _read_folder(folder)
    files, subfolders = scans.get(folder) or scans.setdefault(folder, _read_folder(folder))
    return list(files), list(subfolders)


def _read_folder(folder: Path) -> _Scan:
    files, subfolders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
                    continue
                if _is_folder_entry(entry):
                    subfolders.append((entry.name, entry.is_symlink()))
                else:
                    files.append(entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: this folder cannot be read ({(error.strerror or str(error)).lower()}); "
            "change its permissions or move it away"
        ) from None
    return sorted(files), sorted(subfolders)


def _is_folder_entry(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_folder(path: Path | RemoteFile) -> TypeGuard[Path]:
    """Return True if the path is a local folder. Return False for a remote path and on any OS error."""
    try:
        return isinstance(path, Path) and path.is_dir()
    except OSError:
        return False


def is_file(path: Path | RemoteFile) -> TypeGuard[Path]:
    """Return True if the path is a local file. Return False for a remote path and on any OS error."""
    try:
        return isinstance(path, Path) and path.is_file()
    except OSError:
        return False


def list_folders(folder: Path) -> list[str]:
    """Return the sorted names of the subfolders of a folder. Raises DataError if it cannot be read."""
    return [name for name, _ in _scan_folder(folder)[1]]


def list_images(listing: Listing) -> Iterator[ImageFile]:
    """Yield the files of a listing that have the suffix of an image, in order."""
    for folder, names in listing.items():
        for name in names:
            stem, dot, suffix = name.rpartition(".")
            if dot and stem and suffix.lower() in IMAGE_SUFFIXES:
                yield ImageFile(folder, name, stem)


def filter_files(listing: Listing, keep: Callable[[str, str], bool]) -> Listing:
    """Filter the files of a listing.

    Args:
        listing: the listing.
        keep: a function (folder, file name) that returns True for files to keep.

    Returns:
        A new listing. Folders without files stay in it.
    """
    return {folder: [name for name in names if keep(folder, name)] for folder, names in listing.items()}


def check_is_file(path: Path, fix: str = "replace or remove it") -> None:
    """Raise DataError if a path is not a file. Reading a named pipe would block forever.

    Args:
        path: the local path.
        fix: the advice at the end of the error message.
    """
    if not path.is_file():
        fault = "not a file" if path.exists() else "no such file"
        raise DataError(f"{path}: cannot be read ({fault}); {fix}")


def file_starts_with(path: Path, pattern: str) -> bool:
    """Return True if the start of a file matches a pattern.

    Args:
        path: the file.
        pattern: a regular expression for `re.match` with `re.DOTALL`. It is applied to the first 64 KiB as UTF-8 text.

    Returns:
        False if the text does not match or the file cannot be read.
    """
    try:
        if not is_file(path):
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return False
    return re.match(pattern, head.decode("utf-8", "replace"), re.DOTALL) is not None


def read_bytes(path: Path, max_bytes: int | None = None) -> bytes:
    """Read a local file.

    Args:
        path: the file.
        max_bytes: maximum number of bytes to read from the start. None reads the whole file.

    Returns:
        The bytes.

    Raises:
        DataError: The file cannot be read. The message names it.
    """
    check_is_file(path)
    try:
        with path.open("rb") as file:
            return file.read(max_bytes)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None


def read_text(path: Path) -> str:
    """Read a text file and convert line ends to line feeds. Raises DataError if it cannot be read or is not UTF-8."""
    try:
        return read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeError:
        raise DataError(f"{path}: cannot be read (not UTF-8 text); save it as UTF-8 or remove it") from None


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file and strip them. Empty lines and lines that start with "#" are left out."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def abbreviate(names: Iterable[object], max_count: int = 3) -> str:
    """Join the first names for a message.

    Args:
        names: the names.
        max_count: maximum number of names in the text.

    Returns:
        The names with commas between them, and " …" at the end if some are left out.

    >>> abbreviate(["a", "b", "c", "d"])
    'a, b, c …'
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:max_count]) + (" …" if len(texts) > max_count else "")
