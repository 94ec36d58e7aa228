"""A training warns if validation images are nearly equal to training images."""

import logging
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.training import near_duplicates
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


@pytest.mark.parametrize("cached", [(False, False), (False, True), (True, False)])
def test_images_outside_the_cache_are_decoded(
    cached: tuple[bool, bool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_scenes(tmp_path, NAMES)
    warn_of_near_duplicates(open_split(data, "train", cached[0]), open_split(data, "val", cached[1]))
    assert "1 of 2 validation images" in caplog.text and "train/images/b.png" in caplog.text


def test_of_many_images_outside_the_cache_some_are_decoded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_scenes(tmp_path, NAMES | {"train/d": 8, "val/f": 8})
    monkeypatch.setattr(near_duplicates, "MAX_DECODED_IMAGES", 2)
    warn_of_near_duplicates(open_split(data, "train", False), open_split(data, "val", False))
    assert not caplog.records, "of the training images a and c were compared, of the validation images d and f"
    (tmp_path / "train/images/c.png").write_bytes((tmp_path / "train/images/d.png").read_bytes())
    (tmp_path / "train/images/a.png").write_bytes(b"damaged")
    warn_of_near_duplicates(open_split(data, "train", False), open_split(data, "val", False))
    assert "1 of 2 validation images" in caplog.text and "train/images/c.png" in caplog.text


def test_damaged_images_do_not_shift_the_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_scenes(tmp_path, NAMES)
    (tmp_path / "train/images/a.png").write_bytes(b"damaged")
    train = pw.SegmentationDataset(data.train, data.read_spec, 32, skip_unreadable=True)
    warn_of_near_duplicates(train, open_split(data, "val"))
    assert "train/images/b.png" in caplog.text
