"""Validation images that are too large to be decoded: parts of them are read by windows."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.data.cache.store import load_and_resize
from pixelwise.data.io import image, image_windows
from pixelwise.data.record_parts import open_undecodable, read_parts
from pixelwise.data.resize import Scale
from pixelwise.data.scaled_windows import exceeds_limit
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.data.validation_parts import ValidationParts
from pixelwise.data.window_dataset import GridWindows
from pixelwise.errors import DataError
from tests.data.test_window_files import write

HEIGHT, WIDTH = 450, 380
SPEC = ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2, 3: 3}))


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Two large images with a rare class, and a small one."""
    records = []
    for number, size in enumerate([(HEIGHT, WIDTH), (HEIGHT, WIDTH), (60, 50)]):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[20:23], mask[7:9, 9:11] = 1, 2 + number % 2
        records.append(Record(write(tmp_path / f"{number}.tif", pixels), write(tmp_path / f"m{number}.tif", mask)))
    return records


@pytest.fixture
def whole(records: list[Record]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [load_and_resize(record, SPEC, Scale(0.5)) for record in records]


@pytest.fixture
def low_limit(whole: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pillow's limit be below the size of the large images at half scale."""
    monkeypatch.setattr(image, "MAX_PIXELS", HEIGHT * WIDTH // 5)
    monkeypatch.setattr(image_windows, "LARGE_PIXELS", HEIGHT * WIDTH // 5)
    monkeypatch.setattr(image_windows, "_MIN_LARGE_BYTES", 0)


def test_parts_are_those_of_the_whole_image(
    records: list[Record], whole: list[tuple[np.ndarray, np.ndarray]], low_limit: None
) -> None:
    parts = ValidationParts(records, SPEC, 0.5, 8)
    assert len(parts.messages) == 2 and " parts of 20x20 px" in parts.messages[0]
    sizes = parts.image_sizes()
    assert len(parts) == len(sizes) == len(parts.records) and sizes[-1] == (30, 25)
    assert {max(size) <= 20 for size in sizes[:-1]} == {True}
    values = [set(), set(), set()]  # type: list[set[int]]
    for index, (found, mask) in enumerate(parts[number] for number in range(len(parts))):
        assert tuple(mask.shape) == sizes[index]
        number = records.index(parts.records[index])
        expected, expected_mask = whole[number]
        part = parts._parts[index] or (range(30), range(25))
        rows, columns = (slice(each.start, each.stop) for each in part)
        assert torch.equal(mask, torch.from_numpy(expected_mask[rows, columns]))
        assert (found.short() - torch.from_numpy(expected[rows, columns]).permute(2, 0, 1)).abs().max() <= 1
        values[number] |= set(mask.unique().tolist())
    assert values == [{0, 1, 2}, {0, 1, 3}, {0, 1, 2}], "each class is in a part"


def test_the_seed_determines_the_parts(records: list[Record], low_limit: None) -> None:
    first, again, other = (ValidationParts(records, SPEC, 0.5, 8, seed)._parts for seed in (3, 3, 4))
    assert first == again and first != other


def test_a_grid_of_windows_covers_the_parts(records: list[Record], low_limit: None) -> None:
    parts = ValidationParts(records, SPEC, 0.5, 8)
    windows = GridWindows(parts, 8)
    assert torch.equal(windows[0][0], parts[0][0][:, :8, :8])


def test_large_images_are_not_cached_but_reduced_ones_are(
    records: list[Record], whole: list[tuple[np.ndarray, np.ndarray]], low_limit: None
) -> None:
    assert exceeds_limit(records[0], Scale(0.5)) and not exceeds_limit(records[0], Scale(0.2))
    images = SegmentationDataset(records, SPEC, Scale(0.5))
    assert images.cache_entry is None and "too large" in images.messages[0]
    (pixels, mask), (expected, expected_mask) = load_and_resize(records[0], SPEC, Scale(0.5)), whole[0]
    assert np.abs(pixels.astype(int) - expected).max() <= 1 and np.array_equal(mask, expected_mask)
    assert load_and_resize(records[0], SPEC, (32, 24))[0].shape == (32, 24, 3)


def test_the_best_parts_of_an_image(records: list[Record], low_limit: None) -> None:
    windows = open_undecodable(records[0], SPEC)
    assert windows is not None and open_undecodable(records[2], SPEC) is None
    with windows:
        (pixels, mask), *others = read_parts(windows, 3, 40, lambda mask: float((mask == 1).mean()))
    assert pixels.shape == (40, 40, 3) and (mask == 1).any() and len(others) == 2


def test_a_damaged_file_is_named(records: list[Record], low_limit: None) -> None:
    mask = records[0].mask
    assert isinstance(mask, Path)
    mask.write_bytes(mask.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"m0\.tif"):
        ValidationParts(records, SPEC, 0.5, 8)
