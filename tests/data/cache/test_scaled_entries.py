"""Cache entries of images at a scale: items of different sizes, and the places of their classes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.cache import disk
from pixelwise.data.cache.entry import CELLS_FILE, CacheEntry
from pixelwise.data.cache.store import get_or_build, load_and_resize
from pixelwise.data.resize import Scale
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.errors import CacheUnavailableError, DataError
from tests.data.cache.helpers import entry_names

SPEC = ReadSpec(LabelMap("index", {0: 0, 1: 1}))


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    rng, records = np.random.default_rng(0), []
    for number, size in enumerate(((30, 50), (80, 20), (7, 7))):
        image, mask = tmp_path / f"{number}.png", tmp_path / f"{number}-mask.png"
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(image)
        Image.fromarray(rng.integers(0, 2, size, np.uint8)).save(mask)
        records.append(Record(image, mask))
    return records


@pytest.mark.parametrize("factor", [1.0, 0.5, 1.5])
def test_items_are_those_of_the_files(records: list[Record], factor: float) -> None:
    entry, errors = get_or_build(records, SPEC, Scale(factor))
    assert not errors and entry.header.items == 3
    for record, image, mask, size in zip(records, entry.images, entry.masks, entry.header.sizes, strict=True):
        expected_image, expected_mask = load_and_resize(record, SPEC, Scale(factor))
        assert np.array_equal(image, expected_image) and np.array_equal(mask, expected_mask)
        assert mask.shape == size
    counts = sum(np.bincount(mask.ravel(), minlength=256) for mask in entry.masks)
    assert entry.header.class_pixels == tuple(np.asarray(counts).tolist())
    assert entry.cells is not None and [images.tolist() for images in entry.cells.images] == [[0, 1, 2], [0, 1, 2]]
    assert entry.is_intact()
    assert get_or_build(records, SPEC, Scale(factor))[0].folder == entry.folder


def test_each_scale_and_each_size_has_its_entry(records: list[Record]) -> None:
    folders = {get_or_build(records, SPEC, size)[0].folder for size in (32, Scale(1.0), Scale(0.5))}
    assert len(folders) == 3
    square = get_or_build(records, SPEC, 32)[0]
    assert square.cells is None and not (square.folder / CELLS_FILE).exists()
    header = json.loads((square.folder / "header.json").read_text())["header"]
    assert "sizes" not in header, "entries of squares have the header of earlier versions"


@pytest.mark.parametrize("name", ["photos.bin", "masks.bin", CELLS_FILE])
def test_damaged_entries_are_built_again(records: list[Record], name: str) -> None:
    file = get_or_build(records, SPEC, Scale(1.0))[0].folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    entry, _ = get_or_build(records, SPEC, Scale(1.0))
    assert entry.is_intact() and np.array_equal(entry.images[0], load_and_resize(records[0], SPEC, Scale(1.0))[0])
    file.write_bytes(content[:-1])
    with pytest.raises((ValueError, OSError)):
        CacheEntry(entry.folder)


def test_unreadable_records_have_no_item(records: list[Record], tmp_path: Path) -> None:
    broken = Record(tmp_path / "missing.png", records[0].mask)
    with pytest.raises(DataError, match=r"missing\.png"):
        get_or_build([broken, *records], SPEC, Scale(1.0))
    entry, errors = get_or_build([broken, *records], SPEC, Scale(1.0), skip_unreadable=True)
    assert len(errors) == 1 and entry.header.skipped == (0,) and len(entry.images) == 3


NEEDED = 4 * 4 * (30 * 50 + 80 * 20 + 7 * 7)
"""Size of the entry of `records` at scale 2 in bytes."""


@pytest.mark.parametrize("is_stated", [True, False])
def test_all_items_use_at_most_half_of_the_free_space(
    records: list[Record], tmp_path: Path, is_stated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    if not is_stated:
        monkeypatch.setattr(disk, "header_size", lambda _: None)
    monkeypatch.setattr(disk, "_format_gib", lambda count: f"{count} bytes")
    for free, fits in ((NEEDED * 2 - 1, False), (NEEDED * 2, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        if fits:
            assert len(get_or_build(records, SPEC, Scale(2.0))[0].images) == 3
        else:
            with pytest.raises(CacheUnavailableError, match=f"needs about {NEEDED} bytes, .* of the {free} bytes"):
                get_or_build(records, SPEC, Scale(2.0))
        assert len(entry_names(tmp_path / "cache" / "prepared")) == fits
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_the_space_of_all_items_is_estimated_from_those_before(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk, "header_size", lambda _: None)
    monkeypatch.setattr(disk, "_format_gib", lambda count: f"{count} bytes")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=9000))
    with pytest.raises(CacheUnavailableError, match=f"needs about {4 * 30 * 50 * 3} bytes"):
        get_or_build(records, SPEC, Scale(1.0))
