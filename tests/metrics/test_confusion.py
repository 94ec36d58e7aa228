"""Figures on hand-made confusion matrices, worked out by hand."""

import dataclasses
import json

import pytest
import torch

from pixelwise.data.task import MULTICLASS
from pixelwise.metrics.confusion import ClassMetrics, Metrics

NAMES = ["pet", "background", "border"]


def metrics(rows: list[list[int]], names: list[str] = NAMES) -> Metrics:
    return Metrics.from_confusion(torch.tensor(rows), names[: len(rows)], MULTICLASS, image_count=4, resolution="original")


# --- one matrix → figures


def test_every_figure_by_hand() -> None:
    found = metrics([[50, 10, 0], [5, 100, 15], [5, 10, 5]])
    assert found.accuracy == 155 / 200
    assert found.classes == {
        # true 60, predicted 60, both 50
        "pet": ClassMetrics(iou=50 / 70, dice=100 / 120, precision=50 / 60, recall=50 / 60, pixels=60),
        # true 120, predicted 120, both 100
        "background": ClassMetrics(iou=100 / 140, dice=200 / 240, precision=100 / 120, recall=100 / 120, pixels=120),
        # true 20, predicted 20, both 5
        "border": ClassMetrics(iou=5 / 35, dice=10 / 40, precision=5 / 20, recall=5 / 20, pixels=20),
    }
    assert found.mean_iou == pytest.approx((50 / 70 + 100 / 140 + 5 / 35) / 3, rel=1e-15)
    assert found.absent_classes == ()
    assert found.confusion == [[50, 10, 0], [5, 100, 15], [5, 10, 5]]
    assert (found.image_count, found.resolution) == (4, "original")


def test_rows_are_true_and_columns_predicted() -> None:
    """8 pixels of the pet, 6 of them called so; 2 of the background, 1 of them called pet."""
    found = metrics([[6, 2], [1, 1]])
    assert found.classes["pet"] == ClassMetrics(iou=6 / 9, dice=12 / 15, precision=6 / 7, recall=6 / 8, pixels=8)
    assert found.classes["background"] == ClassMetrics(1 / 4, 2 / 5, precision=1 / 3, recall=1 / 2, pixels=2)
    assert found.accuracy == 0.7


def test_a_perfect_matrix_and_one_that_is_all_wrong() -> None:
    perfect = metrics([[3, 0], [0, 9]])
    assert perfect.accuracy == perfect.mean_iou == 1.0
    assert {(c.iou, c.dice, c.precision, c.recall) for c in perfect.classes.values()} == {(1.0, 1.0, 1.0, 1.0)}
    wrong = metrics([[0, 3], [9, 0]])
    assert wrong.accuracy == wrong.mean_iou == 0.0
    assert wrong.absent_classes == ()


def test_an_absent_class_has_no_iou_and_is_named() -> None:
    found = metrics([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    assert found.classes["border"] == ClassMetrics(iou=None, dice=None, precision=None, recall=None, pixels=0)
    assert found.absent_classes == ("border",)
    assert found.mean_iou == (8 / 10 + 10 / 12) / 2, "over the classes that are there"


def test_a_class_that_is_only_predicted_has_iou_0_and_counts() -> None:
    """Leaving it out would pay a model for inventing classes."""
    found = metrics([[8, 0, 2], [0, 10, 0], [0, 0, 0]])
    assert found.classes["border"] == ClassMetrics(iou=0.0, dice=0.0, precision=0.0, recall=None, pixels=0)
    assert found.absent_classes == ()
    assert found.mean_iou == pytest.approx((8 / 10 + 1 + 0) / 3, rel=1e-15)


def test_a_class_that_is_never_predicted_has_iou_0_and_no_precision() -> None:
    found = metrics([[10, 0], [5, 0]])
    assert found.classes["background"] == ClassMetrics(iou=0.0, dice=0.0, precision=None, recall=0.0, pixels=5)
    assert found.mean_iou == (10 / 15 + 0) / 2
    assert found.absent_classes == ()


def test_no_pixel_at_all_has_no_figures() -> None:
    found = metrics([[0, 0], [0, 0]])
    assert found.accuracy is None and found.mean_iou is None
    assert found.absent_classes == ("pet", "background")


def test_counts_beyond_what_floats_hold_are_exact() -> None:
    """7349 images of ten megapixels are more pixels than float32 tells apart, and more than int32 counts."""
    many = 2**53
    found = metrics([[many + 1, 1], [0, 2**33 + 1]])
    assert found.confusion == [[many + 1, 1], [0, 2**33 + 1]]
    assert found.classes["pet"].pixels == many + 2
    assert found.classes["background"].iou == (2**33 + 1) / (2**33 + 2)


def test_figures_are_plain_numbers_that_json_takes() -> None:
    found = metrics([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["classes"]["border"]["iou"] is None
    assert again["confusion"] == found.confusion and again["miou"] == found.mean_iou
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.mean_iou = 1.0  # type: ignore[misc]


def test_miou_is_over_one_matrix_and_not_averaged_over_batches() -> None:
    """A large batch and a small one: averaged, the small one's few pixels would weigh as much."""
    large = MULTICLASS.confusion(torch.tensor([0] * 90 + [1] * 10), torch.tensor([0] * 90 + [1] * 10), 2)
    small = MULTICLASS.confusion(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
    whole = Metrics.from_confusion(large + small, ["a", "b"], MULTICLASS, 2, "original")
    assert whole.mean_iou == (90 / 92 + 10 / 12) / 2
    averaged = sum(Metrics.from_confusion(each, ["a", "b"], MULTICLASS, 1, "original").mean_iou for each in (large, small)) / 2
    assert averaged == 0.5 and whole.mean_iou > 0.9
    # A class that one image lacks: averaged, 1.0 and 0.5 would make 0.75.
    lacks = MULTICLASS.confusion(torch.tensor([0, 0]), torch.tensor([0, 0]), 2)
    holds = MULTICLASS.confusion(torch.tensor([1, 1]), torch.tensor([1, 0]), 2)
    assert Metrics.from_confusion(lacks + holds, ["a", "b"], MULTICLASS, 2, "original").mean_iou == (2 / 3 + 1 / 2) / 2
