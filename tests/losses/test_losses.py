"""Losses against the tutorial's figures and hand-computed ones, and what every loss must keep to."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixelwise.data.pixel_weights import pixel_weights
from pixelwise.errors import ConfigError
from pixelwise.losses import LOSSES, Loss
from pixelwise.losses.class_weights import compute_class_weights
from pixelwise.losses.multiclass import cross_entropy, cross_entropy_dice, dice, focal, pixel_cross_entropy
from pixelwise.palette import IGNORE_INDEX

CLASSES = ["pet", "background", "border"]
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def no_pixels() -> Tensor:
    raise AssertionError("pixels are counted for 'balanced' alone")


def batch(seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Random logits (2, C, 5, 7) and a mask (2, 5, 7) with every class and some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 5, 7, generator=generator)
    mask = torch.randint(classes, (2, 5, 7), generator=generator, dtype=torch.uint8)
    mask[0, :2] = IGNORE_INDEX
    return logits, mask


def gradient(loss: Loss, logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    leaf = logits.detach().clone().requires_grad_()
    loss(leaf, mask, weights).backward()
    assert leaf.grad is not None
    return leaf.grad


def perfect(mask: Tensor, classes: int = 3) -> Tensor:
    """Logits that are sure of the mask."""
    true = mask[:, None] == torch.arange(classes)[:, None, None]
    return torch.where(true, 30.0, -30.0)


# --- the tutorial's example


def test_the_tutorials_example_exactly() -> None:
    """https://www.tensorflow.org/tutorials/images/segmentation prints [ 3.0485873 30.485874 ]."""
    logits = torch.tensor([[-3.0, 0.0], [-3.0, 0.0]])
    weights = torch.tensor([1.0, 10.0])
    found = pixel_cross_entropy(logits, torch.tensor([0, 0]), weights)
    np.testing.assert_allclose(found, [3.0485873, 30.485874], rtol=1e-7)
    assert found.dtype == torch.float32
    as_image = pixel_cross_entropy(logits.T[None, :, None], torch.zeros(1, 1, 2, dtype=torch.uint8), weights)
    assert torch.equal(as_image.flatten(), found)
    np.testing.assert_allclose(pixel_cross_entropy(logits, torch.tensor([0, 0])), [3.0485873] * 2, rtol=1e-7)
    np.testing.assert_allclose(pixel_cross_entropy(logits, torch.tensor([1, 255])), [0.04858735, 0], rtol=1e-6)


# --- class weights


def test_weights_by_name_sum_to_1_as_in_the_tutorial() -> None:
    """The tutorial: class_weights = tf.constant([2.0, 2.0, 1.0]); class_weights / tf.reduce_sum(class_weights)."""
    weights = compute_class_weights({"background": 2, "pet": 2.0}, CLASSES, no_pixels)
    np.testing.assert_allclose(weights, [0.4, 0.4, 0.2], rtol=1e-7)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(compute_class_weights({"border": 8}, CLASSES, no_pixels), [0.1, 0.1, 0.8], rtol=1e-7)
    np.testing.assert_allclose(
        compute_class_weights({"pet": 0, "background": 1, "border": 3}, CLASSES, no_pixels), [0, 0.25, 0.75]
    )


def test_no_weights_are_none() -> None:
    assert compute_class_weights("none", CLASSES, no_pixels) is None


def test_balanced_weights_go_against_the_pixel_counts() -> None:
    """100, 300 and 600 pixels: 1/100, 1/300, 1/600 are 6/9, 2/9 and 1/9 of their sum."""
    weights = compute_class_weights("balanced", CLASSES, lambda: torch.tensor([100, 300, 600]))
    np.testing.assert_allclose(weights, [6 / 9, 2 / 9, 1 / 9], rtol=1e-6)
    absent = compute_class_weights("balanced", CLASSES, lambda: torch.tensor([100, 0, 300]))
    np.testing.assert_allclose(absent, [0.75, 0, 0.25], rtol=1e-6)
    huge = compute_class_weights("balanced", CLASSES, lambda: torch.tensor([10**11, 10**11, 1]))
    assert abs(float(huge.sum()) - 1) < 1e-6 and huge[2] > 0.999


