"""Metrics of a confusion matrix: expected values are computed by hand."""

import dataclasses
import json

import pytest
import torch
from torch import Tensor

from pixelwise.data.task import MULTICLASS
from pixelwise.metrics.confusion import ClassMetrics, Metrics

NAMES = ["pet", "background", "border"]


def metrics(rows: list[list[int]], names: list[str] = NAMES) -> Metrics:
    return Metrics.from_confusion(
        torch.tensor(rows), names[: len(rows)], MULTICLASS, image_count=4, resolution="original"
    )


def test_every_metric_by_hand() -> None:
    result = metrics([[50, 10, 0], [5, 100, 15], [5, 10, 5]])
    assert result.accuracy == 155 / 200
    assert result.classes == {
        # true 60, predicted 60, both 50
        "pet": ClassMetrics(iou=50 / 70, dice=100 / 120, precision=50 / 60, recall=50 / 60, pixels=60),
        # true 120, predicted 120, both 100
        "background": ClassMetrics(iou=100 / 140, dice=200 / 240, precision=100 / 120, recall=100 / 120, pixels=120),
        # true 20, predicted 20, both 5
        "border": ClassMetrics(iou=5 / 35, dice=10 / 40, precision=5 / 20, recall=5 / 20, pixels=20),
    }
    assert result.mean_iou == pytest.approx((50 / 70 + 100 / 140 + 5 / 35) / 3, rel=1e-15)
    assert result.absent_classes == ()
    assert result.confusion == [[50, 10, 0], [5, 100, 15], [5, 10, 5]]
    assert (result.image_count, result.resolution) == (4, "original")


def test_rows_are_true_and_columns_predicted() -> None:
    """6 of 8 pixels of the pet are predicted correctly, and 1 of 2 pixels of the background."""
    result = metrics([[6, 2], [1, 1]])
    assert result.classes["pet"] == ClassMetrics(iou=6 / 9, dice=12 / 15, precision=6 / 7, recall=6 / 8, pixels=8)
    assert result.classes["background"] == ClassMetrics(1 / 4, 2 / 5, precision=1 / 3, recall=1 / 2, pixels=2)
    assert result.accuracy == 0.7


def test_a_perfect_matrix_and_one_without_a_correct_pixel() -> None:
    perfect = metrics([[3, 0], [0, 9]])
    assert perfect.accuracy == perfect.mean_iou == 1.0
    assert {(c.iou, c.dice, c.precision, c.recall) for c in perfect.classes.values()} == {(1.0, 1.0, 1.0, 1.0)}
    wrong = metrics([[0, 3], [9, 0]])
    assert wrong.accuracy == wrong.mean_iou == 0.0
    assert wrong.absent_classes == ()


def test_an_absent_class_has_no_iou() -> None:
    result = metrics([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    assert result.classes["border"] == ClassMetrics(iou=None, dice=None, precision=None, recall=None, pixels=0)
    assert result.absent_classes == ("border",)
    assert result.mean_iou == (8 / 10 + 10 / 12) / 2


def test_a_class_that_is_only_predicted_has_iou_0() -> None:
    """Without it, a model would be rewarded for predicting classes that do not exist."""
    result = metrics([[8, 0, 2], [0, 10, 0], [0, 0, 0]])
    assert result.classes["border"] == ClassMetrics(iou=0.0, dice=0.0, precision=0.0, recall=None, pixels=0)
    assert result.absent_classes == ()
    assert result.mean_iou == pytest.approx((8 / 10 + 1 + 0) / 3, rel=1e-15)


def test_a_class_that_is_never_predicted_has_iou_0_and_no_precision() -> None:
    result = metrics([[10, 0], [5, 0]])
    assert result.classes["background"] == ClassMetrics(iou=0.0, dice=0.0, precision=None, recall=0.0, pixels=5)
    assert result.mean_iou == (10 / 15 + 0) / 2
    assert result.absent_classes == ()


def test_without_pixels_there_are_no_metrics() -> None:
    result = metrics([[0, 0], [0, 0]])
    assert result.accuracy is None and result.mean_iou is None
    assert result.absent_classes == ("pet", "background")


def test_counts_above_the_precision_of_floats_are_exact() -> None:
    """7349 images of ten megapixels have more pixels than float32 represents exactly, and than int32 can count."""
    many = 2**53
    result = metrics([[many + 1, 1], [0, 2**33 + 1]])
    assert result.confusion == [[many + 1, 1], [0, 2**33 + 1]]
    assert result.classes["pet"].pixels == many + 2
    assert result.classes["background"].iou == (2**33 + 1) / (2**33 + 2)


def test_metrics_can_be_written_as_json() -> None:
    result = metrics([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    loaded = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert loaded["classes"]["border"]["iou"] is None
    assert loaded["confusion"] == result.confusion and loaded["miou"] == result.mean_iou
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.mean_iou = 1.0  # type: ignore[misc]


def mean_iou(confusion: Tensor) -> float:
    value = Metrics.from_confusion(confusion, ["a", "b"], MULTICLASS, 1, "original").mean_iou
    assert value is not None
    return value


def test_mean_iou_is_computed_from_one_matrix_and_not_averaged_over_batches() -> None:
    """In an average, the few pixels of the small batch would count as much as those of the large one."""
    large = MULTICLASS.confusion(torch.tensor([0] * 90 + [1] * 10), torch.tensor([0] * 90 + [1] * 10), 2)
    small = MULTICLASS.confusion(torch.tensor([0, 1]), torch.tensor([1, 0]), 2)
    assert mean_iou(large + small) == (90 / 92 + 10 / 12) / 2 > 0.9
    assert (mean_iou(large) + mean_iou(small)) / 2 == 0.5
    # A class that one image lacks: the average of 1.0 and 0.5 would be 0.75.
    one_class = MULTICLASS.confusion(torch.tensor([0, 0]), torch.tensor([0, 0]), 2)
    other_class = MULTICLASS.confusion(torch.tensor([1, 1]), torch.tensor([1, 0]), 2)
    assert mean_iou(one_class + other_class) == (2 / 3 + 1 / 2) / 2


def test_a_notebook_shows_a_table() -> None:
    shown = metrics([[50, 10, 0], [5, 100, 15], [0, 0, 0]], ["<b>pet", "background", "border"])._repr_html_()
    assert "4 images at the images&#x27; own size; 83.3% of the pixels are correct" in shown
    assert "&lt;b&gt;pet" in shown and "<b>pet" not in shown
    assert ">76.9%</td>" in shown  # the IoU of the pet, 50 of 65 pixels
    absent = metrics([[3, 0], [0, 0]], ["pet", "none"])._repr_html_()
    assert ">–</td>" in absent
