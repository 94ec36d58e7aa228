"""Listing folders of images: in order, never in circles, and without a look at any one file."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pixelwise.errors import DataError

IMAGE_SUFFIXES = frozenset(
    [
        "apng",
        "avif",
        "bmp",
        "dib",
        "gif",
        "j2k",
        "jfif",
        "jp2",
        "jpe",
        "jpeg",
        "jpg",
        "jpx",
        "pbm",
        "pcx",
        "pgm",
        "png",
        "pnm",
        "ppm",
        "tga",
        "tif",
        "tiff",
        "webp",
    ]
)
"""Suffixes that an image or mask may have, in lower case and without the dot."""


_PASSED_OVER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "lost+found"})


Listing = dict[str, list[str]]
"""Folder, relative to the root with "/" between its parts ("" for the root) → names of its files, both in order."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that is an image by its name: where it lies (see `Listing`), its name, and its name without suffix."""

    folder: str
    name: str
    stem: str

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}" if self.folder else self.name


def list_files(root: Path, depth: int | None = None) -> Listing:
    """The files of a folder and of those below it, `depth` values down or all; hidden ones are passed over.

    Links to folders are followed, but no folder is listed twice. Pipes and dangling links count as files: who opens
    one says what is wrong with it. Raises DataError, which names it, for a folder that cannot be read.
    """
    found: Listing = {}
    real_root = os.path.realpath(root)
    seen = set()
    # A folder keeps its own name before a link to it is followed, so links wait until the rest is done.
    waiting, links = [("", real_root)], list[tuple[str, str]]()
    while waiting or links:
        folder, real = (waiting or links).pop()
        if real in seen or (real != real_root and _holds(real, real_root)):
            continue
        seen.add(real)
        found[folder], folders = _list_one(root / folder)
        if (depth is not None and folder and folder.count("/") + 1 >= depth) or depth == 0:
            continue
        for name, linked in folders:
            below = f"{folder}/{name}" if folder else name
            if linked:
                links.append((below, os.path.realpath(root / below)))
            else:
                waiting.append((below, f"{real}{os.sep}{name}"))
        links.sort(reverse=True)
    return dict(sorted(found.items()))


def _holds(folder: str, other: str) -> bool:
    return other.startswith(folder.rstrip(os.sep) + os.sep)


def _list_one(folder: Path) -> tuple[list[str], list[tuple[str, bool]]]:
    """The names of a folder's files, and of its folders with whether they are links."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in _PASSED_OVER:
                    continue
                if _is_folder(entry):
                    folders.append((entry.name, entry.is_symlink()))
                else:
                    files.append(entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: this folder cannot be read ({(error.strerror or str(error)).lower()}); "
            "change its permissions or move it away"
        ) from None
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_folder(path: Path) -> bool:
    """Whether it is a folder on this machine; False also where that cannot be found out."""
    # A UPath of another protocol is no pathlib.Path: what is read by os.scandir is not for it.
    try:
        return isinstance(path, Path) and path.is_dir()
    except OSError:
        return False


def list_folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order; see `list_files`."""
    return [name for name, _ in _list_one(folder)[1]]


def list_images(listing: Listing) -> Iterator[ImageFile]:
    """The files that are images by their suffix, in order."""
    for folder, names in listing.items():
        for name in names:
            stem, dot, suffix = name.rpartition(".")
            if dot and stem and suffix.lower() in IMAGE_SUFFIXES:
                yield ImageFile(folder, name, stem)


def read_text(path: Path) -> str:
    """A small text file; DataError, which names it, where it cannot be read or is no text."""
    if not path.is_file():  # reading a named pipe would wait for ever
        raise DataError(f"{path}: cannot be read (not a file); replace or remove it")
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    except UnicodeError:
        raise DataError(f"{path}: cannot be read (not UTF-8 text); save it as UTF-8 or remove it") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without empty ones and comments (#); see `read_text`."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def shown(names: Iterable[object], most: int = 3) -> str:
    """Some names for a message.

    >>> shown(["a", "b", "c", "d"])
    'a, b, c …'
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (" …" if len(texts) > most else "")
