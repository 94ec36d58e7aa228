"""TODO: module."""

import torch.nn.functional as F
from torch import Tensor

from pixelwise.losses.base import mean_dice_loss
from pixelwise.palette import IGNORE_INDEX


def sigmoid(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of every class by itself, averaged over classes and over the pixels that are not ignored.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 where the class is, 0 where it is not, 255 to ignore.
        weights: (N, C, H, W) float, or None for 1 everywhere.

    Returns: a scalar, in nats.

    >>> sigmoid(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1]], [[255]]]], dtype=torch.uint8))
    tensor(0.6931)
    """
    counted = mask != IGNORE_INDEX
    loss = F.binary_cross_entropy_with_logits(logits.float(), (mask * counted).float(), weights, reduction="none")
    return (loss * counted).sum() / counted.sum().clamp(min=1)


def sigmoid_dice(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """`sigmoid` plus 1 − the soft Dice coefficient, averaged over the classes present in the batch."""
    counted = mask != IGNORE_INDEX
    share = counted if weights is None else counted * weights
    truth, probability = (mask * counted) * share, logits.float().sigmoid() * share
    axes = (0, 2, 3)
    overlap = (probability * (mask * counted)).sum(axes)
    return sigmoid(logits, mask, weights) + mean_dice_loss(overlap, probability.sum(axes), truth.sum(axes))
