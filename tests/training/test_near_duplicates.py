"""A training warns if validation images are nearly equal to training images."""

import logging
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.training.near_duplicates import warn_of_near_duplicates
from tests.data.analysis.helpers import save_pair, scene


def write_scenes(folder: Path, seeds: dict[str, int]) -> pw.DatasetIndex:
    """Write an image of a scene for each name "split/name", with masks of two classes."""
    for number, (name, seed) in enumerate(seeds.items()):
        mask = np.zeros((48, 64), np.uint8)
        mask[: 9 + number] = 1
        save_pair(folder, name, np.roll(scene(seed), number % 2, axis=1), mask)
    return pw.load_dataset(folder)


def open_split(data: pw.DatasetIndex, split: str, cache_images: bool = True) -> pw.SegmentationDataset:
    return pw.SegmentationDataset(getattr(data, split), data.read_spec, 32, cache_images=cache_images)


NAMES = {"train/a": 0, "train/b": 1, "train/c": 2, "val/d": 3, "val/e": 1}
"""e.png shows the scene of b.png, moved by one pixel."""


def test_the_warning_names_two_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_scenes(tmp_path, NAMES)
    with caplog.at_level(logging.WARNING, "pixelwise"):
        warn_of_near_duplicates(open_split(data, "train"), open_split(data, "val"))
    (record,) = caplog.records
    text = record.getMessage()
    assert "1 of 2 validation images" in text and "val/images/e.png" in text and "train/images/b.png" in text


def test_different_images_give_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_scenes(tmp_path, NAMES | {"val/e": 4})
    warn_of_near_duplicates(open_split(data, "train"), open_split(data, "val"))
    assert not caplog.records


def test_images_outside_the_cache_are_not_decoded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_scenes(tmp_path, NAMES)
    warn_of_near_duplicates(open_split(data, "train", cache_images=False), open_split(data, "val"))
    assert not caplog.records


def test_damaged_images_do_not_shift_the_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_scenes(tmp_path, NAMES)
    (tmp_path / "train/images/a.png").write_bytes(b"damaged")
    train = pw.SegmentationDataset(data.train, data.read_spec, 32, skip_unreadable=True)
    warn_of_near_duplicates(train, open_split(data, "val"))
    assert "train/images/b.png" in caplog.text
