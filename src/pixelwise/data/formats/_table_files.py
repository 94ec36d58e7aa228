"""Reading of tables: CSV with any delimiter, TSV, JSON Lines and Parquet, local or remote."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES, check_is_file, read_bytes
from pixelwise.data.formats._json_lines import json_line_rows, sample_json_lines
from pixelwise.data.io.parquet import ImageCell, TableFile, holds_images, image_cells, open_parquet
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError, first_line

Value = str | ImageCell
"""The value of a cell: text ("" if it is empty), or an image cell of a Parquet file."""

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Suffixes of the files that `open_table` opens, in lower case."""

_SAMPLED_ROWS = 100
"""Number of first rows that are read to detect the columns with images."""

_HEAD_BYTES = 1 << 16
"""Number of first bytes of a text table that are read to detect its columns."""


@dataclass(frozen=True)
class Table:
    """A table whose columns are known and whose rows are not read yet.

    Attributes:
        file: the file.
        columns: the column names as they are in the file.
        image_columns: indices of the columns whose first rows contain images or names of image files.
        row_name: the word for a row in messages, "line" or "row".
        read_rows: function of column indices. It yields the number of each row and the row's cells in these columns.
        huggingface: True if Hugging Face's `datasets` wrote the file.
    """

    file: Path | RemoteFile
    columns: Sequence[str]
    image_columns: frozenset[int]
    row_name: str
    read_rows: Callable[[Sequence[int]], Iterator[tuple[int, list[Value]]]]
    huggingface: bool = False

    def locate(self, number: int) -> str:
        """Return the file and the number of a row, for messages."""
        return f"{self.file}, {self.row_name} {number}"


def names_image(text: str) -> bool:
    """Return True if the text of a cell can be the path or URL of an image.

    >>> names_image("masks/1.png"), names_image("https://a.b/c?id=7"), names_image("cat")
    (True, True, False)
    """
    return "://" in text or text.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def open_table(file: Path | RemoteFile, accept: Callable[[Sequence[str]], bool]) -> Table | None:
    """Open a table.

    Args:
        file: the file. Its suffix is one of `TABLE_SUFFIXES`.
        accept: function of the column names that returns True if the table can be used. The delimiter of a CSV file
            is the first one whose columns are accepted.

    Returns:
        The table. None if `accept` returns False for its columns.

    Raises:
        DataError: The file cannot be read.
    """
    name = file.name.lower()
    if name.endswith(".parquet"):
        return _open_parquet(file, accept)
    return _open_json_lines(file, accept) if name.endswith(".jsonl") else _open_text(file, accept)


def _open_json_lines(file: Path | RemoteFile, accept: Callable[[Sequence[str]], bool]) -> Table | None:
    read = _byte_reader(file)
    columns, sample = sample_json_lines(_decode(read(_HEAD_BYTES), "replace"))
    if not accept(columns):
        return None

    def read_rows(indices: Sequence[int]) -> Iterator[tuple[int, list[Value]]]:
        return json_line_rows(file, _decode_all(file, read(None)), columns, indices)

    images = {index for row in sample for index, name in enumerate(columns) if names_image(row.get(name, ""))}
    return Table(file, columns, frozenset(images), "line", read_rows)


def _open_text(file: Path | RemoteFile, accept: Callable[[Sequence[str]], bool]) -> Table | None:
    read = _byte_reader(file)
    head = _decode(read(_HEAD_BYTES), "replace")
    for delimiter in "\t" if file.name.lower().endswith(".tsv") else ",;\t|":
        sample = _first_rows(head, delimiter)
        if sample and accept(sample[0]):
            break
    else:
        return None

    def read_rows(columns: Sequence[int]) -> Iterator[tuple[int, list[Value]]]:
        return _text_rows(file, read(None), delimiter, columns)

    images = {column for row in sample[1:] for column, cell in enumerate(row) if names_image(cell.strip())}
    return Table(file, sample[0], frozenset(images), "line", read_rows)


def _byte_reader(file: Path | RemoteFile) -> Callable[[int | None], bytes]:
    """Return a function that reads at most N bytes of a file, or all for None. A remote file is fetched only once."""
    if isinstance(file, Path):
        return partial(read_bytes, file)
    try:
        content = file.read_bytes()
    except DataError as error:
        raise DataError(f"{file}: {error}") from None
    return lambda max_bytes: content[:max_bytes]


