"""Value statistics become class statistics when the label map is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.mask_stats import ClassStatsTable, MaskStatsTable
from pixelwise.data.analysis.scan import scan
from pixelwise.data.label_map.options import ResolvedLabels
from pixelwise.data.schema import LabelMap, Record
from tests.data.analysis.helpers import noise, save_pair


def resolve(folder: Path, masks: Sequence[np.ndarray], label_map: LabelMap) -> ClassStatsTable:
    """Write masks, scan them, and resolve their values."""
    records = []
    for number, mask in enumerate(masks):
        save_pair(folder, f"p{number}", noise(number), mask)
        records.append(Record(folder / f"images/p{number}.png", folder / f"masks/p{number}.png"))
    table = MaskStatsTable()
    for index, (_, stats) in enumerate(scan(records)):
        assert stats.mask is not None
        table.add(index, stats.mask)
    return table.resolve(ResolvedLabels(label_map, ("a", "b"), ((0, 0, 0), (1, 1, 1))))


def test_values_outside_the_label_map_are_reported_by_record(tmp_path: Path) -> None:
    masks = [np.tri(20, 30, dtype=np.uint8) + np.uint8(offset) for offset in (1, 0, 1)]
    classes = resolve(tmp_path, masks, LabelMap("index", {0: 0, 1: 1}))
    assert classes.unknown_values() == {0: "mask value 2", 2: "mask value 2"}


def test_a_mask_of_another_kind_has_unknown_values(tmp_path: Path) -> None:
    color = np.zeros((20, 30, 3), np.uint8)
    color[:5] = (255, 0, 0)
    classes = resolve(tmp_path, [np.tri(20, 30, dtype=np.uint8), color], LabelMap("index", {0: 0, 1: 1}))
    assert classes.unknown_values() == {1: "mask value of another kind"}


def test_gray_masks_have_the_colors_that_they_show(tmp_path: Path) -> None:
    color = np.zeros((20, 30, 3), np.uint8)
    color[:5] = 255
    color[5] = (255, 0, 0)
    gray = np.zeros((20, 30), np.uint8)
    gray[:2] = 255
    classes = resolve(tmp_path, [color, gray], LabelMap("rgb", {0: 0, 0xFFFFFF: 1, 0xFF0000: 1}))
    assert classes.unknown_values() == {}
    assert classes.class_pixels(1, 2).tolist() == [6 * 30, 2 * 30]
    assert classes.presence(2, 2).all()


def test_dropped_records_do_not_count(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[:5, :5] = 1
    classes = resolve(tmp_path, [mask, mask], LabelMap("index", {0: 0, 1: 1}))
    assert (classes.object_count(1), len(classes.object_sizes(1))) == (2, 2)
    classes.drop(np.array([True, False]))
    assert classes.class_pixels(1, 2).tolist() == [0, 25]
    assert (classes.object_count(1), len(classes.object_sizes(1))) == (1, 1)
    assert classes.median_width(1, np.array([True, False])) is None


def test_the_typical_size_includes_regions_that_are_too_small_for_objects(tmp_path: Path) -> None:
    large, small = np.zeros((20, 30), np.uint8), np.zeros((20, 30), np.uint8)
    large[:6, :6] = 1
    small[3:5, 3:5] = 1  # 4 pixels: no object
    every = np.ones(3, bool)
    classes = resolve(tmp_path, [large, small, small], LabelMap("index", {0: 0, 1: 1}))
    assert classes.typical_size(1, every) == pytest.approx(2 / 600**0.5)
    assert classes.typical_size(1, np.array([True, False, False])) == pytest.approx(6 / 600**0.5)
    assert classes.typical_size(1, ~every) is None


def test_the_typical_size_weights_masks_by_their_objects(tmp_path: Path) -> None:
    many, one = np.zeros((200, 200), np.uint8), np.zeros((200, 200), np.uint8)
    many[::10, ::10] = many[1::10, ::10] = many[::10, 1::10] = many[1::10, 1::10] = many[2::10, ::10] = 1  # 400 objects
    one[:100] = 1
    classes = resolve(tmp_path, [many, one, one], LabelMap("index", {0: 0, 1: 1}))
    assert classes.typical_size(1, np.ones(3, bool)) == pytest.approx(5**0.5 / 200)
