"""Images in the cells of Parquet and Arrow files: read when they are wanted, and never a whole file at once."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from pixelwise.errors import DataError, first_line

MAX_CHUNKS = 4
"""How many chunks (a column of a row group) a process keeps: of images and of masks, and of their neighbors."""


MAX_BYTES = 256 << 20
"""Of chunks that hold more together, a process keeps two: one of images and one of masks."""


@dataclass(frozen=True, eq=False)
class TableFile:
    """A Parquet file, or an Arrow file as Hugging Face's `datasets` writes it (a stream of record batches).

    Attributes:
        url: a local path, or a URL that fsspec opens.
        kind: what it is.
        stamp: when a local file was changed last: another file that takes its place is not taken for it.
        options: what fsspec is given beside a URL.
    """

    url: str
    kind: Literal["parquet", "arrow"]
    stamp: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, eq=False)
class TableCell:
    """The image in one cell: a `BytesSource`. Its row is counted from the start of its chunk.

    Raises DataError where it cannot be read.
    """

    file: TableFile
    column: str
    chunk: int
    index: int
    row: int
    name: str

    def read_bytes(self) -> bytes:
        """The image file's content."""
        try:
            value = CHUNKS.get(self.file, self.column, self.chunk)[self.index].as_py()
        except FileNotFoundError:
            raise DataError("the file is missing; copy the data set again") from None
        except Exception as error:  # pyarrow's own, and those of each protocol
            raise DataError(f"the file cannot be read ({first_line(error)}); copy the data set again") from None
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise DataError("the cell is empty; copy the data set again")
        return content

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}, {self.column}"


class ChunkStore:
    """The chunks that were read last, for all threads of a process; images in them are not copied."""

    def __init__(self, most: int = MAX_CHUNKS) -> None:
        self.most = most
        self.clear()

    def clear(self) -> None:
        """Forget all; a forked process must, for the lock may be held by a thread of its parent."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, int, str, int], Any] = OrderedDict()

    def get(self, file: TableFile, column: str, chunk: int) -> Any:
        """A column of a row group; of an Arrow file the whole column, which stays on disk until it is looked at."""
        key = (file.url, file.kind, file.stamp, column, chunk)
        with self._lock:
            found = self._kept.pop(key, None)
            if found is None:
                self._make_room()
                found = _read_chunk(file, column, chunk)
            self._kept[key] = found
            return found

    def _make_room(self) -> None:
        while len(self._kept) >= self.most or (len(self._kept) > 1 and self._bytes() > MAX_BYTES):
            self._kept.popitem(last=False)

    def _bytes(self) -> int:
        """What is kept takes of memory; Arrow files stay on disk."""
        return sum(chunk.nbytes for (_, kind, *_), chunk in self._kept.items() if kind == "parquet")


CHUNKS = ChunkStore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=CHUNKS.clear)


def _read_chunk(file: TableFile, column: str, chunk: int) -> Any:
    if file.kind == "arrow":
        return read_arrow(file).column(column)
    with open_parquet(file) as parquet:
        # Arrow's own threads would not be there after a fork.
        return parquet.read_row_group(chunk, columns=[column], use_threads=False).column(column)


def read_arrow(file: TableFile) -> Any:
    """An Arrow file as a pyarrow.Table, mapped into memory."""
    import pyarrow

    with pyarrow.memory_map(file.url) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
        return stream.read_all()


@contextmanager
def open_parquet(file: TableFile) -> Iterator[Any]:
    """A Parquet file as a pyarrow.parquet.ParquetFile."""
    import pyarrow.parquet

    if "://" not in file.url:
        with pyarrow.parquet.ParquetFile(file.url) as parquet:
            yield parquet
        return
    from fsspec.core import url_to_fs

    system, path = url_to_fs(file.url, **file.options)
    with system.open(path, "rb") as opened, pyarrow.parquet.ParquetFile(opened, pre_buffer=False) as parquet:
        yield parquet


@dataclass(frozen=True, eq=False)
class ImageCell:
    """What a cell for an image holds: bytes, a path or URL, or neither."""

    cell: TableCell | None
    path: str | None


def holds_images(type: Any) -> bool:
    """Whether a column of that pyarrow type holds image files: bytes, or structs of bytes and path."""
    import pyarrow.types as types

    if types.is_struct(type):
        return type.get_field_index("bytes") >= 0
    return bool(types.is_binary(type) or types.is_large_binary(type))


def image_cells(file: TableFile, column: str, type: Any) -> Iterator[ImageCell]:
    """The cells of a column of images, in order; no image is read."""
    struct, row = hasattr(type, "get_field_index"), 0
    for chunk, (valid, paths) in enumerate(_chunks(file, column, struct)):
        for index, (present, path) in enumerate(zip(valid, paths, strict=True)):
            row += 1
            name = path.replace("\\", "/").rpartition("/")[2] if path else f"{column}-{row}"
            cell = TableCell(file, column, chunk, index, row, name) if present else None
            yield ImageCell(cell, path or None)


def _chunks(file: TableFile, column: str, struct: bool) -> Iterator[tuple[list[bool], list[str | None]]]:
    """Of each chunk, which cells have bytes, and their paths."""
    if file.kind == "arrow":
        yield _look(read_arrow(file).column(column), struct)
        return
    with open_parquet(file) as parquet:
        inside = f"{column}.bytes" if struct else column
        for group in range(parquet.metadata.num_row_groups):
            described = parquet.metadata.row_group(group)
            leaf = next(
                described.column(each)
                for each in range(described.num_columns)
                if described.column(each).path_in_schema == inside
            )
            statistics = leaf.statistics
            if statistics is None or not statistics.has_null_count or statistics.null_count:
                yield _look(parquet.read_row_group(group, columns=[column], use_threads=False).column(column), struct)
                continue
            valid = [True] * described.num_rows
            paths: list[str | None] = [None] * described.num_rows
            if struct and parquet.schema_arrow.field(column).type.get_field_index("path") >= 0:
                table = parquet.read_row_group(group, columns=[f"{column}.path"], use_threads=False)
                paths = [each and each.get("path") for each in table.column(column).to_pylist()]
            yield valid, paths


def _look(values: Any, struct: bool) -> tuple[list[bool], list[str | None]]:
    import pyarrow.compute as compute

    inside = compute.struct_field(values, "bytes") if struct else values
    valid = compute.is_valid(inside).to_pylist()
    if struct and values.type.get_field_index("path") >= 0:
        return valid, compute.struct_field(values, "path").to_pylist()
    return valid, [None] * len(valid)
