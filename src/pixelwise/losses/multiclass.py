"""TODO: module."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.losses.base import mean_dice_loss
from pixelwise.palette import IGNORE_INDEX


def pixel_cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sparse cross-entropy from logits of each pixel, times its weight; 0 where the mask says ignore.

    Args:
        logits: (N, C, ...) float, any real values.
        mask: (N, ...) integer class indices in 0..C-1, or 255 to ignore.
        weights: (N, ...) float, or None for 1 everywhere.

    Returns: (N, ...) float32, in nats.

    The tutorial's example (https://www.tensorflow.org/tutorials/images/segmentation):

    >>> logits = torch.tensor([[-3.0, 0.0], [-3.0, 0.0]])
    >>> pixel_cross_entropy(logits, torch.tensor([0, 0]), torch.tensor([1.0, 10.0]))
    tensor([ 3.0486, 30.4859])
    """
    loss = F.cross_entropy(logits.float(), mask.long(), ignore_index=IGNORE_INDEX, reduction="none")
    return loss if weights is None else loss * weights


def cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of `pixel_cross_entropy` over the pixels that are not ignored.

    As in Keras, weights scale the sum and not the count they are divided by.
    """
    counted = (mask != IGNORE_INDEX).sum().clamp(min=1)
    if weights is None:  # summed as it goes, without a map of every pixel's loss
        return F.cross_entropy(logits.float(), mask.long(), ignore_index=IGNORE_INDEX, reduction="sum") / counted
    return pixel_cross_entropy(logits, mask, weights).sum() / counted


def dice(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """1 − the soft Dice coefficient, averaged over the classes present in the batch, in [0, 1].

    Milletari et al. 2016, "V-Net". Each class counts the same however few its pixels are.
    """
    counted = mask != IGNORE_INDEX
    share = (counted if weights is None else counted * weights).float()
    label = mask.long() * counted
    probability = logits.float().softmax(1)
    # No map of every class's pixels: at 384 px and 11 classes that took as long as the rest of a training step.
    own = probability.gather(1, label[:, None])[:, 0] * share
    none = torch.zeros(logits.shape[1], device=logits.device)
    overlap, truth = (none.index_add(0, label.flatten(), each.flatten()) for each in (own, share))
    predicted = torch.bmm(probability.flatten(2), share.flatten(1)[:, :, None]).sum((0, 2))
    return mean_dice_loss(overlap, predicted, truth)


def cross_entropy_dice(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy plus Dice: each pixel counts, and each class does.

    Weights go into the cross-entropy, here a weighted mean, so that neither part outgrows the other. To Dice, in which
    classes count the same as it is, they only say which pixels have none.
    """
    if weights is None:
        return cross_entropy(logits, mask) + dice(logits, mask)
    total = (weights * (mask != IGNORE_INDEX)).sum().clamp(min=1e-6)
    return pixel_cross_entropy(logits, mask, weights).sum() / total + dice(logits, mask, (weights > 0).float())


def focal(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy times (1 − p)², p the probability given to the true class: hard pixels count for more.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", with its exponent 2.
    """
    loss = pixel_cross_entropy(logits, mask)
    loss = (1 - torch.exp(-loss)) ** 2 * loss
    counted = (mask != IGNORE_INDEX).sum().clamp(min=1)
    return (loss if weights is None else loss * weights).sum() / counted
