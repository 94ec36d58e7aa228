"""The Jaccard metric loss, which allows soft labels."""

from pydantic import Field
from torch import Tensor

from pixelwise.losses.base import BOTH_TASKS, LOSSES
from pixelwise.losses.functional import class_indices, mask_weights, mean_over_present, sum_by_class, weighted_sum
from pixelwise.registry import Params


class JaccardParams(Params):
    """Parameters of `jaccard`."""

    smoothing: float = Field(0.0, ge=0, lt=1, description="Part of each label that is spread over all classes.")


def jaccard_sigmoid(
    logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, smoothing: float = 0.0
) -> Tensor:
    """Return the Jaccard metric loss of multilabel masks, from a sigmoid for each class. See `jaccard`.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.
        smoothing: a label of 1 becomes 1 − smoothing / 2, and 0 becomes smoothing / 2.

    Returns:
        A scalar in [0, 1].
    """
    weight = mask_weights(mask, pixel_weights)
    is_true = (mask == 1).float()
    probability = logits.float().sigmoid()
    label = is_true * (1 - smoothing) + smoothing / 2
    axes = (0, 2, 3)
    total, difference = ((values * weight).sum(axes) for values in (probability + label, (probability - label).abs()))
    return _mean_distance(total, difference, (is_true * weight).sum(axes))


@LOSSES.register("jaccard", params=JaccardParams, tasks=BOTH_TASKS, balances_classes=True, multilabel=jaccard_sigmoid)
def jaccard(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, smoothing: float = 0.0) -> Tensor:
    """Return the Jaccard metric loss, averaged over the classes present in the batch.

    Wang et al. 2023, "Jaccard Metric Losses: Optimizing the Jaccard Index with Soft Labels". With probabilities x and
    labels y it is 1 − (|x + y| − |x − y|) / (|x + y| + |x − y|), with |·| for the sum over pixels. It is 0 if x = y,
    also for soft labels. Without smoothing it equals the soft Jaccard loss, 1 − IoU of the probabilities.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere.
        smoothing: the label of the true class is 1 − smoothing + smoothing / C, that of the others smoothing / C.

    Returns:
        A scalar in [0, 1].

    >>> import torch
    >>> jaccard(torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]], dtype=torch.uint8))
    tensor(0.6667)
    """
    classes = logits.shape[1]
    weight, label = mask_weights(mask, pixel_weights), class_indices(mask)
    probability = logits.float().softmax(1)
    other = smoothing / classes
    true = other + 1 - smoothing
    # To avoid a one-hot map, all classes are summed as if they were not the true one. Then the true ones are corrected.
    of_true = probability.gather(1, label[:, None])[:, 0]
    correction = (of_true - true).abs() - (of_true - other).abs()
    truth, corrections = (sum_by_class(values, label, classes) for values in (weight, correction * weight))
    predicted = weighted_sum(probability, weight)
    difference = weighted_sum((probability - other).abs(), weight) if smoothing else predicted
    total = predicted + (true - other) * truth + other * weight.sum()
    return _mean_distance(total, difference + corrections, truth)


def _mean_distance(total: Tensor, difference: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of the loss over the present classes.

    Args:
        total: (C,) |x + y| of each class.
        difference: (C,) |x − y| of each class.
        truth: (C,) number of pixels of each class in the mask.
    """
    return mean_over_present((total - difference) / (total + difference).clamp(min=1e-6), truth)
