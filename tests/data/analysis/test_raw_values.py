"""Ambiguous masks give a report of their raw values, and the question first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.analysis.raw_values import MAX_RAW_VALUES, raw_value_labels
from pixelwise.data.label_map.mask_stats import MaskStats
from pixelwise.data.label_map.value_counts import MaskValueCounts
from pixelwise.errors import DataError
from pixelwise.planning.rules import make_plan
from pixelwise.reporting.class_examples import class_examples
from tests.data.analysis.helpers import noise, save_pair


@pytest.fixture
def ambiguous(tmp_path: Path) -> Path:
    """Four masks of the values 7 and 255. 255 may be a class or pixels to ignore."""
    for number in range(4):
        mask = np.full((20, 30), 7, np.uint8)
        mask[: 5 + number] = 255
        save_pair(tmp_path, f"p{number}", noise(number), mask)
    return tmp_path


def test_ambiguous_masks_raise_unless_a_report_is_wanted(ambiguous: Path) -> None:
    with pytest.raises(DataError, match="255 may be a class or pixels to ignore"):
        inspect(ambiguous)


def test_the_report_has_the_question_and_the_values(ambiguous: Path) -> None:
    report = inspect(ambiguous, skip_unreadable=True)
    first = report.issues[0]
    assert (first.kind, first.severity) == ("undecided masks", "error")
    assert "255 may be a class or pixels to ignore" in first.message and report.obstacle == first.message
    assert not report.is_decided and len(report.issues) == 1
    assert report.image_count == report.mask_count == 4 and report.widths is not None
    counts = {stats.name: (stats.pixels, stats.image_count) for stats in report.classes}
    assert counts == {"7": (4 * 600 - 30 * 26, 4), "255": (30 * 26, 4)}
    assert all(len(stats.examples) == 4 for stats in report.classes)
    image, mask = report.data.read(report.data.train[0])
    assert image.shape == (20, 30, 3) and np.unique(mask).tolist() == [0, 1]
    with pytest.raises(DataError, match="255 may be a class"):
        make_plan(report, timed=False)
    with pytest.raises(DataError, match="255 may be a class"):
        report.data.records("train")


def test_the_answer_makes_it_an_ordinary_report(ambiguous: Path) -> None:
    report = inspect(ambiguous, skip_unreadable=True, label_map={"7": "background", "255": "thing"})
    assert report.is_decided and not report.obstacle and report.issues == ()
    assert report.data.classes == ("background", "thing")


def test_photographs_as_masks_show_the_most_frequent_values(tmp_path: Path) -> None:
    for number in range(3):
        save_pair(tmp_path, f"p{number}", noise(number), noise(10 + number))
    report = inspect(tmp_path, skip_unreadable=True)
    assert not report.is_decided and len(report.classes) == MAX_RAW_VALUES
    assert any(f"the {MAX_RAW_VALUES} most frequent of" in message for message in report.data.messages)


def test_colors_keep_their_colors() -> None:
    counts = MaskValueCounts()
    counts.add(Path("a.png"), MaskStats("rgb", {0xFF0000: 5, 0x0000FF: 3}, (2, 4)))
    labels = raw_value_labels(counts)
    assert labels.classes == ("#0000ff", "#ff0000") and labels.palette == ((0, 0, 255), (255, 0, 0))


def test_images_of_which_none_can_be_read_are_reported(tmp_path: Path) -> None:
    for number in range(3):
        save_pair(tmp_path, f"p{number}", noise(number), np.eye(20, 30, dtype=np.uint8))
        (tmp_path / f"images/p{number}.png").write_bytes(b"damaged")
    report = inspect(tmp_path, skip_unreadable=True)
    assert "no image can be used" in report.obstacle and report.widths is None
    assert [issue.kind for issue in report.issues] == ["nothing usable", *["unreadable image"] * 3]
    assert [stats.pixel_fraction for stats in report.classes] == pytest.approx([580 / 600, 20 / 600])


def test_masks_of_damaged_images_count_with_the_others(ambiguous: Path) -> None:
    (ambiguous / "images/p0.png").write_bytes(b"damaged")
    (ambiguous / "masks/p1.png").write_bytes(b"damaged")
    report = inspect(ambiguous, skip_unreadable=True)
    assert sum(stats.pixel_fraction for stats in report.classes) == pytest.approx(1)
    assert len(report.data.train) == 2 and report.mask_count == 3


def test_masks_of_which_none_can_be_read_are_reported(tmp_path: Path) -> None:
    for number in range(3):
        save_pair(tmp_path, f"p{number}", noise(number), np.eye(20, 30, dtype=np.uint8))
        (tmp_path / f"masks/p{number}.png").write_bytes(b"damaged")
    report = inspect(tmp_path, skip_unreadable=True)
    assert "no mask can be used" in report.obstacle and report.image_count == 3 and report.classes == ()


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError):
        inspect(tmp_path, skip_unreadable=True)


def test_masks_of_different_kinds_are_reported(tmp_path: Path) -> None:
    for number in range(4):
        save_pair(tmp_path, f"p{number}", noise(number), np.eye(20, 30, dtype=np.uint8))
    for number in (0, 1):
        colors = np.zeros((20, 30, 3), np.uint8)
        colors[:9] = (200, 30, 40)
        Image.fromarray(colors).save(tmp_path / f"masks/p{number}.png")
    report = inspect(tmp_path, skip_unreadable=True)
    assert not report.is_decided and "#c81e28" in [stats.name for stats in report.classes]


def test_mask_files_of_several_classes_are_reported(tmp_path: Path) -> None:
    lines = ["image,mask:cat,mask:dog"]
    for number in range(3):
        save_pair(tmp_path, f"p{number}", noise(number), None)
        for top, name in ((0, "cat"), (4, "dog")):
            mask = np.zeros((20, 30), np.uint8)
            mask[top : top + 5], mask[12], mask[15] = 100, 50, 200
            Image.fromarray(mask).save(tmp_path / f"{name}{number}.png")
        lines.append(f"images/p{number}.png,cat{number}.png,dog{number}.png")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    report = inspect(tmp_path / "list.csv", skip_unreadable=True)
    assert not report.is_decided
    fractions = {stats.name: stats.pixel_fraction for stats in report.classes}
    assert fractions == pytest.approx({"0": 13 / 20, "50": 1 / 20, "100": 5 / 20, "200": 1 / 20})
    (example,) = class_examples(replace(report.classes[2], examples=report.data.train[:1]), 2, report.data.read_spec, 4)
    assert example.fraction == pytest.approx(9 / 20), "the rows 0 to 8 of either file"
