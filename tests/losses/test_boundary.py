"""The boundary loss: distances against scipy, and values computed by hand."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from pixelwise.losses.boundary import _squared_distances, boundary, boundary_sigmoid

CONFIDENT = 60.0


@pytest.mark.parametrize("max_distance", [1.0, 4.5, 11.0])
@pytest.mark.parametrize("size", [(40, 33), (1, 20), (3, 2)], ids=str)
def test_distances_are_euclidean_up_to_the_maximum(size: tuple[int, int], max_distance: float) -> None:
    region = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)) < 0.02
    squares = _squared_distances(region, max_distance)
    assert squares.dtype == torch.uint8
    for index in np.ndindex(2, 3):
        expected = distance_transform_edt(~region[index].numpy()) if region[index].any() else np.full(size, np.inf)
        actual = squares[index].double().sqrt().clamp(max=max_distance)
        np.testing.assert_allclose(actual, np.minimum(expected, max_distance))


def confident(prediction: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.where(prediction[:, None] == torch.arange(classes)[:, None, None], CONFIDENT, -CONFIDENT)


def test_errors_far_from_the_boundary_cost_more() -> None:
    """Left half class 0, right half class 1. One wrong pixel at each distance from the boundary."""
    mask = torch.zeros(1, 5, 20, dtype=torch.uint8)
    mask[..., 10:] = 1
    costs = []
    for column in (9, 8, 7, 0):
        prediction = mask.clone()
        prediction[0, 2, column] = 1
        costs.append(boundary(confident(prediction, 2), mask).item() * 100)
    # Distances d from the edge: class 0 lacks the pixel at d, class 1 has it too much at d.
    assert costs == pytest.approx([2 * 0.5, 2 * 1.5, 2 * 2.5, 2 * 4.5])


def test_a_class_that_is_not_in_the_image_has_the_maximum_distance() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
    prediction = torch.full_like(mask, 2)
    assert boundary(confident(prediction, 3), mask, max_distance=3).item() == pytest.approx(2.5 + 2.5)


def test_ignored_pixels_belong_to_no_class() -> None:
    mask = torch.tensor([[[0, 255, 255, 1]]], dtype=torch.uint8)
    prediction = torch.tensor([[[1, 1, 0, 1]]])
    # The nearest pixel of class 1 is three pixels away from the wrong one.
    assert boundary(confident(prediction, 2), mask).item() == pytest.approx((2.5 + 2.5) / 2)


def test_channels_of_multilabel_masks_by_hand() -> None:
    mask = torch.tensor([[[[0, 0, 1, 1, 255]], [[1, 1, 1, 1, 1]]]], dtype=torch.uint8)
    logits = torch.where(mask == 1, CONFIDENT, -CONFIDENT)
    assert boundary_sigmoid(logits, mask).item() == pytest.approx(0, abs=1e-6)
    logits[0, 0, 0, 0] = CONFIDENT  # two pixels from the class, which is a distance of 1.5 from its edge
    logits[0, 1, 0, 0] = -CONFIDENT  # no pixel without the class
    assert boundary_sigmoid(logits, mask).item() == pytest.approx((1.5 + 4.5) / 9)
    weights = torch.full(mask.shape, 2.0)
    assert boundary_sigmoid(logits, mask, weights).item() == pytest.approx(2 * (1.5 + 4.5) / 9)
