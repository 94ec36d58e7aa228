"""Find the images among files and directories, and report files that are left out."""

import stat
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES, Listing, abbreviate, list_files, list_images
from pixelwise.data.formats._unknown_layout import UNREADABLE, suffix_of
from pixelwise.errors import DataError


@dataclass(frozen=True)
class FoundImages:
    """Result of `find_images`.

    Attributes:
        images: for each image, (its path, its name for output files). The name is the path relative to the source,
            without suffix. Names are not unique.
        problems: the errors of all sources. There is one for each folder that cannot be read, for each suffix of files
            that can contain images but are not supported (such as raw photos and archives), and for each named pipe,
            socket or dangling link without the suffix of an image.
        notes: one line for each source that has other files, such as tables.
    """

    images: tuple[tuple[Path, Path], ...]
    problems: tuple[DataError, ...]
    notes: tuple[str, ...]


def find_images(sources: Sequence[str | Path]) -> FoundImages:
    """Find the image files among files and directories.

    A directory is searched at any depth for files with the suffixes that training reads. A source that is a file is
    used with any suffix.

    Args:
        sources: files and directories.

    Raises:
        DataError: A source is missing, or a directory has no image.
    """
    images: list[tuple[Path, Path]] = []
    problems: list[DataError] = []
    notes: list[str] = []
    for source in map(Path, sources):
        if source.is_dir():
            found = _search(source)
            images += found.images
            problems += found.problems
            notes += found.notes
        elif source.exists():
            images.append((source, Path(source.name).with_suffix("")))
        else:
            raise DataError(f"{source}: no such file or directory")
    return FoundImages(tuple(images), tuple(problems), tuple(notes))


def _search(source: Path) -> FoundImages:
    problems: list[DataError] = []
    listing = list_files(source, on_error=problems.append)
    inside = sorted(source / file.folder / file.name for file in list_images(listing))
    others, special = _other_files(source, listing)
    problems += special
    if not inside:
        suffixes = ", ".join(f".{suffix}" for suffix in sorted(IMAGE_SUFFIXES))
        raise problems[0] if problems else DataError(f"{source}: no images in this directory ({suffixes})")
    notes = []
    if others:
        count = sum(others.values())
        kinds = abbreviate(f".{suffix}" if suffix else "no suffix" for suffix, _ in others.most_common())
        notes.append(f"{source}: {count} {'file is no image' if count == 1 else 'files are no images'} ({kinds})")
    images = tuple((path, path.relative_to(source).with_suffix("")) for path in inside)
    return FoundImages(images, tuple(problems), tuple(notes))


def _other_files(source: Path, listing: Listing) -> tuple[Counter[str], list[DataError]]:
    """Return (suffix → number of files that are not images, errors). For the errors see `FoundImages.problems`."""
    others: Counter[str] = Counter()
    unread: dict[str, list[str]] = defaultdict(list)
    problems = []
    images = {(file.folder, file.name) for file in list_images(listing)}
    for folder, names in listing.items():
        for name in names:
            if (folder, name) in images:
                continue
            path = source / folder / name
            suffix = suffix_of(name)
            if fault := _special_file(path):
                problems.append(DataError(f"{path}: {fault}; replace or remove it"))
            elif suffix in UNREADABLE:
                unread[suffix].append(str(path))
            else:
                others[suffix] += 1
    for suffix, paths in unread.items():
        files = f"{len(paths)} .{suffix} {'file' if len(paths) == 1 else 'files'} ({abbreviate(paths)})"
        problems.append(DataError(f"{source}: {files} cannot be read: {UNREADABLE[suffix]}"))
    return others, problems


def _special_file(path: Path) -> str:
    """Describe a path that is not a regular file. Return an empty string for a regular file."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing" if path.is_symlink() else "cannot be read"
    return "" if stat.S_ISREG(mode) else "not a file"
