"""Class weights: expected values are computed by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise.data.task import MULTICLASS
from pixelwise.errors import ConfigError
from pixelwise.losses.class_weights import check_class_weights, compute_class_weights

CLASSES = ["pet", "background", "border"]


def no_pixels() -> Tensor:
    raise AssertionError("pixels must not be counted for this setting")


def compute(choice: str | dict[str, float], *pixels: int) -> Tensor:
    weights = compute_class_weights(choice, CLASSES, (lambda: torch.tensor(pixels)) if pixels else no_pixels)
    assert weights is not None and weights.dtype == torch.float32
    return weights


def test_weights_by_name_sum_to_1_as_in_the_tutorial() -> None:
    """The tutorial: class_weights = tf.constant([2.0, 2.0, 1.0]); class_weights / tf.reduce_sum(class_weights)."""
    np.testing.assert_allclose(compute({"background": 2, "pet": 2.0}), [0.4, 0.4, 0.2], rtol=1e-7)
    np.testing.assert_allclose(compute({"border": 8}), [0.1, 0.1, 0.8], rtol=1e-7)
    np.testing.assert_allclose(compute({"pet": 0, "background": 1, "border": 3}), [0, 0.25, 0.75])


def test_no_weights_are_none() -> None:
    assert compute_class_weights("none", CLASSES, no_pixels) is None


def test_balanced_weights_are_inverse_pixel_counts() -> None:
    """100, 300 and 600 pixels: 1/100, 1/300, 1/600 are 6/9, 2/9 and 1/9 of their sum."""
    np.testing.assert_allclose(compute("balanced", 100, 300, 600), [6 / 9, 2 / 9, 1 / 9], rtol=1e-6)
    np.testing.assert_allclose(compute("balanced", 100, 0, 300), [0.75, 0, 0.25], rtol=1e-6)
    huge = compute("balanced", 10**11, 10**11, 1)
    assert abs(float(huge.sum()) - 1) < 1e-6 and huge[2] > 0.999


def test_inverse_sqrt_weights_are_inverse_square_roots() -> None:
    """100, 400 and 900 pixels: 1/10, 1/20, 1/30 are 6/11, 3/11 and 2/11 of their sum."""
    np.testing.assert_allclose(compute("inverse_sqrt", 100, 400, 900), [6 / 11, 3 / 11, 2 / 11], rtol=1e-6)
    np.testing.assert_allclose(compute("inverse_sqrt", 100, 0, 900), [0.75, 0, 0.25], rtol=1e-6)


def test_balanced_classes_have_the_same_total_weight() -> None:
    mask = torch.tensor([[0] * 5 + [1] * 40 + [2] * 15 + [255] * 4]).to(torch.uint8)
    weights = compute("balanced", *torch.bincount(mask[mask != 255].long()).tolist())
    per_pixel = MULTICLASS.pixel_weights(mask, weights)
    sums = [float(per_pixel[mask == index].sum()) for index in range(3)]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5)
    assert per_pixel[mask == 255].sum() == 0


def test_an_unknown_class_name_lists_the_choices() -> None:
    expected = "unknown class 'boarder' (did you mean 'border'?); choose from: pet, background, border"
    for function in (compute, lambda choice: check_class_weights(choice, CLASSES)):
        with pytest.raises(ConfigError) as error:
            function({"boarder": 2})
        assert str(error.value) == expected


@pytest.mark.parametrize("choice", [dict.fromkeys(CLASSES, 0.0), "balanced"], ids=["named", "balanced"])
def test_weights_that_are_all_zero_are_refused(choice: str | dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="`class_weights` are all 0") as error:
        compute(choice, 0, 0, 0)
    assert "\n" not in str(error.value)
