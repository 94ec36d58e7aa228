"""Losses of multiclass masks against TensorFlow's tutorial and values computed by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixelwise.data.task import MULTICLASS
from pixelwise.losses.functional import pixel_cross_entropy
from pixelwise.losses.multiclass import cross_entropy, cross_entropy_dice, dice, focal, tversky
from pixelwise.training.repeatable import repeatable
from tests.losses.helpers import make_batch


def test_the_example_of_the_tutorial() -> None:
    """https://www.tensorflow.org/tutorials/images/segmentation prints [ 3.0485873 30.485874 ]."""
    logits = torch.tensor([[-3.0, 0.0], [-3.0, 0.0]])
    weights = torch.tensor([1.0, 10.0])
    loss = pixel_cross_entropy(logits, torch.tensor([0, 0]), weights)
    np.testing.assert_allclose(loss, [3.0485873, 30.485874], rtol=1e-7)
    assert loss.dtype == torch.float32
    as_image = pixel_cross_entropy(logits.T[None, :, None], torch.zeros(1, 1, 2, dtype=torch.uint8), weights)
    assert torch.equal(as_image.flatten(), loss)
    np.testing.assert_allclose(pixel_cross_entropy(logits, torch.tensor([0, 0])), [3.0485873] * 2, rtol=1e-7)
    np.testing.assert_allclose(pixel_cross_entropy(logits, torch.tensor([1, 255])), [0.04858735, 0], rtol=1e-6)


# Two pixels and two classes. The probability of class 0 is 3/4 and 1/2.
LOGITS = torch.tensor([[[[math.log(3), 0.0]], [[0.0, 0.0]]]])
BOTH_0 = torch.zeros(1, 1, 2, dtype=torch.uint8)
ONE_EACH = torch.tensor([[[0, 1]]], dtype=torch.uint8)


def test_cross_entropy_by_hand() -> None:
    assert cross_entropy(LOGITS, BOTH_0, None).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_the_reduction_is_that_of_keras() -> None:
    """The weighted sum is divided by the number of pixels that are not ignored, not by the sum of weights."""
    weights = torch.tensor([[[1.0, 10.0]]])
    expected = (math.log(4 / 3) + 10 * math.log(2)) / 2
    assert cross_entropy(LOGITS, BOTH_0, weights).item() == pytest.approx(expected)
    ignoring = torch.tensor([[[0, 0, 255, 255]]], dtype=torch.uint8)
    longer = torch.cat([LOGITS, LOGITS], dim=3)
    assert cross_entropy(longer, ignoring, weights.repeat(1, 1, 2)).item() == pytest.approx(expected)
    halved = cross_entropy(LOGITS, BOTH_0, weights / 2)
    assert halved.item() == pytest.approx(expected / 2)


def test_cross_entropy_has_no_sum_in_deterministic_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, mask = make_batch(MULTICLASS)
    expected, reductions = cross_entropy(logits, mask), []
    original: Callable[..., torch.Tensor] = F.cross_entropy

    def record(*arguments: torch.Tensor, reduction: str, ignore_index: int) -> torch.Tensor:
        reductions.append(reduction)
        return original(*arguments, reduction=reduction, ignore_index=ignore_index)

    monkeypatch.setattr(F, "cross_entropy", record)
    with repeatable(True, torch.device("cpu")):
        torch.testing.assert_close(cross_entropy(logits, mask), expected)
    assert reductions == ["none"], "torch's sum on a GPU is not deterministic"


def test_focal_by_hand() -> None:
    expected = (math.log(4 / 3) / 16 + math.log(2) / 4) / 2
    assert focal(LOGITS, BOTH_0, None).item() == pytest.approx(expected)
    weighted = focal(LOGITS, BOTH_0, torch.tensor([[[3.0, 1.0]]])).item()
    assert weighted == pytest.approx((3 * math.log(4 / 3) / 16 + math.log(2) / 4) / 2)