def _decode(content: bytes, errors: str = "strict") -> str:
    """Decode text in UTF-8 or in UTF-16, the encoding of Excel's "Unicode text"."""
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if utf16 else "utf-8-sig", errors)


def _decode_all(file: Path | RemoteFile, content: bytes) -> str:
    """Decode the whole content of a file. Raises DataError if it is not text."""
    try:
        return _decode(content)
    except UnicodeError:
        raise DataError(f"{file}: is not UTF-8 text; save it as UTF-8") from None


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    """Return the rows before the first damaged one, at most `_SAMPLED_ROWS`."""
    rows = []
    try:
        for _, row in islice(_parse_csv(text, delimiter), _SAMPLED_ROWS):
            rows.append(row)
    except csv.Error:
        pass
    return rows


def _parse_csv(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line number and the cells of each row that is not empty. Raise csv.Error(line, message)."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise csv.Error(line, str(error)) from None
        if any(map(str.strip, row)):
            yield line, row
        line = reader.line_num + 1


def _text_rows(
    file: Path | RemoteFile, content: bytes, delimiter: str, columns: Sequence[int]
) -> Iterator[tuple[int, list[Value]]]:
    rows = _parse_csv(_decode_all(file, content), delimiter)
    try:
        width = len(next(rows)[1])
        for line, row in rows:
            if len(row) != width:
                fix = "put quotes around a cell that contains the delimiter"
                raise DataError(f"{file}, line {line}: has {len(row)} cells, but the first line has {width}; {fix}")
            yield line, [row[column].strip() for column in columns]
    except csv.Error as error:
        line, fault = error.args
        raise DataError(f"{file}, line {line}: cannot be read as CSV ({fault}); fix its quotes") from None


def _open_parquet(file: Path | RemoteFile, accept: Callable[[Sequence[str]], bool]) -> Table | None:
    source = to_table_file(file)
    with wrap_errors(file):
        with open_parquet(source) as parquet:
            schema = parquet.schema_arrow
            if not accept(schema.names):
                return None
            texts = [i for i, field in enumerate(schema) if _is_text(field.type)]
            sample = next(parquet.iter_batches(_SAMPLED_ROWS, columns=[schema.names[i] for i in texts]), None)
        paths = [i for i in texts if sample and any(map(names_image, _to_texts(sample.column(schema.names[i]))))]
    image_types = {i: field.type for i, field in enumerate(schema) if holds_images(field.type)}

    def read_rows(columns: Sequence[int]) -> Iterator[tuple[int, list[Value]]]:
        with wrap_errors(file):
            text_columns = [schema.names[i] for i in columns if i not in image_types]
            with open_parquet(source) as parquet:
                table = parquet.read(columns=text_columns, use_threads=False)
            cells: list[Iterator[Value] | list[str]] = [
                image_cells(source, schema.names[i], image_types[i])
                if i in image_types
                else _to_texts(table.column(schema.names[i]))
                for i in columns
            ]
            for number, row in enumerate(zip(*cells, strict=True), 1):
                yield number, list(row)

    images = frozenset(paths) | frozenset(image_types)
    return Table(file, schema.names, images, "row", read_rows, huggingface=b"huggingface" in (schema.metadata or {}))


def to_table_file(
    file: Path | RemoteFile,
    kind: Literal["parquet", "arrow"] = "parquet",
    extra: Literal["parquet", "huggingface"] = "parquet",
) -> TableFile:
    """Return the `TableFile` of a Parquet or Arrow file.

    Args:
        file: the file.
        kind: its type.
        extra: the optional dependencies of pixelwise to name in the error message if pyarrow is missing.

    Raises:
        DataError: There is no such file, or pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        fix = f"pip install 'pixelwise[{extra}]'"
        raise DataError(f"{file}: reading {kind.capitalize()} files needs pyarrow; {fix}") from None
    if isinstance(file, RemoteFile):
        return TableFile(file.url, kind, 0, file.options)
    check_is_file(file, fix="replace it or copy the data set again")
    return TableFile(str(file), kind, file.stat().st_mtime_ns)


@contextmanager
def wrap_errors(file: object) -> Iterator[None]:
    """Convert any exception raised in the block to a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except Exception as error:  # pyarrow and the file systems of fsspec raise many types of exceptions
        raise DataError(f"{file}: cannot be read ({first_line(error)}); replace or remove it") from None


def _is_text(type: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(type):
        type = type.value_type
    return bool(types.is_string(type) or types.is_large_string(type))


def _to_texts(column: Any) -> list[str]:
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]
