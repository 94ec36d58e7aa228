"""Lazy reading of images in Parquet files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.io import parquet
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.parquet import TableCell, TableFile, image_cells
from tests.data.formats.support import CLASSES, read_as
from tests.data.formats.writers import tables
from tests.data.formats.writers.folders import draw_scenes


def test_threads_read_each_chunk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write_parquet_bytes(tmp_path, draw_scenes(list("abcdef"), (0, 1, 2, 255)), CLASSES)
    records = read_as("table", tmp_path).records
    chunks: list[Any] = []
    read_chunk = parquet._read_chunk

    def count(*key: Any) -> Any:
        chunks.append(key[1:])
        return read_chunk(*key)

    monkeypatch.setattr(parquet, "_read_chunk", count)
    monkeypatch.setattr(parquet, "CHUNKS", LRUCache[Any](max_items=6))
    cells = [source for record in records for source in (record.image, record.mask) if isinstance(source, TableCell)]
    assert len(cells) == 12
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda cell: cell.read_bytes(), cells * 20))) == 240
    assert len(chunks) == len(set(chunks)) == 6


@pytest.mark.parametrize("is_struct", [True, False])
def test_an_image_that_many_rows_repeat_is_in_memory_once(is_struct: bool, tmp_path: Path) -> None:
    """Such a file is small, and would fill the memory if each row had its own copy."""
    import pyarrow
    import pyarrow.parquet

    content = np.random.default_rng(0).bytes(1 << 16)
    cells: list[Any] = [{"bytes": content, "path": "a.png"}] * 1000 if is_struct else [content] * 1000
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]) if is_struct else pyarrow.binary()
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": pyarrow.array(cells, kind)}), path)
    file = TableFile(str(path), "parquet")
    chunk = parquet._read_chunk(file, "image", 0)
    assert chunk.nbytes < 1 << 17 and len(chunk.values) == 1000
    found = [cell.cell for cell in image_cells(file, "image", kind)]
    assert len(found) == 1000 and found[7] is not None and found[7].read_bytes() == content