def test_tempered_weights_go_against_their_square_roots() -> None:
    """100, 400 and 900 pixels: 1/10, 1/20, 1/30 are 6/11, 3/11 and 2/11 of their sum."""
    weights = compute_class_weights("tempered", CLASSES, lambda: torch.tensor([100, 400, 900]))
    np.testing.assert_allclose(weights, [6 / 11, 3 / 11, 2 / 11], rtol=1e-6)
    absent = compute_class_weights("tempered", CLASSES, lambda: torch.tensor([100, 0, 900]))
    np.testing.assert_allclose(absent, [0.75, 0, 0.25], rtol=1e-6)


def test_balanced_classes_count_the_same() -> None:
    """What "balanced" is for: the weighted pixels of each class have the same sum."""
    mask = torch.tensor([[0] * 5 + [1] * 40 + [2] * 15 + [255] * 4]).to(torch.uint8)
    weights = compute_class_weights("balanced", CLASSES, lambda: torch.bincount(mask[mask != 255].long()))
    each = pixel_weights(mask, weights)
    sums = [float(each[mask == index].sum()) for index in range(3)]
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5)
    assert each[mask == 255].sum() == 0


def test_an_unknown_class_name_lists_the_choices() -> None:
    with pytest.raises(ConfigError) as error:
        compute_class_weights({"boarder": 2}, CLASSES, no_pixels)
    assert str(error.value) == (
        "unknown class 'boarder' (did you mean 'border'?); choose from: pet, background, border"
    )


@pytest.mark.parametrize("choice", [dict.fromkeys(CLASSES, 0.0), "balanced"], ids=["named", "balanced"])
def test_weights_that_are_all_zero_are_refused(choice: str | dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="all 0") as error:
        compute_class_weights(choice, CLASSES, lambda: torch.zeros(3, dtype=torch.int64))
    assert "\n" not in str(error.value)


def test_pixels_weigh_what_their_class_does() -> None:
    mask = torch.tensor([[0, 1, 2], [255, 2, 0]], dtype=torch.uint8)
    weights = pixel_weights(mask, torch.tensor([0.5, 0.3, 0.2]))
    assert weights.dtype == torch.float32
    assert torch.equal(weights, torch.tensor([[0.5, 0.3, 0.2], [0.0, 0.2, 0.5]]))


# --- figures by hand

# Two pixels, two classes, both truly of class 0: logits of odds 3 : 1 and 1 : 1, so p is 3/4 and 1/2.
LOGITS = torch.tensor([[[[math.log(3), 0.0]], [[0.0, 0.0]]]])
BOTH_0 = torch.zeros(1, 1, 2, dtype=torch.uint8)
ONE_EACH = torch.tensor([[[0, 1]]], dtype=torch.uint8)


def test_cross_entropy_by_hand() -> None:
    assert cross_entropy(LOGITS, BOTH_0, None).item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)


def test_the_reduction_is_kerass() -> None:
    """The weighted sum over the number of pixels, not over the sum of weights; ignored pixels are no pixels."""
    weights = torch.tensor([[[1.0, 10.0]]])
    expected = (math.log(4 / 3) + 10 * math.log(2)) / 2
    assert cross_entropy(LOGITS, BOTH_0, weights).item() == pytest.approx(expected)
    ignoring = torch.tensor([[[0, 0, 255, 255]]], dtype=torch.uint8)
    longer = torch.cat([LOGITS, LOGITS], dim=3)
    assert cross_entropy(longer, ignoring, weights.repeat(1, 1, 2)).item() == pytest.approx(expected)
    halved = cross_entropy(LOGITS, BOTH_0, weights / 2)
    assert halved.item() == pytest.approx(expected / 2), "weights that are all halved halve the loss"


def test_focal_by_hand() -> None:
    expected = (math.log(4 / 3) / 16 + math.log(2) / 4) / 2
    assert focal(LOGITS, BOTH_0, None).item() == pytest.approx(expected)
    weighted = focal(LOGITS, BOTH_0, torch.tensor([[[3.0, 1.0]]])).item()
    assert weighted == pytest.approx((3 * math.log(4 / 3) / 16 + math.log(2) / 4) / 2)


