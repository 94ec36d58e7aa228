"""Losses of multilabel masks: expected values are computed by hand."""

import numpy as np
import pytest
import torch

from pixelwise.losses.multilabel import bce, bce_dice

LOGITS = torch.tensor([[[[0.0, 2.0]], [[-1.0, 50.0]]]])
MASK = torch.tensor([[[[1, 0]], [[0, 255]]]], dtype=torch.uint8)
EXPECTED = (np.log(2) + np.log1p(np.exp(2.0)) + np.log1p(np.exp(-1.0))) / 3


def test_bce_by_hand() -> None:
    assert bce(LOGITS, MASK).item() == pytest.approx(EXPECTED, rel=1e-6)
    doubled = bce(LOGITS, MASK, torch.full(MASK.shape, 2.0))
    assert doubled.item() == pytest.approx(2 * EXPECTED, rel=1e-6)


def test_bce_dice_by_hand() -> None:
    # Class 0: overlap 1/2, predicted 1/2 + p(2), true 1. Class 1 has no true pixel and does not count.
    p = 1 / (1 + np.exp(-2.0))
    score = 2 * 0.5 / (0.5 + p + 1)
    assert bce_dice(LOGITS, MASK).item() == pytest.approx(EXPECTED + 1 - score, rel=1e-6)


def test_every_class_counts_the_same_in_dice() -> None:
    """A class with one pixel and a class with four: the part of Dice is the mean of their two scores."""
    mask = torch.zeros(1, 2, 2, 4, dtype=torch.uint8)
    mask[0, 0, 0, 0], mask[0, 1, 0] = 1, 1
    logits = torch.zeros(1, 2, 2, 4)
    scores = [2 * 0.5 / (4 + 1), 2 * 2 / (4 + 4)]
    dice = bce_dice(logits, mask) - bce(logits, mask)
    assert dice.item() == pytest.approx(1 - sum(scores) / 2, rel=1e-5)
