"""Cross-entropy of the hardest pixels."""

import pytest
import torch

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.losses import get_loss
from pixelwise.losses.multilabel import bce
from pixelwise.losses.ohem import ohem, ohem_sigmoid
from tests.losses.helpers import gradient, make_batch


def test_the_hardest_pixels_are_averaged() -> None:
    logits, mask = make_batch(seed=2)
    losses = torch.nn.functional.cross_entropy(logits, mask.long(), ignore_index=255, reduction="none")[mask != 255]
    hardest = losses.sort(descending=True).values
    for fraction in (0.1, 0.25, 0.5):
        count = -int(-len(losses) * fraction // 1)  # rounded up
        assert ohem(logits, mask, fraction=fraction).item() == pytest.approx(hardest[:count].mean().item(), rel=1e-2)


def test_with_all_pixels_it_is_the_cross_entropy() -> None:
    logits, mask = make_batch()
    weights = torch.rand(mask.shape)
    torch.testing.assert_close(
        ohem(logits, mask, weights, fraction=1.0), get_loss("ce", MULTICLASS)(logits, mask, weights)
    )
    logits, mask = make_batch(MULTILABEL)
    torch.testing.assert_close(ohem_sigmoid(logits, mask, fraction=1.0), bce(logits, mask))


def test_easy_pixels_have_no_gradient_and_hard_ones_that_of_the_cross_entropy() -> None:
    for task in (MULTICLASS, MULTILABEL):
        logits, mask = make_batch(task)
        grad = gradient(get_loss("ohem", task), logits, mask)
        full = gradient(get_loss("ce" if task is MULTICLASS else "bce", task), logits, mask)
        kept = (grad.abs().sum(1, keepdim=True) if task is MULTICLASS else grad.abs()) > 0
        values = int((mask != 255).sum())
        assert 0.25 <= int(kept.sum()) / values < 0.3
        torch.testing.assert_close(grad, torch.where(kept, full * values / int(kept.sum()), 0.0))


def test_pixels_with_the_same_probability_are_chosen_together() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
    grad = gradient(ohem, logits, mask)
    assert (grad != 0).all()
