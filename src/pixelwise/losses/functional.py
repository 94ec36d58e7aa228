"""Functions that several losses share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.palette import IGNORE_INDEX


def count_pixels(mask: Tensor) -> Tensor:
    """Count the mask values that are not ignored. Return a scalar tensor, at least 1."""
    return (mask != IGNORE_INDEX).sum().clamp(min=1)


def mask_weights(mask: Tensor, pixel_weights: Tensor | None) -> Tensor:
    """Return the weight of each mask value. Ignored values have the weight 0.

    Args:
        mask: uint8 of any shape, 255 = ignore.
        pixel_weights: float in the shape of the mask, or None for 1 everywhere.

    Returns:
        float32 in the shape of the mask.
    """
    counted = mask != IGNORE_INDEX
    return (counted if pixel_weights is None else counted * pixel_weights).float()


def pixel_cross_entropy(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of each pixel times its weight. Ignored pixels have 0.

    Args:
        logits: (N, C, ...) float, any real values.
        mask: (N, ...) integer class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, ...) float, or None for 1 everywhere.

    Returns:
        (N, ...) float32, in nats.

    The example of TensorFlow's tutorial (https://www.tensorflow.org/tutorials/images/segmentation):

    >>> logits = torch.tensor([[-3.0, 0.0], [-3.0, 0.0]])
    >>> pixel_cross_entropy(logits, torch.tensor([0, 0]), torch.tensor([1.0, 10.0]))
    tensor([ 3.0486, 30.4859])
    """
    loss = F.cross_entropy(logits.float(), mask.long(), ignore_index=IGNORE_INDEX, reduction="none")
    return loss if pixel_weights is None else loss * pixel_weights


def binary_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the binary cross-entropy of each value of a multilabel mask. Ignored values count as absent.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.

    Returns:
        (N, C, H, W) float32, in nats.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), (mask == 1).float(), reduction="none")


def class_indices(mask: Tensor) -> Tensor:
    """Return a multiclass mask as int64. Ignored pixels have the index 0."""
    return mask.long().masked_fill(mask == IGNORE_INDEX, 0)


def sum_by_class(values: Tensor, label: Tensor, classes: int) -> Tensor:
    """Return the sum of the values of the pixels of each class.

    Args:
        values: (N, H, W) float.
        label: (N, H, W) int64 class indices.
        classes: the number C of classes.

    Returns:
        (C,) float.
    """
    return torch.zeros(classes, device=values.device).index_add(0, label.flatten(), values.flatten())


def weighted_sum(maps: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of each class's map times the weights.

    Args:
        maps: (N, C, H, W) float.
        weight: (N, H, W) float.

    Returns:
        (C,) float.
    """
    return torch.bmm(maps.flatten(2), weight.flatten(1)[:, :, None]).sum((0, 2))


def subtract_one_hot(probability: Tensor, label: Tensor) -> Tensor:
    """Return the probabilities minus the one-hot map of the labels, without making the map.

    Args:
        probability: (N, C, H, W) float.
        label: (N, 1, H, W) int64 class indices.

    Returns:
        (N, C, H, W) float.
    """
    minus_one = torch.tensor(-1.0, dtype=probability.dtype, device=probability.device)
    return probability.scatter_add(1, label, minus_one.expand_as(label))


def mean_over_present(score: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of 1 − score over the classes that are present in the mask.

    Args:
        score: (C,) overlap of prediction and mask for each class, in [0, 1].
        truth: (C,) number of pixels, or sum of pixel weights, of each class in the mask.

    Returns:
        A scalar, 0 if no class is present.
    """
    present = truth > 0
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)


def tversky_score(overlap: Tensor, predicted: Tensor, truth: Tensor, alpha: float, beta: float) -> Tensor:
    """Return the soft Tversky index of each class, overlap / (overlap + alpha·false positives + beta·false negatives).

    Args:
        overlap: see `dice_score`.
        predicted: see `dice_score`.
        truth: see `dice_score`.
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, 0 or more.

    Returns:
        (C,) indices in [0, 1].
    """
    errors = alpha * (predicted - overlap) + beta * (truth - overlap)
    return overlap / (overlap + errors).clamp(min=1e-6)


def focus(loss: Tensor, gamma: float) -> Tensor:
    """Return cross-entropies times (1 − p)^gamma, with p = exp(−loss) the probability of the true class."""
    # The base must be above 0. At 0 and with gamma < 1, the gradient of the power is infinite, and the gradients of
    # ignored pixels would be NaN.
    return (1 - torch.exp(-loss)).clamp(min=1e-8) ** gamma * loss


def dice_score(overlap: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the soft Dice coefficient of each class, 2·overlap / (predicted + truth).

    Args:
        overlap: (C,) sum of the predicted probabilities over the pixels that have the class in the mask.
        predicted: (C,) sum of the predicted probabilities over all pixels.
        truth: (C,) number of pixels of each class in the mask. Pixel weights, if any, are factors in all three sums.

    Returns:
        (C,) coefficients in [0, 1].
    """
    return 2 * overlap / (predicted + truth).clamp(min=1e-6)
