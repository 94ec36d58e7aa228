"""Reading tables of images: CSV with any delimiter, TSV, Parquet; here or behind a URL."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES
from pixelwise.data.io.parquet import ImageCell, TableFile, holds_images, image_cells, open_parquet
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError, first_line

Value = str | ImageCell
"""A cell: text, "" where it is empty, or what may be an image."""


SUFFIXES = (".csv", ".tsv", ".parquet")


_LOOKED_AT = 100
"""So many rows say whether a column holds images."""


_HEAD = 1 << 16
"""So many bytes of a text table say which columns it has."""


@dataclass(frozen=True)
class Table:
    """A table before it is read.

    Attributes:
        file: where it is.
        columns: their names as they stand there.
        with_images: which columns hold images, or names of image files, by what the first rows hold.
        row: what its rows are called: "line" or "row".
        rows: of some columns, the number of each row and its cells.
        huggingface: whether Hugging Face's `datasets` wrote it.
    """

    file: Path | RemoteFile
    columns: Sequence[str]
    with_images: frozenset[int]
    row: str
    rows: Callable[[Sequence[int]], Iterator[tuple[int, list[Value]]]]
    huggingface: bool = False

    def where(self, number: int) -> str:
        """A row, for messages."""
        return f"{self.file}, {self.row} {number}"


def names_image(cell: str) -> bool:
    """Whether a cell's text may be an image's path or URL.

    >>> names_image("masks/1.png"), names_image("https://a.b/c?id=7"), names_image("cat")
    (True, True, False)
    """
    return "://" in cell or cell.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def open_table(file: Path | RemoteFile, wanted: Callable[[Sequence[str]], bool]) -> Table | None:
    """A table whose columns are `wanted`; None where no way to read the file gives such columns.

    Raises DataError where it cannot be read at all.
    """
    return _open_parquet(file, wanted) if file.name.lower().endswith(".parquet") else _open_text(file, wanted)


def _open_text(file: Path | RemoteFile, wanted: Callable[[Sequence[str]], bool]) -> Table | None:
    fetched = _fetched(file) if isinstance(file, RemoteFile) else None
    start = _decoded(_content(file, _HEAD) if fetched is None else fetched[:_HEAD], "replace")
    for delimiter in "\t" if file.name.lower().endswith(".tsv") else ",;\t|":
        head = _first_rows(start, delimiter)
        if head and wanted(head[0]):
            break
    else:
        return None

    def rows(columns: Sequence[int]) -> Iterator[tuple[int, list[Value]]]:
        return _text_rows(file, _content(file) if fetched is None else fetched, delimiter, columns)

    images = {column for row in head[1:] for column, cell in enumerate(row) if names_image(cell.strip())}
    return Table(file, head[0], frozenset(images), "line", rows)


def _fetched(file: RemoteFile) -> bytes:
    try:
        return file.read_bytes()
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _content(file: Path | RemoteFile, most: int = -1) -> bytes:
    assert isinstance(file, Path)
    if not file.is_file():  # reading a named pipe would wait for ever
        raise DataError(f"{file}: cannot be read (not a file); replace or remove it")
    try:
        with file.open("rb") as opened:
            return opened.read(most)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({(error.strerror or str(error)).lower()})") from None


def _decoded(content: bytes, errors: str = "strict") -> str:
    """UTF-8, or the UTF-16 that Excel saves as "Unicode text"."""
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    return content.decode("utf-16" if utf16 else "utf-8-sig", errors)


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    """Some rows, up to the first that is broken."""
    rows = []
    try:
        for _, row in islice(_parsed(text, delimiter), _LOOKED_AT):
            rows.append(row)
    except csv.Error:
        pass
    return rows


def _parsed(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row starts, and the row; empty ones are passed over. A csv.Error has line and text."""
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
    try:
        text = _decoded(content)
    except UnicodeError:
        raise DataError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
    rows = _parsed(text, delimiter)
    try:
        width = len(next(rows)[1])
        for line, row in rows:
            if len(row) != width:
                hint = "put quotes around a cell that holds the delimiter"
                raise DataError(f"{file}, line {line}: has {len(row)} cells, and the first line {width}; {hint}")
            yield line, [row[column].strip() for column in columns]
    except csv.Error as error:
        line, what = error.args
        raise DataError(f"{file}, line {line}: cannot be read as CSV ({what}); mend its quotes") from None


def _open_parquet(file: Path | RemoteFile, wanted: Callable[[Sequence[str]], bool]) -> Table | None:
    cells = cell_file(file)
    with wrap_errors(file):
        with open_parquet(cells) as parquet:
            schema = parquet.schema_arrow
            if not wanted(schema.names):
                return None
            texts = [i for i, field in enumerate(schema) if _is_text(field.type)]
            some = next(parquet.iter_batches(_LOOKED_AT, columns=[schema.names[i] for i in texts]), None)
        named = [i for i in texts if some and any(map(names_image, _texts(some.column(schema.names[i]))))]
    types = {i: field.type for i, field in enumerate(schema) if holds_images(field.type)}

    def rows(columns: Sequence[int]) -> Iterator[tuple[int, list[Value]]]:
        with wrap_errors(file):
            plain = [schema.names[i] for i in columns if i not in types]
            with open_parquet(cells) as parquet:
                table = parquet.read(columns=plain, use_threads=False)
            found: list[Iterator[Value] | list[str]] = [
                image_cells(cells, schema.names[i], types[i]) if i in types else _texts(table.column(schema.names[i]))
                for i in columns
            ]
            for number, row in enumerate(zip(*found, strict=True), 1):
                yield number, list(row)

    return Table(
        file, schema.names, frozenset(named) | frozenset(types), "row", rows, b"huggingface" in (schema.metadata or {})
    )


def cell_file(file: Path | RemoteFile) -> TableFile:
    """A Parquet file as a place of cells; DataError where it is not there, or cannot be read for want of pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise DataError(f"{file}: reading Parquet needs pyarrow; pip install 'pixelwise[parquet]'") from None
    if isinstance(file, RemoteFile):
        return TableFile(file.url, "parquet", 0, file.options)
    if not file.is_file():
        raise DataError(f"{file}: cannot be read (not a file); replace or remove it")
    return TableFile(str(file), "parquet", file.stat().st_mtime_ns)


@contextmanager
def wrap_errors(file: object) -> Iterator[None]:
    """What goes wrong within is told as a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except Exception as error:  # pyarrow's own, and those of each protocol
        raise DataError(f"{file}: cannot be read ({first_line(error)}); replace or remove it") from None


def _is_text(type: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(type):
        type = type.value_type
    return bool(types.is_string(type) or types.is_large_string(type))


def _texts(column: Any) -> list[str]:
    return ["" if value is None else str(value).strip() for value in column.to_pylist()]