def test_dice_by_hand() -> None:
    # Class 0: overlap 3/4, predicted 3/4 + 1/2, true 1 → 2·¾ / (5/4 + 1) = 2/3.
    # Class 1: overlap 1/2, predicted 1/4 + 1/2, true 1 → 2·½ / (3/4 + 1) = 4/7.
    assert dice(LOGITS, ONE_EACH, None).item() == pytest.approx(1 - (2 / 3 + 4 / 7) / 2)
    # Class 0 alone is there: overlap 5/4, predicted 5/4, true 2 → 2.5 / 3.25 = 10/13; class 1 does not count.
    assert dice(LOGITS, BOTH_0, None).item() == pytest.approx(1 - 10 / 13)
    # Weights 2 and 1: class 0: 2·1.5 / (2 + 2) = 3/4; class 1: 2·½ / (1 + 1) = 1/2.
    assert dice(LOGITS, ONE_EACH, torch.tensor([[[2.0, 1.0]]])).item() == pytest.approx(1 - (3 / 4 + 1 / 2) / 2)


@pytest.mark.parametrize("weighted", [False, True])
def test_dice_is_that_of_one_hot_masks(weighted: bool) -> None:
    """As the paper writes it, with a map of every class's pixels; the gradients too."""
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
    found = dice(ours, mask, weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    found.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def test_dice_is_over_the_batch_and_not_averaged_over_images() -> None:
    """An image with a pixel of a class counts as that pixel, not as a whole image."""
    logits, mask = batch(3)
    parts = torch.stack([dice(logits[i : i + 1], mask[i : i + 1], None) for i in range(2)]).mean()
    whole = dice(torch.cat([logits[:1], logits[1:]], dim=2), torch.cat([mask[:1], mask[1:]], dim=1), None)
    assert torch.allclose(dice(logits, mask, None).flatten(), whole.flatten())
    assert not torch.allclose(dice(logits, mask, None), parts, atol=1e-4)


def test_cross_entropy_dice_is_their_sum() -> None:
    logits, mask = batch(1)
    assert torch.equal(cross_entropy_dice(logits, mask), cross_entropy(logits, mask) + dice(logits, mask))


def test_weights_leave_cross_entropy_as_large_beside_dice() -> None:
    logits, mask = batch(1)
    weights = pixel_weights(mask, torch.tensor([0.5, 0.3, 0.2]))
    mean = pixel_cross_entropy(logits, mask, weights).sum() / weights.sum()
    for scale in (1.0, 0.01):
        torch.testing.assert_close(cross_entropy_dice(logits, mask, weights * scale), mean + dice(logits, mask))


# --- every loss


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_is_one_finite_number_with_a_finite_gradient(loss: Loss, weighted: bool) -> None:
    for seed, scale in ((0, 1.0), (1, 100.0), (2, 1e4)):
        logits, mask = batch(seed)
        weights = pixel_weights(mask, torch.tensor([0.5, 0.3, 0.2])) if weighted else None
        value = loss(logits * scale, mask, weights)
        assert value.shape == () and value.dtype == torch.float32
        assert torch.isfinite(value) and value > 0
        found = gradient(loss, logits * scale, mask, weights)
        assert torch.isfinite(found).all()
        assert found.abs().sum() > 0 or scale > 1, "at random logits there is something to learn"


@every_loss
def test_ignored_pixels_change_nothing(loss: Loss) -> None:
    """Neither the loss, nor any gradient, whatever stands there; and they are pushed nowhere themselves."""
    logits, mask = batch(0)
    ignored = (mask == IGNORE_INDEX)[:, None].expand_as(logits)
    other = torch.where(ignored, torch.randn(logits.shape) * 50, logits)
    for weights in (None, torch.rand(mask.shape)):
        assert torch.equal(loss(logits, mask, weights), loss(other, mask, weights))
        here, there = gradient(loss, logits, mask, weights), gradient(loss, other, mask, weights)
        assert torch.equal(here, there)
        assert (here[ignored] == 0).all()
        assert (here[~ignored] != 0).any()
    # As though the ignored rows were not there at all.
    cut = loss(logits[:, :, 2:], mask[:, 2:], None)
    mask[1, :2] = IGNORE_INDEX
    assert torch.allclose(loss(logits, mask, None), cut)


@every_loss
def test_perfect_logits_cost_nothing_and_wrong_ones_much(loss: Loss) -> None:
    _, mask = batch(0)
    for weights in (None, torch.rand(mask.shape) / 3, torch.rand(mask.shape) * 10):
        assert abs(loss(perfect(mask), mask, weights)) < 1e-5
    assert loss(perfect((mask + 1) % 3), mask, None) > 0.9
    worse, better = perfect(mask) * 0.01, perfect(mask) * 0.02
    assert loss(better, mask, None) < loss(worse, mask, None)


@every_loss
@pytest.mark.parametrize("weights", [None, torch.ones(2, 5, 7)], ids=["plain", "weighted"])
def test_a_batch_of_ignored_pixels_costs_0(loss: Loss, weights: Tensor | None) -> None:
    logits, mask = batch(0)
    mask.fill_(IGNORE_INDEX)
    assert loss(logits, mask, weights).item() == 0
    assert (gradient(loss, logits, mask, weights) == 0).all()


@every_loss
def test_a_batch_of_weightless_pixels_costs_0(loss: Loss) -> None:
    """A class weight of 0 where an image holds that class alone."""
    logits, mask = batch(0)
    mask.fill_(1)
    weights = pixel_weights(mask, torch.tensor([0.5, 0.0, 0.5]))
    assert loss(logits, mask, weights).item() == 0
    assert (gradient(loss, logits, mask, weights) == 0).all()


@every_loss
def test_weights_of_1_are_no_weights(loss: Loss) -> None:
    logits, mask = batch(0)
    torch.testing.assert_close(loss(logits, mask, torch.ones(mask.shape)), loss(logits, mask, None))


@every_loss
def test_a_weight_of_0_takes_a_classs_pixels_out(loss: Loss) -> None:
    """What is predicted where that class is has no part in the loss, nor a gradient."""
    logits, mask = batch(0)
    weights = pixel_weights(mask, torch.tensor([0.6, 0.0, 0.4]))
    there = (mask == 1)[:, None].expand_as(logits)
    other = torch.where(there, torch.randn(logits.shape) * 20, logits)
    assert torch.equal(loss(logits, mask, weights), loss(other, mask, weights))
    found = gradient(loss, logits, mask, weights)
    assert (found[there] == 0).all() and (found[~there] != 0).any()


@every_loss
def test_a_heavier_class_counts_for_more(loss: Loss) -> None:
    """Its pixels pull harder, against those of the others."""
    logits, mask = batch(0)

    def pull(weight: float) -> float:
        weights = pixel_weights(mask, torch.tensor([1.0, weight, 1.0]) / (2 + weight))
        sums = gradient(loss, logits, mask, weights).abs().sum(1)
        return float(sums[mask == 1].sum() / sums[mask == 0].sum())

    assert pull(0.1) < pull(1.0) < pull(10.0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_logits_of_16_bits_are_computed_in_32(loss: Loss, dtype: torch.dtype) -> None:
    logits, mask = batch(0)
    short = logits.to(dtype)
    value = loss(short, mask, None)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(short.float(), mask, None))
    found = gradient(loss, short, mask)
    assert found.dtype == dtype and torch.isfinite(found).all() and (found != 0).any()


@every_loss
def test_the_gradient_is_that_of_the_loss(loss: Loss) -> None:
    """Along a direction, against a difference of losses."""
    logits, mask = batch(4)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0))
    slope = float((gradient(loss, logits, mask) * direction).sum())
    step = 1e-2
    ahead, behind = loss(logits + step * direction, mask, None), loss(logits - step * direction, mask, None)
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=1e-4)


@every_loss
def test_a_tiny_model_overfits_one_batch(loss: Loss) -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 12, 12)
    mask = torch.zeros(2, 12, 12, dtype=torch.uint8)
    mask[0, 3:9, 2:8], mask[1, :4], mask[1, 9:, 6:] = 1, 2, 1
    mask[0, 0] = IGNORE_INDEX
    model = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 32, 5, padding=2), nn.ReLU())
    model.append(nn.Conv2d(32, 3, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(150):
        value = loss(model(images), mask, None)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    counted = mask != IGNORE_INDEX
    assert (model(images).argmax(1)[counted] == mask[counted]).float().mean() > 0.99
    assert value < 0.05


def test_every_loss_has_a_name_that_a_command_line_takes() -> None:
    assert LOSSES
    for name, loss in LOSSES.items():
        assert name == name.lower() and name.replace("_", "").isalnum()
        assert isinstance(loss, Callable)
