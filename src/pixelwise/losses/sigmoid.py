"""Versions of losses for multilabel masks, from a sigmoid for each class: mask (N, C, H, W) with 1, 0 and 255 = ignore.

They are registered with the versions for multiclass masks, under the same names.
"""

from torch import Tensor

from pixelwise.losses.functional import (
    binary_cross_entropy,
    count_pixels,
    dice_score,
    focus,
    mask_weights,
    mean_over_present,
    tversky_score,
)


def dice_sigmoid(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return 1 − the soft Dice coefficient of multilabel masks, averaged over the classes present in the batch.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.

    Returns:
        A scalar in [0, 1].
    """
    overlap, predicted, truth = _class_sums(logits, mask, pixel_weights)
    return mean_over_present(dice_score(overlap, predicted, truth), truth)


def tversky_sigmoid(
    logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """Return 1 − the soft Tversky index of multilabel masks, averaged over the classes present in the batch.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, 0 or more.

    Returns:
        A scalar in [0, 1].
    """
    overlap, predicted, truth = _class_sums(logits, mask, pixel_weights)
    return mean_over_present(tversky_score(overlap, predicted, truth, alpha, beta), truth)


def focal_sigmoid(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """Return the mean of the binary cross-entropy times (1 − p)^gamma, with p the probability of the true value.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.
        gamma: the exponent, 0 or more.

    Returns:
        A scalar, in nats.
    """
    loss = focus(binary_cross_entropy(logits, mask), gamma)
    return (loss * mask_weights(mask, pixel_weights)).sum() / count_pixels(mask)


def _class_sums(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return three weighted sums over the values that are not ignored, (C,) each.

    They are: the probability of each class in its true pixels, its probability in all pixels, and its true pixels.
    """
    weight = mask_weights(mask, pixel_weights)
    truth, probability = (mask == 1) * weight, logits.float().sigmoid() * weight
    axes = (0, 2, 3)
    return (probability * (mask == 1)).sum(axes), probability.sum(axes), truth.sum(axes)
