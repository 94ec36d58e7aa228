"""Boundary IoU and boundary F-score against values computed by hand, and against other implementations."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_cdt

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.metrics import _outlines
from pixelwise.metrics._outlines import near_other_label
from pixelwise.metrics.boundary import BoundaryF, BoundaryIoU

CLASSES = ("thing", "rest")


@pytest.mark.parametrize("pixels", [1, 2, 5])
def test_the_boundary_is_what_a_chessboard_distance_gives(pixels: int) -> None:
    region = np.random.default_rng(0).random((40, 50)) < 0.9
    padded = np.pad(region, 1)  # the border of the image is outline, too
    distance = distance_transform_cdt(padded, "chessboard")[1:-1, 1:-1]
    assert ((region & near_other_label(region, pixels)) == (region & (distance <= pixels))).all()


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


def draw_labels(rng: np.random.Generator, classes: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw blocks of labels with ignored blocks."""
    blocks = rng.integers(0, classes + 1, (-(-height // 9), -(-width // 9)), dtype=np.uint8)
    blocks[blocks == classes] = 255
    return np.kron(blocks, np.ones((9, 9), np.uint8))[:height, :width]


def reference_boundary_iou(
    mask: npt.NDArray[np.uint8], prediction: npt.NDArray[np.uint8], label: int, width: float
) -> float:
    """Compute the boundary IoU of a class as Cheng et al. define it: the mask minus its erosion, padded by zeros."""
    pixels = max(1, round(width * np.hypot(*mask.shape)))

    def outline(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        inner = binary_erosion(np.pad(region, 1), np.ones((3, 3)), iterations=pixels)[1:-1, 1:-1]
        return region & ~inner

    one, other = outline(mask == label), outline((prediction == label) & (mask != 255))
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("slab", [1 << 22, 1 << 9], ids=["whole", "in slabs"])
def test_it_equals_the_definition_by_erosion(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outlines, "_SLAB_PIXELS", slab)
    rng = np.random.default_rng(2)
    for height, width in ((90, 70), (7, 200)):
        mask, prediction = draw_labels(rng, 4, height, width), draw_labels(rng, 4, height, width)
        prediction[prediction == 255] = 0
        metric = BoundaryIoU(list("abcd"), MULTICLASS, width=0.03)
        metric.update(torch.from_numpy(mask), torch.from_numpy(prediction))
        values = metric.compute()
        for label, name in enumerate("abcd"):
            expected = reference_boundary_iou(mask, prediction, label, 0.03)
            assert values[f"boundary_iou_{name}"] == pytest.approx(expected, abs=1e-12)


class TestBoundaryF:
    @pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (2, 1.0)])
    def test_a_shift_within_the_tolerance_is_correct(self, shift: int, expected: float) -> None:
        mask, prediction = torch.ones(2, 100, 100, dtype=torch.uint8)  # the tolerance is 1.13 pixels, rounded up to 2
        mask[20:60, 20:60] = 0
        prediction[20:60, 20 + shift : 60 + shift] = 0
        metric = BoundaryF(CLASSES, MULTICLASS)
        metric.update(mask, prediction)
        assert metric.compute()["boundary_f_thing"] == expected

    def test_a_shifted_square_by_hand(self) -> None:
        """Of 156 outline pixels of a square of 40, those of the upper and lower side that overlap are near.

        A shift by 10 leaves 30 pixels of each side on the other outline. A tolerance of 2 adds 2 pixels at the end of
        the side that leaves the other square, and 2 rows of the vertical sides are near the other square's corners.
        """
        mask, prediction = torch.ones(2, 100, 100, dtype=torch.uint8)
        mask[20:60, 20:60] = 0
        prediction[20:60, 30:70] = 0
        metric = BoundaryF(CLASSES, MULTICLASS)
        metric.update(mask, prediction)
        correct, predicted, found, true = metric.state()[0].tolist()
        assert (predicted, true) == (156, 156)
        # The upper side: columns 30 to 59 lie on the other outline, and 60 and 61 are within 2 columns of its end. The
        # left side of the prediction, x = 30, is within 2 rows of the upper and the lower side of the mask: y = 21, 22,
        # 57, 58.
        assert correct == found == 2 * 32 + 4

    @pytest.mark.parametrize("slab", [1 << 22, 1 << 9], ids=["whole", "in slabs"])
    def test_it_equals_dilations_of_each_outline(self, slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_outlines, "_SLAB_PIXELS", slab)
        rng = np.random.default_rng(3)
        mask, prediction = draw_labels(rng, 4, 90, 70), draw_labels(rng, 4, 90, 70)
        prediction[prediction == 255] = 0
        metric = BoundaryF(list("abcd"), MULTICLASS, tolerance=0.02)
        metric.update(torch.from_numpy(mask), torch.from_numpy(prediction))
        predicted = np.where(mask == 255, 255, prediction)

        def outline(labels: npt.NDArray[np.uint8], label: int) -> npt.NDArray[np.bool_]:
            others = (labels != label) & (labels != 255)
            cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])
            return (labels == label) & binary_dilation(others, cross)

        window = np.ones((2 * 3 + 1,) * 2)  # 2 % of the diagonal of 114 pixels, rounded up to 3
        for label in range(4):
            one, other = outline(mask, label), outline(predicted, label)
            correct, found = (other & binary_dilation(one, window)).sum(), (one & binary_dilation(other, window)).sum()
            assert metric.state()[label].tolist() == [correct, other.sum(), found, one.sum()]

    def test_a_missed_class_has_zero_and_an_absent_class_has_none(self) -> None:
        mask = torch.ones(30, 30, dtype=torch.uint8)
        mask[10:20, 10:20] = 0
        metric = BoundaryF(("thing", "rest", "absent"), MULTICLASS)
        metric.update(mask, torch.ones(30, 30, dtype=torch.uint8))
        assert metric.compute()["boundary_f_thing"] == 0.0
        assert metric.compute()["boundary_f_absent"] is None

    def test_the_border_of_the_image_is_no_outline(self) -> None:
        mask, prediction = torch.zeros(2, 40, 40, dtype=torch.uint8)
        metric = BoundaryF(CLASSES, MULTICLASS)
        metric.update(mask, prediction)
        assert metric.compute()["boundary_f"] is None