def test_dice_by_hand() -> None:
    # Class 0: overlap 3/4, predicted 3/4 + 1/2, true 1 → 2·¾ / (5/4 + 1) = 2/3.
    # Class 1: overlap 1/2, predicted 1/4 + 1/2, true 1 → 2·½ / (3/4 + 1) = 4/7.
    assert dice(LOGITS, ONE_EACH, None).item() == pytest.approx(1 - (2 / 3 + 4 / 7) / 2)
    # Only class 0 is present: overlap 5/4, predicted 5/4, true 2 → 2.5 / 3.25 = 10/13.
    assert dice(LOGITS, BOTH_0, None).item() == pytest.approx(1 - 10 / 13)
    # Weights 2 and 1: class 0: 2·1.5 / (2 + 2) = 3/4; class 1: 2·½ / (1 + 1) = 1/2.
    assert dice(LOGITS, ONE_EACH, torch.tensor([[[2.0, 1.0]]])).item() == pytest.approx(1 - (3 / 4 + 1 / 2) / 2)


@pytest.mark.parametrize("weighted", [False, True])
def test_dice_equals_that_of_one_hot_masks(weighted: bool) -> None:
    """The formula of the paper, with a map of the pixels of each class. Gradients are equal, too."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 9, 7, generator=generator).contiguous(memory_format=torch.channels_last)
    mask = torch.randint(0, 3, (2, 9, 7), generator=generator).to(torch.uint8)  # the last class is absent
    mask[0, :2] = 255
    weights = torch.rand(2, 9, 7, generator=generator) if weighted else None
    counted = (mask != 255).float() * (1.0 if weights is None else weights)
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    probability = plain.softmax(1) * counted[:, None]
    truth = F.one_hot((mask * (mask != 255)).long(), 4).movedim(-1, 1)
    overlap = (probability * truth).sum((0, 2, 3))
    score = 2 * overlap / (probability.sum((0, 2, 3)) + (truth * counted[:, None]).sum((0, 2, 3)))
    expected = 1 - score[:3].mean()
    loss = dice(ours, mask, weights)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_dice_is_computed_over_the_batch_and_not_averaged_over_images() -> None:
    logits, mask = make_batch(seed=3)
    parts = torch.stack([dice(logits[i : i + 1], mask[i : i + 1], None) for i in range(2)]).mean()
    joined = dice(torch.cat([logits[:1], logits[1:]], dim=2), torch.cat([mask[:1], mask[1:]], dim=1), None)
    assert torch.allclose(dice(logits, mask, None).flatten(), joined.flatten())
    assert not torch.allclose(dice(logits, mask, None), parts, atol=1e-4)


def test_cross_entropy_dice_is_their_sum() -> None:
    logits, mask = make_batch(seed=1)
    assert torch.equal(cross_entropy_dice(logits, mask), cross_entropy(logits, mask) + dice(logits, mask))


def test_weights_do_not_change_the_scale_of_cross_entropy_beside_dice() -> None:
    logits, mask = make_batch(seed=1)
    weights = MULTICLASS.pixel_weights(mask, torch.tensor([0.5, 0.3, 0.2]))
    mean = pixel_cross_entropy(logits, mask, weights).sum() / weights.sum()
    for scale in (1.0, 0.01):
        torch.testing.assert_close(cross_entropy_dice(logits, mask, weights * scale), mean + dice(logits, mask))


def test_tversky_by_hand() -> None:
    # Class 0: overlap 3/4, false positives 1/2, false negatives 1/4. Class 1: overlap 1/2, 1/4 and 1/2.
    alpha, beta = 0.2, 0.9
    first = 3 / 4 / (3 / 4 + alpha / 2 + beta / 4)
    second = 1 / 2 / (1 / 2 + alpha / 4 + beta / 2)
    assert tversky(LOGITS, ONE_EACH, alpha=alpha, beta=beta).item() == pytest.approx(1 - (first + second) / 2)


def test_focal_with_another_exponent_by_hand() -> None:
    expected = (math.log(4 / 3) / 64 + math.log(2) / 8) / 2
    assert focal(LOGITS, BOTH_0, gamma=3.0).item() == pytest.approx(expected)
