"""Mask values of pixels with several possible classes."""

import numpy as np
import pytest
import torch

from pixelwise.data.partial_labels import FULL_LABELS, PartialLabels
from pixelwise.errors import DataError

# 4: background or disc. 5: background or square. 6: disc or star.
LABELS = PartialLabels(4, ((0, 2), (0, 1), (2, 3)))


def test_pixels_with_several_possible_classes_are_background() -> None:
    mask = np.array([[0, 1, 2, 3], [4, 5, 6, 255]], np.uint8)
    assert LABELS.to_background(mask).tolist() == [[0, 1, 2, 3], [0, 0, 2, 255]]
    assert LABELS.to_background(mask).dtype == np.uint8


def test_pixel_counts_are_added_to_the_background() -> None:
    counts = np.zeros(256, np.int64)
    counts[[0, 1, 4, 5, 6, 255]] = 10, 20, 1, 2, 3, 99
    total = LABELS.count_as_background(counts)
    assert total[:7].tolist() == [13, 20, 3, 0, 0, 0, 0] and total[255] == 99 and total.dtype == np.int64


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, [0] * 4), (1, [1] * 4), (4, [0, 0, 255, 0]), (5, [0, 255, 0, 0]), (6, [2, 2, 2, 255]), (255, [255] * 4)],
)  # fmt: skip
def test_a_predicted_class_that_may_be_right_is_not_counted(value: int, expected: list[int]) -> None:
    mask, prediction = torch.full((1, 1, 4), value, dtype=torch.uint8), torch.arange(4, dtype=torch.uint8)[None, None]
    comparable = LABELS.to_comparable(mask, prediction)
    assert comparable.tolist() == [[expected]] and comparable.dtype == torch.uint8


def test_large_masks_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 7, (3, 5, 7), generator=generator, dtype=torch.uint8)
    prediction = torch.randint(0, 4, (3, 5, 7), generator=generator, dtype=torch.uint8)
    expected = LABELS.to_comparable(mask, prediction)
    monkeypatch.setattr("pixelwise.data.partial_labels._COMPARED_PIXELS", 4)
    assert torch.equal(LABELS.to_comparable(mask, prediction), expected)


def test_masks_of_a_single_data_set_are_returned_themselves() -> None:
    mask, tensor = np.array([0, 7, 255], np.uint8), torch.tensor([0, 7, 255]).byte()
    assert FULL_LABELS.to_background(mask) is mask
    assert FULL_LABELS.to_comparable(tensor, tensor) is tensor
    counts = np.arange(256)
    assert FULL_LABELS.count_as_background(counts) is counts


def test_values_must_stay_below_255() -> None:
    PartialLabels(253, ((0, 1), (0, 2)))
    with pytest.raises(DataError, match="253 classes and 3 different lists"):
        PartialLabels(253, ((0, 1), (0, 2), (0, 3)))
