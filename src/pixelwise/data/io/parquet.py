"""Lazy reading of images stored in Parquet and Arrow columns, one row group at a time."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pixelwise.data.io.download_limits import TimedFile, max_download_bytes, within_time_limit
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.remote import file_system
from pixelwise.errors import DataError, first_line

MAX_CHUNKS = 4
"""Maximum number of chunks in memory. A chunk is a column of a row group.

Four are one chunk of images and one of masks, and those of a neighboring row group.
"""


MAX_CHUNK_BYTES = 256 << 20
"""Maximum number of bytes of the chunks that are kept while another is read. At least one is kept.

So a large chunk of images and one of masks can be in memory together.
"""


@dataclass(frozen=True, eq=False)
class TableFile:
    """A Parquet file, or an Arrow file as Hugging Face's `datasets` writes it (a stream of record batches).

    Attributes:
        url: a local path, or a URL that fsspec opens.
        kind: the format of the file.
        stamp: modification time of a local file in nanoseconds. It differs if the file is replaced, so that chunks of
            the old file are not used.
        options: keyword arguments for fsspec.
    """

    url: str
    kind: Literal["parquet", "arrow"]
    stamp: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, eq=False)
class TableCell:
    """The image file in one cell: a `BytesSource`.

    Attributes:
        file: the table.
        column: name of the column.
        chunk: number of the row group. An Arrow file has one chunk, 0.
        index: row in the chunk, from 0.
        row: row in the file, from 1, for messages.
        name: file name with suffix, if the table has one.
    """

    file: TableFile
    column: str
    chunk: int
    index: int
    row: int
    name: str

    def read_bytes(self) -> bytes:
        """Return the image file's content. Raises DataError if it cannot be read."""
        try:
            value = _chunk(self.file, self.column, self.chunk)[self.index].as_py()
        except FileNotFoundError:
            raise DataError("the file is missing; copy the data set again") from None
        except Exception as error:  # pyarrow and each protocol have their own exceptions
            raise DataError(f"the file cannot be read ({first_line(error)}); copy the data set again") from None
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise DataError("the cell is empty; copy the data set again")
        return content

    def __str__(self) -> str:
        return f"{self.file}, row {self.row}, {self.column}"


class _Chunk(NamedTuple):
    values: Any  # pyarrow.ChunkedArray
    nbytes: int


CHUNKS = LRUCache[_Chunk](MAX_CHUNKS, MAX_CHUNK_BYTES, lambda chunk: chunk.nbytes, max_loads=1)
"""The chunks that were used last."""


def _chunk(file: TableFile, column: str, number: int) -> Any:
    """Return a column of a row group. For an Arrow file, return the whole column, which is memory-mapped."""
    key = (file.url, file.kind, file.stamp, column, number)
    return CHUNKS.get(key, lambda: _read_chunk(file, column, number)).values


def _read_chunk(file: TableFile, column: str, number: int) -> _Chunk:
    if file.kind == "arrow":
        return _Chunk(read_arrow(file).column(column), nbytes=0)
    with open_parquet(file, column) as parquet:
        # A forked worker process does not have Arrow's threads.
        values = parquet.read_row_group(number, columns=[column], use_threads=False).column(column)
    return _Chunk(values, values.nbytes)


def read_arrow(file: TableFile) -> Any:
    """Return an Arrow file as a memory-mapped `pyarrow.Table`."""
    import pyarrow

    with pyarrow.memory_map(file.url) as mapped, pyarrow.ipc.open_stream(mapped) as stream:
        return stream.read_all()


@contextmanager
def open_parquet(file: TableFile, images: str | None = None) -> Iterator[Any]:
    """Open a Parquet file as a `pyarrow.parquet.ParquetFile`.

    Args:
        file: the table.
        images: name of a column of images that will be read, or None. Equal images are kept in memory once. A small
            file can have the same image in millions of rows, and each row would otherwise get a copy.
    """
    import pyarrow.parquet

    if "://" not in file.url:
        with pyarrow.parquet.ParquetFile(file.url) as parquet, _share_images(parquet, file.url, images) as shared:
            yield shared
        return
    system, path = file_system(file.url, file.options)
    with within_time_limit(lambda: system.open(path, "rb")) as opened:
        limited = TimedFile(opened, max_download_bytes())
        with (
            pyarrow.parquet.ParquetFile(limited, pre_buffer=False) as parquet,
            _share_images(parquet, limited, images) as shared,
        ):
            yield shared


