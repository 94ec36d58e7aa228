"""split.csv: the part of a training that each image of the data set belongs to.

The columns are `file`, `part`, `group` and `bytes`. `part` is "train", "val" (used to choose the best epoch) or "test"
(not used). `group` and `bytes` are empty if an image has no group, or no file of its own on this machine.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelwise.data.index import DatasetIndex
from pixelwise.data.schema import SPLITS, BytesSource, Split
from pixelwise.errors import RunError, first_line
from pixelwise.runtime.atomic import atomic_write

SPLIT_FILE = "split.csv"

_COLUMNS = ("file", "part", "group", "bytes")

_ENCODING_ERRORS = "surrogateescape"
"""Error handler for file names that are not valid UTF-8. Python reads their bytes as surrogates."""


@dataclass(frozen=True)
class SplitRow:
    """One image in split.csv.

    Attributes:
        file: the image's name relative to the root of the data set, see `relative_name`.
        part: "train", "val" or "test".
        group: the image's group, or None.
        bytes: size of the image file in bytes, or None if the image has no file of its own on this machine.
    """

    file: str
    part: Split
    group: str | None = None
    bytes: int | None = None


def relative_name(image: BytesSource, root: Path | str) -> str:
    """Return the name of an image relative to the root of its data set, with "/" between folders.

    Args:
        image: the image file, shard member, table cell or remote file.
        root: the folder, file or URL of the data set. For a file, names are relative to its folder.

    Returns:
        The relative name. For an image outside the root, its absolute path or its URL.

    >>> relative_name(Path("data/pets/images/1.jpg"), Path("data/pets"))
    'images/1.jpg'
    """
    name, base = (_full_name(each).rstrip("/") for each in (image, root))
    parent, _, last = base.rpartition("/")
    for folder in (base, parent if "." in last else ""):  # a file has a suffix
        if folder and name.startswith(f"{folder}/"):
            return name[len(folder) + 1 :]
    return name


def data_roots(data: DatasetIndex) -> tuple[str, ...]:
    """Return the absolute path or the URL of a data set, or those of all data sets that were joined to one."""
    return tuple(_full_name(part.root) for part in (data.sets or (data,)))


def _full_name(source: BytesSource | str) -> str:
    return source.absolute().as_posix() if isinstance(source, Path) else str(source)


def split_rows(data: DatasetIndex) -> list[SplitRow]:
    """Return the rows of split.csv for a training.

    Args:
        data: the data set. Its val split has the images on which the best epoch is chosen.

    Returns:
        One row per record, in the order of the splits.
    """
    return [
        SplitRow(relative_name(record.image, data.root), part, record.group, file_bytes(record.image))
        for part in SPLITS
        for record in getattr(data, part)
    ]


def file_bytes(image: BytesSource) -> int | None:
    """Return the size of an image file in bytes, or None if it has no file of its own on this machine."""
    try:
        return image.stat().st_size if isinstance(image, Path) else None
    except OSError:
        return None


def write_split(folder: Path, rows: Iterable[SplitRow]) -> Path:
    """Write split.csv into a run directory.

    Args:
        folder: the run directory.
        rows: the rows.

    Returns:
        The path of the file.

    Raises:
        OutputError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow((row.file, row.part, row.group or "", "" if row.bytes is None else row.bytes))
    path = folder / SPLIT_FILE
    with atomic_write(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8", errors=_ENCODING_ERRORS, newline="")
    return path


def read_split(folder: Path) -> list[SplitRow] | None:
    """Read split.csv of a run directory.

    Args:
        folder: the run directory.

    Returns:
        The rows, or None if there is no such file. Runs of earlier versions have none.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / SPLIT_FILE
    try:
        with path.open(encoding="utf-8", errors=_ENCODING_ERRORS, newline="") as file:
            return [_parse(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({first_line(error)}); restore it from a copy, or remove it") from None


def _parse(row: Mapping[str, str | None]) -> SplitRow:
    file, part, group, size = (row.get(name) for name in _COLUMNS)
    if not file or part not in SPLITS:
        raise ValueError(f"a row has no `file`, or the `part` is not one of {', '.join(SPLITS)}")
    return SplitRow(file, part, group or None, int(size) if size else None)
