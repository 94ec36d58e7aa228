"""Marginal losses: values, gradients, and equality with the losses of known pixels."""

import pytest
import torch
from torch import Tensor

from pixelwise.data.partial_labels import FULL_LABELS, PartialLabels
from pixelwise.data.task import MULTICLASS
from pixelwise.losses import get_loss, list_losses
from pixelwise.losses.partial import merge_possible_classes
from tests.losses.helpers import make_batch

# 4: class 0, 2 or 3 is possible. 5: class 0 or 1. 6: class 1 or 3, and 1 is the background.
LABELS = PartialLabels(4, ((0, 2, 3), (0, 1), (1, 3)))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Return logits (2, 4, 5, 7) and a mask with all classes, ignored pixels and pixels with possible classes."""
    logits, mask = make_batch(seed=3, classes=4)
    mask[:, 3] = torch.tensor([4, 5, 6, 4, 5, 6, 4], dtype=torch.uint8)
    return logits, mask


def loss_of(name: str, logits: Tensor, mask: Tensor) -> Tensor:
    return get_loss(name, MULTICLASS)(*merge_possible_classes(logits, mask, LABELS))


def test_the_cross_entropy_is_minus_the_log_of_the_sum_of_probabilities(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    probabilities = logits.double().softmax(1)
    total, count = 0.0, 0
    for image, row, column in (mask != 255).nonzero().tolist():
        value = int(mask[image, row, column])
        classes = LABELS.possible[value - 4] if value >= 4 else (value,)
        total -= float(probabilities[image, list(classes), row, column].sum().log())
        count += 1
    assert loss_of("cross_entropy", logits, mask).item() == pytest.approx(total / count, rel=1e-6)


def test_the_gradient_is_that_of_the_marginal_cross_entropy(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    merged, direct = (logits.clone().requires_grad_() for _ in range(2))
    loss_of("cross_entropy", merged, mask).backward()
    log_p = direct.log_softmax(1)
    table = torch.from_numpy(LABELS.possible_classes)[mask.long()].movedim(-1, 1)
    pixels = -log_p.masked_fill(~table, -torch.inf).logsumexp(1)
    (pixels * (mask != 255)).sum().div((mask != 255).sum()).backward()
    assert merged.grad is not None and direct.grad is not None
    torch.testing.assert_close(merged.grad, direct.grad, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", list_losses(MULTICLASS))
def test_the_gradient_agrees_with_differences(name: str) -> None:
    logits, mask = make_batch(seed=5, classes=4)
    mask = mask[:1, 2:4, :3].clone()
    mask[0, 1] = torch.tensor([4, 5, 6], dtype=torch.uint8)
    small = logits[:1, :, 2:4, :3].double()

    def loss(values: Tensor) -> Tensor:
        return loss_of(name, values, mask)

    leaf = small.clone().requires_grad_()
    loss(leaf).backward()
    assert leaf.grad is not None and leaf.grad.isfinite().all()
    step, direction = 0.02, torch.randn(small.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    slope = (loss(small + step * direction) - loss(small - step * direction)) / (2 * step)  # float32 inside the loss
    assert slope.item() == pytest.approx((leaf.grad * direction).sum().item(), abs=2e-3, rel=2e-2)


@pytest.mark.parametrize("name", list_losses(MULTICLASS))
def test_a_pixel_with_one_possible_class_is_a_known_pixel(name: str, batch: tuple[Tensor, Tensor]) -> None:
    logits, _ = batch
    labels = PartialLabels(4, ((2,),))
    known = make_batch(seed=3, classes=4)[1]
    partial = torch.where(known == 2, 4, known)
    merged = get_loss(name, MULTICLASS)(*merge_possible_classes(logits, partial, labels))
    torch.testing.assert_close(merged, get_loss(name, MULTICLASS)(logits, known), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", list_losses(MULTICLASS))
def test_possible_classes_can_be_exchanged_without_a_change_of_the_loss(name: str) -> None:
    logits, _ = make_batch(seed=7, classes=4)
    mask = torch.full((2, 5, 7), 4, dtype=torch.uint8)
    mask[:, :2] = 1
    exchanged = logits.clone()
    exchanged[:, :, 2:] = logits[:, [2, 1, 3, 0], 2:]
    torch.testing.assert_close(loss_of(name, exchanged, mask), loss_of(name, logits, mask), rtol=1e-5, atol=1e-6)


def test_known_pixels_keep_their_logits_exactly(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    merged, background = merge_possible_classes(logits, mask, LABELS)
    known = (mask < 4) | (mask == 255)
    assert torch.equal(merged.movedim(1, -1)[known], logits.movedim(1, -1)[known])
    assert torch.equal(background[known], mask[known]) and set(background[~known].tolist()) == {0, 1}


def test_the_class_weight_of_the_background_applies(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    logits, mask = merge_possible_classes(logits[:1, :, 3:4], mask[:1, 3:4], LABELS)
    weights = MULTICLASS.pixel_weights(mask, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert weights.flatten().tolist() == pytest.approx([0.1, 0.1, 0.2, 0.1, 0.1, 0.2, 0.1])
    loss = get_loss("cross_entropy", MULTICLASS)
    expected = (torch.nn.functional.cross_entropy(logits, mask.long(), reduction="none") * weights).mean()
    torch.testing.assert_close(loss(logits, mask, weights), expected)


def test_the_tensors_of_a_single_data_set_are_returned_themselves(batch: tuple[Tensor, Tensor]) -> None:
    logits, mask = batch
    same_logits, same_mask = merge_possible_classes(logits, mask, FULL_LABELS)
    assert same_logits is logits and same_mask is mask


def test_half_precision_and_large_logits_stay_finite() -> None:
    logits = (torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * 1000).bfloat16().requires_grad_()
    mask = torch.tensor([[[4, 5, 6], [255, 4, 0], [5, 6, 4]]], dtype=torch.uint8)
    loss = loss_of("cross_entropy_dice", logits, mask)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
