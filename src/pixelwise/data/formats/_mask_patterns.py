"""Glob patterns that select mask files, and the question if several folders have masks of the same images."""

import glob
import shlex
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.errors import AmbiguousDataError

MAX_CHOICES = 6
"""Maximum number of patterns in an error message."""


def fits_pattern(file: ImageFile, pattern: str) -> bool:
    """Return True if the path of a file fits a glob pattern, in which "*" also stands for "/".

    Args:
        file: the file.
        pattern: the pattern. It can begin with "/", which stands for the data directory.

    >>> fits_pattern(ImageFile("1st_manual", "1.gif", "1"), "*/1st_manual/*")
    True
    """
    return fnmatchcase(str(file), pattern) or fnmatchcase(f"/{file}", pattern)


def find_pattern(files: Collection[ImageFile], others: Collection[ImageFile], label: str = "") -> str | None:
    """Find a short glob pattern that fits some files and no others.

    Args:
        files: the files to select.
        others: the files that the pattern must not fit.
        label: a text in the names of `files`, or "".

    Returns:
        A pattern such as "masks/a/*", "*/1st_manual/*" or "*_a.png", or None if no pattern of these forms fits.
    """
    for pattern in _possible_patterns(files, label):
        if all(fits_pattern(file, pattern) for file in files) and not any(
            fits_pattern(each, pattern) for each in others
        ):
            return pattern
    return None


def _possible_patterns(files: Collection[ImageFile], label: str) -> Iterable[str]:
    """Yield patterns of the forms that `find_pattern` tries. They need not fit."""
    folders = sorted({file.folder for file in files})
    if len(folders) == 1 and folders[0]:
        yield f"{glob.escape(folders[0])}/*"
    parts = [folder.split("/") for folder in folders]
    for part in reversed(parts[0] if parts else []):
        if part and all(part in each for each in parts):
            yield f"*/{glob.escape(part)}/*"
    if label:
        suffixes = {file.name.rpartition(".")[2] for file in files}
        text = glob.escape(label)
        yield f"*{text}.{glob.escape(suffixes.pop()) if len(suffixes) == 1 else '*'}"
        yield f"*/{text}*"
        yield f"*{text}*"


def find_patterns(groups: Mapping[str, Collection[ImageFile]], use_names: bool = False) -> list[str]:
    """Find a pattern for each of several groups of files that does not fit the files of the other groups.

    Args:
        groups: name → files.
        use_names: True if the name of a group is part of the names of its files.

    Returns:
        The patterns in the order of `groups`. Empty if a group has no pattern, or if there are fewer than two groups or
        more than `MAX_CHOICES`.
    """
    patterns = []
    for name, files in groups.items():
        others = [file for other, each in groups.items() if other != name for file in each]
        patterns.append(find_pattern(files, others, name if use_names else ""))
    found = [pattern for pattern in patterns if pattern is not None]
    return found if len(found) == len(groups) and 2 <= len(found) <= MAX_CHOICES else []


def advice(patterns: Iterable[str]) -> str:
    """Return the advice to choose one of several patterns: "set `mask_files` 'a/*' or 'b/*', or ".

    Args:
        patterns: the patterns. If there are none, the advice is "".
    """
    texts = [shlex.quote(pattern) for pattern in patterns]
    return f"set `mask_files` {' or '.join(texts)}, or " if texts else ""


def as_choices(patterns: Iterable[str]) -> list[dict[str, object]]:
    """Return the choices of an AmbiguousDataError for several patterns."""
    return [{"mask_files": pattern} for pattern in patterns]


def several_folders(folders: Mapping[str, Collection[ImageFile]], image: ImageFile) -> AmbiguousDataError:
    """Return the error for folders that all have masks of the same images, so that only one can be used.

    Args:
        folders: the path of each folder, in the order of the message → masks in it. At least two.
        image: an image that has a mask in each folder.
    """
    *others, last = [f"{folder}/" for folder in folders]
    patterns = find_patterns(folders)
    is_pair = len(others) == 1
    shown = f"both {others[0]} and {last}" if is_pair else f"{', '.join(others)} and {last}"
    fix = "move one of the folders away" if is_pair else "move all but one of the folders away"
    message = f"{shown} have masks of the same images ({image}); {advice(patterns)}{fix}"
    return AmbiguousDataError(message, as_choices(patterns))
