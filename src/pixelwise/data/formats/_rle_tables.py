"""Read CSV files of run lengths: detect the columns, split the rows, parse the cells."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from pixelwise.data.formats._filesystem import is_file, read_bytes, read_text
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import AnnotationError, DataError

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": ("imageid", "image_id", "id", "image", "img", "filename", "file_name", "image_name", "img_id"),
    "class": ("classid", "class_id", "class", "label", "category", "category_id", "class_name"),
    "image and class": ("imageid_classid", "image_id_class_id", "image_label", "image_class"),
    "runs": (
        "encodedpixels", "encoded_pixels", "rle", "rles", "rle_mask", "mask_rle", "run_lengths", "mask", "annotation",
        "segmentation",
    ),
}  # fmt: skip
"""Role of a column → possible column names, in lower case and with underscores for spaces and dashes."""

RLE_TABLE_SUFFIXES = (".csv", ".tsv")

_HEAD_BYTES = 1 << 16

_RUNS = re.compile(r"\d+\s+\d+(?:\s+\d+\s+\d+)*")

EMPTY_CELLS = ("", "-1", "nan", "none", "null", "[]")
"""Cells that mean "no object", in lower case."""


def is_rle_table(file: Path | RemoteFile) -> bool:
    """Return True for a local CSV or TSV file of run lengths, see `open_rle_table`."""
    return is_file(file) and file.name.lower().endswith(RLE_TABLE_SUFFIXES) and open_rle_table(file) is not None


@dataclass(frozen=True)
class RleTable:
    """A CSV file of run lengths. `read_rows` reads its rows.

    Attributes:
        path: the file.
        delimiter: the character between two cells.
        columns: role (see `COLUMNS`) → index of the column.
    """

    path: Path
    delimiter: str
    columns: dict[str, int]

    def read_rows(self) -> Iterator[tuple[int, str, str, str]]:
        """Yield (line number, image, class, run lengths) of each row. The class is "" if there is none.

        Raises:
            DataError: A row has more or fewer cells than the first line.
        """
        rows = _split_rows(read_text(self.path), self.delimiter)
        width = len(next(rows)[1])
        columns = self.columns
        for line, row in rows:
            if len(row) != width:
                raise DataError(
                    f"{self.path}, line {line}: has {len(row)} cells, but the first line has {width}; fix it"
                )
            if "image and class" in columns:
                image, _, name = row[columns["image and class"]].rpartition("_")
            else:
                image, name = row[columns["image"]], row[columns["class"]] if "class" in columns else ""
            # pandas writes the integers of a column with missing values as 1.0, 2.0, …
            yield line, image, re.sub(r"^(\d+)\.0$", r"\1", name), row[columns["runs"]]


def open_rle_table(path: Path) -> RleTable | None:
    """Open a CSV file of run lengths.

    Args:
        path: the file.

    Returns:
        The table. None if the file has no column of images or of run lengths, if its first non-empty cell of run
        lengths contains something else, or if a row before that cell is damaged.
    """
    if not is_file(path):
        return None
    text = read_bytes(path, _HEAD_BYTES).decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    for delimiter in ",;\t|":
        rows = [row for _, row in islice(_split_rows(text, delimiter), 1)]
        columns = _find_columns(rows[0]) if rows else {}
        if "runs" in columns and ("image" in columns or "image and class" in columns):
            break
    else:
        return None
    table = RleTable(path, delimiter, columns)
    try:
        cells = (runs for *_, runs in table.read_rows())
        first = next((cell for cell in cells if cell.casefold() not in EMPTY_CELLS), None)
    except DataError:
        return None  # the file can be a table of image files: the format "table" reports its damaged rows
    # If all cells are empty, the column name decides: the first seven names are not used for columns of mask files.
    is_certain = re.sub(r"[\s-]+", "_", rows[0][columns["runs"]].casefold()) in COLUMNS["runs"][:7]
    return table if (first is None and is_certain) or (first is not None and _RUNS.match(first)) else None


def _split_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the stripped cells of each line that is not empty.

    The module csv refuses cells of more than 131,072 characters, so it is used only for lines with quotes.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter)
        except csv.Error:
            row = line.replace('"', "").split(delimiter)
        yield number, [cell.strip() for cell in row]


def _find_columns(names: Sequence[str]) -> dict[str, int]:
    """Return role → index of the first column with a name of the role."""
    normalized = [re.sub(r"[\s-]+", "_", name.casefold()) for name in names]
    columns = {}
    for role, choices in COLUMNS.items():
        index = next((normalized.index(choice) for choice in choices if choice in normalized), None)
        if index is not None:
            columns[role] = index
    return columns


def parse_runs(text: str) -> np.ndarray:
    """Parse the run lengths of a cell.

    Args:
        text: "start length start length …". The first pixel of the image has the number 1.

    Returns:
        The runs, (N, 2) int32. The first pixel has the number 0, see `PixelRuns`.

    Raises:
        AnnotationError: The text does not have this form, or the runs are not in ascending order.

    >>> parse_runs("3 2 9 1").tolist()
    [[2, 2], [8, 1]]
    """
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise AnnotationError("run lengths must be numbers: start length start length …") from None
    if len(numbers) % 2:
        raise AnnotationError(
            f"run lengths must be pairs of a start and a length, but there are {len(numbers)} numbers"
        )
    runs = numbers.reshape(-1, 2)
    if runs.max() > MAX_PIXELS:
        raise AnnotationError(f"run lengths have numbers over {MAX_PIXELS:,}, the maximum number of pixels of an image")
    if runs[:, 0].min() < 1 or runs[:, 1].min() < 1:
        raise AnnotationError("run lengths must count pixels from 1, and lengths must be 1 or more")
    if (runs[1:, 0] < runs[:-1].sum(1)).any():
        raise AnnotationError("run lengths must be in ascending order, each start after the end of the previous run")
    return (runs - (1, 0)).astype(np.int32)
