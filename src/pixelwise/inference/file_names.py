"""Names of the output files of predictions. No two images or classes get the same file."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pixelwise.data.task import Task
from pixelwise.runtime.text_index import TextIndex

_MAX_NAME_BYTES = 255
"""Maximum length of a file name in bytes, in most file systems."""

_MAX_CLASS_BYTES = 100
"""Maximum length of a class name in a file name, in bytes."""


def mask_kinds(task: Task, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of mask files that predictions have: "mask", or "mask_CLASS" for each class if multi-label.

    Characters of a class name other than letters, digits, "-" and "." are replaced by "_", and long names are cut.
    Class names that are then equal get a number. Case is ignored in this comparison, because some file systems ignore
    it.

    Args:
        task: the task of the model.
        classes: class names in index order.

    Returns:
        The kinds, in the order of `Task.mask_names`.
    """
    kinds: dict[str, str] = {}
    for name in task.mask_names(classes):
        part = _cut("".join(c if c.isalnum() or c in "-." else "_" for c in name), _MAX_CLASS_BYTES)
        stem = "_".join(filter(None, ("mask", part)))
        kind, number = stem, 1
        while kind.casefold() in kinds:
            number += 1
            kind = f"{stem}-{number}"
        kinds[kind.casefold()] = kind
    return tuple(kinds.values())


def output_files(
    names: Iterable[Path], suffixes: Mapping[str, str], out: Path, folders: Mapping[str, str] = {}
) -> Iterator[dict[str, Path]]:
    """Yield the output files of each image by kind. No file appears twice.

    Args:
        names: relative path of each image without suffix, see `find_images`.
        suffixes: kind of output file → its suffix, for example {"mask": ".png", "overlay": ".jpg"}.
        out: the directory of the output files.
        folders: kind → folder below `out`, for the files whose name is that of the image: out/FOLDER/NAME.SUFFIX.

    Yields:
        {kind: out/NAME_KIND.SUFFIX} for each name. If an earlier image has one of these files (cat.jpg and cat.png),
        NAME gets a number (cat-2). A NAME that is too long for file systems is cut.
    """
    taken = TextIndex()
    endings = {kind: suffix if kind in folders else f"_{kind}{suffix}" for kind, suffix in suffixes.items()}
    longest = max((len(os.fsencode(ending)) for ending in endings.values()), default=0)
    for name in names:
        number = 1
        while True:
            number_text = "" if number == 1 else f"-{number}"
            stem = _cut(name.name, _MAX_NAME_BYTES - longest - len(number_text)) + number_text
            files = {
                kind: out / folders.get(kind, "") / name.with_name(f"{stem}{end}") for kind, end in endings.items()
            }
            keys = {str(file).casefold() for file in files.values()}
            if not any(key in taken for key in keys):
                break
            number += 1
        for key in keys:
            taken.add(key)
        yield files


def _cut(name: str, max_bytes: int) -> str:
    """Return the beginning of a name that has at most `max_bytes` bytes in the encoding of the file system."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= max_bytes else encoded[:max_bytes].decode(errors="ignore")
