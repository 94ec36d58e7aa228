"""The Lovász loss against its definition, computed by sorting."""

import pytest
import torch
from torch import Tensor

from pixelwise.losses.lovasz import lovasz, lovasz_sigmoid
from tests.losses.helpers import make_batch


def exact(errors: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the Lovász extension of 1 − IoU: algorithm 1 of Berman et al. 2018, with weights. All are (P,) float64."""
    order = errors.detach().argsort(descending=True)
    positive, negative = (truth * weights)[order], ((1 - truth) * weights)[order]
    total = positive.sum()
    cost = 1 - (total - positive.cumsum(0)) / (total + negative.cumsum(0))
    return (errors[order] * cost.diff(prepend=cost.new_zeros(1))).sum()


def exact_softmax(logits: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    counted = mask != 255
    probability = logits.double().softmax(1).movedim(1, -1)[counted]
    classes = mask[counted].unique().tolist()
    losses = []
    for index in classes:
        truth = (mask[counted] == index).double()
        losses.append(exact((truth - probability[:, index]).abs(), truth, weights[counted].double()))
    return torch.stack(losses).mean()


def large_batch(seed: int, absent: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (2, 4, 30, 41), of which some pixels agree exactly, a mask with ignored pixels, and weights."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 30, 41, generator=generator) * 3
    logits[:, :, :4] = logits[:, :, :1, :1]
    mask = torch.randint(3 if absent else 4, (2, 30, 41), generator=generator, dtype=torch.uint8)
    mask[1, 20:] = 255
    return logits, mask, torch.rand(mask.shape, generator=generator) * 2


@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_are_those_of_sorting(weighted: bool, absent: bool) -> None:
    logits, mask, weights = large_batch(3, absent)
    binned, sorted_ = (logits.clone().requires_grad_() for _ in range(2))
    value = lovasz(binned, mask, weights if weighted else None)
    expected = exact_softmax(sorted_, mask, weights if weighted else torch.ones_like(weights))
    assert value.item() == pytest.approx(expected.item(), abs=1e-4)
    value.backward()
    expected.backward()
    assert binned.grad is not None and sorted_.grad is not None
    # Equal errors have no order of their own. There, each order is a subgradient, and ours is their mean.
    one, other = binned.grad[:, :, 4:], sorted_.grad[:, :, 4:]
    assert (one - other).norm() < 0.02 * other.norm()


def test_the_loss_of_each_image_is_averaged() -> None:
    logits, mask, _ = large_batch(5)
    alone = torch.stack([lovasz(logits[i : i + 1], mask[i : i + 1]) for i in range(2)]).mean()
    torch.testing.assert_close(lovasz(logits, mask, per_image=True), alone)
    assert not torch.isclose(lovasz(logits, mask), alone, atol=1e-4)
    mask[1] = 255  # an image without labels does not count
    torch.testing.assert_close(lovasz(logits, mask, per_image=True), lovasz(logits[:1], mask[:1]))


def test_groups_beyond_the_precision_of_float32_are_apart() -> None:
    """9,000 groups of 1024 bins. A probability of 1 is in the last bin of its group."""
    images = 3000
    mask = torch.arange(images, dtype=torch.uint8).remainder(3)[:, None, None].expand(images, 1, 2)
    predicted = torch.stack([mask[:, 0, 0], (mask[:, 0, 1] + 1).remainder(3)], 1)[:, None].long()
    logits = torch.full((images, 3, 1, 2), -60.0).scatter_(1, predicted[:, None], 60.0)
    value = lovasz(logits, mask, per_image=True)
    # One of the two pixels of each image is wrong: the IoU of the class is 1/2.
    assert value.item() == pytest.approx(0.5, abs=1e-4)
    channels = (mask[:, None] == torch.arange(3)[:, None, None]).to(torch.uint8)
    assert lovasz_sigmoid(logits, channels, per_image=True).item() == pytest.approx(0.5, abs=1e-4)


def test_the_sigmoid_version_is_the_mean_over_classes() -> None:
    logits, mask, _ = large_batch(7)
    channels = (
        (mask[:, None] == torch.arange(4)[:, None, None]).to(torch.uint8).masked_fill((mask == 255)[:, None], 255)
    )
    channels[:, 3] *= 0  # a class without pixels
    counted = mask != 255
    losses = []
    for index in range(3):
        truth = (mask[counted] == index).double()
        errors = (truth - logits[:, index][counted].double().sigmoid()).abs()
        losses.append(exact(errors, truth, torch.ones_like(truth)))
    value = lovasz_sigmoid(logits, channels)
    assert value.item() == pytest.approx(torch.stack(losses).mean().item(), abs=1e-4)


def test_a_confident_mask_gives_1_minus_the_mean_iou() -> None:
    _, mask = make_batch()
    prediction = mask.roll(1, dims=2).clamp(max=2)
    logits = torch.where(prediction[:, None] == torch.arange(3)[:, None, None], 30.0, -30.0)
    counted = mask != 255
    ious = []
    for index in range(3):
        one, other = ((values[counted] == index) for values in (prediction, mask))
        ious.append((one & other).sum() / (one | other).sum())
    assert lovasz(logits, mask).item() == pytest.approx(1 - torch.stack(ious).mean().item(), abs=1e-5)
