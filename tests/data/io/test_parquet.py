"""Lazy reading of images in Parquet files."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pixelwise.data.io import parquet
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.parquet import TableCell
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