@contextmanager
def _share_images(parquet: Any, source: Any, column: str | None) -> Iterator[Any]:
    """Open a Parquet file again so that equal byte strings of a column are kept in memory once.

    The metadata are not read again. If `column` is None or has no byte strings, the same file is yielded.
    """
    import pyarrow.parquet

    leaves = [parquet.schema.column(index) for index in range(len(parquet.schema))]
    names = [f"{column}.bytes", column]
    shared = [leaf.path for leaf in leaves if leaf.path in names and leaf.physical_type == "BYTE_ARRAY"]
    if not shared:
        yield parquet
        return
    with pyarrow.parquet.ParquetFile(
        source, metadata=parquet.metadata, read_dictionary=shared, pre_buffer=False
    ) as again:
        yield again


@dataclass(frozen=True, eq=False)
class ImageCell:
    """The content of a cell of an image column.

    Attributes:
        cell: the cell, or None if it holds no bytes.
        path: path or URL of the image, or None. If `cell` is not None, it is only the original name of the image.
    """

    cell: TableCell | None
    path: str | None


def holds_images(type: Any) -> bool:
    """Return True if a column of this pyarrow type holds image files: bytes, or structs of bytes and path."""
    import pyarrow.types as types

    if types.is_struct(type):
        return type.get_field_index("bytes") >= 0
    return bool(types.is_binary(type) or types.is_large_binary(type))


def image_cells(file: TableFile, column: str, type: Any) -> Iterator[ImageCell]:
    """Yield the cells of a column of images in order.

    The images of a Parquet file are read only if its metadata do not exclude empty cells.

    Args:
        file: the table.
        column: name of the column.
        type: the column's pyarrow type, for which `holds_images` is True.
    """
    is_struct, row = hasattr(type, "get_field_index"), 0
    for chunk, (present, paths) in enumerate(_presence_and_paths(file, column, is_struct)):
        for index, (is_present, path) in enumerate(zip(present, paths, strict=True)):
            row += 1
            name = path.replace("\\", "/").rpartition("/")[2] if path else f"{column}-{row}"
            cell = TableCell(file, column, chunk, index, row, name) if is_present else None
            yield ImageCell(cell, path or None)


def _presence_and_paths(file: TableFile, column: str, is_struct: bool) -> Iterator[tuple[list[bool], list[str | None]]]:
    """Yield two lists for each chunk: True for each cell that holds bytes, and the path of each cell."""
    if file.kind == "arrow":
        yield _inspect_chunk(read_arrow(file).column(column), is_struct)
        return
    with open_parquet(file, column) as parquet:
        for group in range(parquet.metadata.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            if _may_have_nulls(metadata, f"{column}.bytes" if is_struct else column):
                values = parquet.read_row_group(group, columns=[column], use_threads=False).column(column)
                yield _inspect_chunk(values, is_struct)
                continue
            paths: list[str | None] = [None] * metadata.num_rows
            if is_struct and parquet.schema_arrow.field(column).type.get_field_index("path") >= 0:
                table = parquet.read_row_group(group, columns=[f"{column}.path"], use_threads=False)
                paths = [cell and cell.get("path") for cell in table.column(column).to_pylist()]
            yield [True] * metadata.num_rows, paths


def _may_have_nulls(row_group: Any, path: str) -> bool:
    """Return False if the metadata of a row group exclude nulls in a column, so that the column need not be read."""
    columns = (row_group.column(index) for index in range(row_group.num_columns))
    statistics = next(column for column in columns if column.path_in_schema == path).statistics
    return statistics is None or not statistics.has_null_count or statistics.null_count > 0


def _inspect_chunk(values: Any, is_struct: bool) -> tuple[list[bool], list[str | None]]:
    import pyarrow.compute as compute

    contents = compute.struct_field(values, "bytes") if is_struct else values
    present = compute.is_valid(contents).to_pylist()
    if is_struct and values.type.get_field_index("path") >= 0:
        return present, compute.struct_field(values, "path").to_pylist()
    return present, [None] * len(present)
