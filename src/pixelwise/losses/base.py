"""The type of a loss, and the part that Dice losses share."""

from collections.abc import Callable

from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(logits (N, C, H, W) float, mask (N, H, W) uint8 with 255 = ignore, pixel weights (N, H, W) float or None)
→ scalar; every loss in LOSSES is one."""


def mean_dice_loss(overlap: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """1 − 2·overlap / (predicted + truth), each (C,) sums over pixels, averaged over the classes that are there."""
    present = truth > 0
    score = 2 * overlap / (predicted + truth).clamp(min=1e-6)
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)
