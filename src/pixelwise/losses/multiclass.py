"""Losses of multiclass masks: logits (N, C, H, W), mask (N, H, W) with class indices and 255 = ignore."""

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pixelwise.losses.base import BOTH_TASKS, LOSSES
from pixelwise.losses.functional import (
    class_indices,
    count_pixels,
    dice_score,
    focus,
    mask_weights,
    mean_over_present,
    pixel_cross_entropy,
    sum_by_class,
    tversky_score,
    weighted_sum,
)
from pixelwise.losses.sigmoid import dice_sigmoid, focal_sigmoid, tversky_sigmoid
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import Params


@LOSSES.register("cross_entropy", tasks=("multiclass",))
def cross_entropy(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the mean of `pixel_cross_entropy` over the pixels that are not ignored.

    As in Keras, the weighted sum is divided by the number of pixels, not by the sum of their weights.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.

    Returns:
        A scalar, in nats.
    """
    # Faster, because the loss of each pixel is not stored. On a GPU, torch has no deterministic version of this sum.
    if pixel_weights is None and not torch.are_deterministic_algorithms_enabled():
        total = F.cross_entropy(logits.float(), mask.long(), ignore_index=IGNORE_INDEX, reduction="sum")
        return total / count_pixels(mask)
    return pixel_cross_entropy(logits, mask, pixel_weights).sum() / count_pixels(mask)


@LOSSES.register("dice", tasks=BOTH_TASKS, balances_classes=True, multilabel=dice_sigmoid)
def dice(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return 1 − the soft Dice coefficient, averaged over the classes present in the batch, in [0, 1].

    Milletari et al. 2016, "V-Net". Every class has the same weight, regardless of its number of pixels.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.

    Returns:
        A scalar.
    """
    overlap, predicted, truth = _class_sums(logits, mask, pixel_weights)
    return mean_over_present(dice_score(overlap, predicted, truth), truth)


class TverskyParams(Params):
    """Parameters of `tversky`."""

    alpha: float = Field(0.3, ge=0, description="Weight of false positives.")
    beta: float = Field(0.7, ge=0, description="Weight of false negatives.")


@LOSSES.register("tversky", params=TverskyParams, tasks=BOTH_TASKS, balances_classes=True, multilabel=tversky_sigmoid)
def tversky(
    logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """Return 1 − the soft Tversky index, averaged over the classes present in the batch, in [0, 1].

    Salehi et al. 2017, "Tversky loss function for image segmentation using 3D fully convolutional deep networks". A
    `beta` above `alpha` favors recall over precision. With both at 0.5 it is `dice`.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.
        alpha: weight of false positives, 0 or more.
        beta: weight of false negatives, 0 or more.

    Returns:
        A scalar.
    """
    overlap, predicted, truth = _class_sums(logits, mask, pixel_weights)
    return mean_over_present(tversky_score(overlap, predicted, truth, alpha, beta), truth)


@LOSSES.register("cross_entropy_dice", tasks=("multiclass",))
def cross_entropy_dice(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the sum of the cross-entropy and the Dice loss.

    The cross-entropy gives the same weight to each pixel, and the Dice loss to each class. With `pixel_weights`, the
    cross-entropy is a weighted mean, so that the scale of the weights does not change the balance of the two terms. The
    Dice loss balances the classes without weights. It includes the pixels with a weight above 0, all with the weight 1.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.

    Returns:
        A scalar.
    """
    if pixel_weights is None:
        return cross_entropy(logits, mask) + dice(logits, mask)
    total = (pixel_weights * (mask != IGNORE_INDEX)).sum().clamp(min=1e-6)
    mean = pixel_cross_entropy(logits, mask, pixel_weights).sum() / total
    return mean + dice(logits, mask, (pixel_weights > 0).float())


class FocalParams(Params):
    """Parameters of `focal`."""

    gamma: float = Field(2.0, ge=0, description="Exponent. 0 gives the cross-entropy.")


@LOSSES.register("focal", params=FocalParams, tasks=BOTH_TASKS, multilabel=focal_sigmoid)
def focal(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, gamma: float = 2.0) -> Tensor:
    """Return the mean of the cross-entropy times (1 − p)^gamma, with p the probability of the true class.

    Lin et al. 2017, "Focal Loss for Dense Object Detection". Pixels with a low p count for more.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.
        gamma: the exponent, 0 or more.

    Returns:
        A scalar, in nats.
    """
    loss = focus(pixel_cross_entropy(logits, mask), gamma)
    return (loss if pixel_weights is None else loss * pixel_weights).sum() / count_pixels(mask)


def _class_sums(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return three weighted sums over the pixels that are not ignored, (C,) each.

    They are: the probability of each class in its true pixels, its probability in all pixels, and its true pixels.
    """
    weight, label, classes = mask_weights(mask, pixel_weights), class_indices(mask), logits.shape[1]
    probability = logits.float().softmax(1)
    # A one-hot map of the mask is avoided. At 384 px and 11 classes, it took as long as the rest of a training step.
    hit = probability.gather(1, label[:, None])[:, 0] * weight
    overlap, truth = sum_by_class(hit, label, classes), sum_by_class(weight, label, classes)
    return overlap, weighted_sum(probability, weight), truth
