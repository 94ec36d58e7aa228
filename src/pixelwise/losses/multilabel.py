"""Losses for multilabel masks: logits (N, C, H, W), mask (N, C, H, W) with 1 = present, 0 = absent, 255 = ignore."""

import torch.nn.functional as F
from torch import Tensor

from pixelwise.losses.base import LOSSES
from pixelwise.losses.functional import count_pixels
from pixelwise.losses.sigmoid import dice_sigmoid
from pixelwise.palette import IGNORE_INDEX


@LOSSES.register("bce", tasks=("multilabel",))
def bce(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy, averaged over all mask values that are not ignored.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere. They multiply the loss. The average is over the
            number of mask values, not over the sum of the weights.

    Returns:
        A scalar, in nats.

    >>> import torch
    >>> bce(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1]], [[255]]]], dtype=torch.uint8))
    tensor(0.6931)
    """
    counted = mask != IGNORE_INDEX
    target = (mask * counted).float()
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, pixel_weights, reduction="none")
    return (loss * counted).sum() / count_pixels(mask)


@LOSSES.register("bce_dice", tasks=("multilabel",))
def bce_dice(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the sum of `bce` and the soft Dice loss.

    The Dice loss is 1 − the soft Dice coefficient, averaged over the classes that are present in the batch.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.

    Returns:
        A scalar.
    """
    return bce(logits, mask, pixel_weights) + dice_sigmoid(logits, mask, pixel_weights)
