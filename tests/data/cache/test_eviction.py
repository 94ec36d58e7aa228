"""Eviction: the entries used longest ago go first, and entries in use stay."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from pixelwise.data.cache import eviction
from pixelwise.data.cache.entry import CacheEntry
from pixelwise.data.cache.eviction import evict_lru
from pixelwise.data.schema import Record
from pixelwise.data.torch_dataset import SegmentationDataset
from tests.data.cache.helpers import BINARY, has_items_of

ListEntries = Callable[[], list[str]]


@pytest.fixture
def three_entries(records: list[Record], cache: Path) -> ListEntries:
    """Make three entries of one size, used in this order. Return a function that lists those left, oldest first."""
    names = []
    for number, read_spec in enumerate((BINARY, replace(BINARY, bit_depth=12), replace(BINARY, bit_depth=10))):
        entry = SegmentationDataset(records, read_spec, 16).cache_entry
        assert entry is not None
        os.utime(entry.folder / "header.json", (1000 + number, 1000 + number))
        names.append(entry.folder.name)
    return lambda: [name for name in names if (cache / name).exists()]


def test_the_entry_used_longest_ago_goes_first(three_entries: ListEntries, cache: Path) -> None:
    first, second, third = three_entries()
    size = sum(file.stat().st_size for file in (cache / first).iterdir())
    evict_lru(cache, 4 * size)
    assert three_entries() == [first, second, third]
    evict_lru(cache, 2 * size + size // 2)
    assert three_entries() == [second, third]


def test_use_renews_an_entry(three_entries: ListEntries, records: list[Record], cache: Path) -> None:
    first, _, third = three_entries()
    SegmentationDataset(records, BINARY, 16)  # opens the first
    evict_lru(cache, 12_500)
    assert three_entries() == [first, third]


def test_entries_in_use_stay(three_entries: ListEntries, cache: Path) -> None:
    first, second, _ = three_entries()
    reader = CacheEntry(cache / first)
    with FileLock(cache / f"{second}.lock"):
        evict_lru(cache, 0)
    assert three_entries() == [first, second]
    del reader
    evict_lru(cache, 0)
    assert three_entries() == []


def test_building_an_entry_evicts_others(
    three_entries: ListEntries, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eviction, "MAX_CACHE_BYTES", 14_000)
    dataset = SegmentationDataset(records[:4], BINARY, 16)
    assert three_entries() == three_entries()[-1:] and has_items_of(dataset, records[:4])


def test_the_default_limit_is_a_fraction_of_a_small_disk(
    three_entries: ListEntries, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(cache)
    size = sum(file.stat().st_size for file in (cache / three_entries()[0]).iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=5 * size + size // 2))
    evict_lru(cache)
    assert len(three_entries()) == 1
