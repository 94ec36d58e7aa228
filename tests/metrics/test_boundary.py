"""Boundary IoU against values computed by hand and against a distance transform."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_cdt

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.metrics.boundary import BoundaryIoU, boundary

CLASSES = ("thing", "rest")


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_the_boundary_is_what_a_chessboard_distance_gives(pixels: int) -> None:
    region = np.random.default_rng(0).random((40, 50)) < 0.9
    padded = np.pad(region, 1)  # the border of the image is outline, too
    distance = distance_transform_cdt(padded, "chessboard")[1:-1, 1:-1]
    assert (boundary(region, pixels) == (region & (distance <= pixels))).all()


def test_the_outline_of_a_square_by_hand() -> None:
    """A square of 10 pixels has an outline of 36 pixels, which 1 % of the diagonal of 50 x 50 pixels selects."""
    mask, prediction = torch.ones(2, 50, 50, dtype=torch.uint8)
    mask[10:20, 10:20] = 0
    prediction[10:20, 11:21] = 0
    metric = BoundaryIoU(CLASSES, MULTICLASS, width=0.01)
    metric.update(mask, prediction)
    # The two outlines share 9 pixels in each of the upper and the lower row.
    assert metric.compute()["boundary_iou_thing"] == 18 / (36 + 36 - 18)
    assert metric.state()[0].tolist() == [18, 54]


def test_large_objects_are_not_favored() -> None:
    """The same shift by 2 pixels: the IoU grows with the object, the boundary IoU hardly does."""
    values, ious = [], []
    for side in (20, 80):
        mask, prediction = torch.ones(2, 100, 100, dtype=torch.uint8)
        mask[5 : 5 + side, 5 : 5 + side] = 0
        prediction[5 : 5 + side, 7 : 7 + side] = 0
        metric = BoundaryIoU(CLASSES, MULTICLASS)
        metric.update(mask, prediction)
        values.append(metric.compute()["boundary_iou_thing"])
        ious.append(float(((mask == 0) & (prediction == 0)).sum() / ((mask == 0) | (prediction == 0)).sum()))
    assert ious[1] - ious[0] > 0.1
    assert values[0] is not None and values[1] is not None and abs(values[1] - values[0]) < 0.05


def test_the_width_grows_with_the_image() -> None:
    """The same picture at twice the size has the same result."""
    rng = np.random.default_rng(1)
    blocks = rng.integers(0, 2, (2, 5, 5), dtype=np.uint8)
    values = []
    for scale in (40, 80):
        mask, prediction = (torch.from_numpy(np.kron(block, np.ones((scale, scale), np.uint8))) for block in blocks)
        metric = BoundaryIoU(CLASSES, MULTICLASS)
        metric.update(mask, prediction)
        values.append(metric.compute()["boundary_iou"])
    assert values[0] == pytest.approx(values[1], abs=0.01)


def test_it_is_no_function_of_the_confusion_matrix() -> None:
    """The same pixels of a square are missed in its middle, or at its outline."""
    mask = torch.ones(60, 60, dtype=torch.uint8)
    mask[10:50, 10:50] = 0
    inside, outside = mask.clone(), mask.clone()
    inside[25:35, 28:32] = 1
    outside[10:50, 10:11] = 1
    assert torch.equal(MULTICLASS.confusion(mask, inside, 2), MULTICLASS.confusion(mask, outside, 2))
    results = []
    for prediction in (inside, outside):
        metric = BoundaryIoU(("thing",), MULTICLASS)
        metric.update(mask, prediction)
        results.append(metric.state().tolist())
    assert results[0] != results[1]


def test_ignored_pixels_are_cut_out_of_both_outlines() -> None:
    mask, prediction = torch.ones(2, 30, 30, dtype=torch.uint8)
    mask[5:25, 5:15] = prediction[5:25, 5:20] = 0
    mask[5:25, 15:20] = 255
    metric = BoundaryIoU(CLASSES, MULTICLASS)
    metric.update(mask, prediction)
    assert metric.compute()["boundary_iou_thing"] == 1.0


def test_classes_of_multilabel_masks_are_independent() -> None:
    mask, prediction = torch.zeros(2, 2, 30, 30, dtype=torch.uint8)
    mask[0, 5:15] = prediction[0, 5:15] = mask[1, 10:20] = 1
    metric = BoundaryIoU(("one", "two"), MULTILABEL)
    metric.update(mask, prediction)
    assert metric.compute() == {"boundary_iou": 0.5, "boundary_iou_one": 1.0, "boundary_iou_two": 0.0}


def test_an_absent_class_has_no_value() -> None:
    mask = torch.zeros(20, 20, dtype=torch.uint8)
    metric = BoundaryIoU(("all", "absent"), MULTICLASS)
    metric.update(mask, mask)
    assert metric.compute() == {"boundary_iou": 1.0, "boundary_iou_all": 1.0, "boundary_iou_absent": None}
