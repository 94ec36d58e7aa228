"""Cross-entropy of the hardest pixels."""

import torch
from pydantic import Field
from torch import Tensor

from pixelwise.losses.base import BOTH_TASKS, LOSSES
from pixelwise.losses.functional import binary_cross_entropy, pixel_cross_entropy
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import Params

_BINS = 1024
"""Number of bins of the probability of the true class, by which pixels are ordered."""


class OHEMParams(Params):
    """Parameters of `ohem`."""

    fraction: float = Field(0.25, gt=0, le=1, description="Fraction of the pixels that count. 1 is the cross-entropy.")


def ohem_sigmoid(
    logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, fraction: float = 0.25
) -> Tensor:
    """Return the mean binary cross-entropy of the hardest values of multilabel masks. See `ohem`.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 = the class is present, 0 = absent, 255 = ignore.
        pixel_weights: (N, C, H, W) float, or None for 1 everywhere.
        fraction: fraction of the mask values that count, above 0 and at most 1.

    Returns:
        A scalar, in nats.
    """
    return _mean_of_hardest(binary_cross_entropy(logits, mask), mask, pixel_weights, fraction)


@LOSSES.register("ohem", params=OHEMParams, tasks=BOTH_TASKS, multilabel=ohem_sigmoid)
def ohem(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, fraction: float = 0.25) -> Tensor:
    """Return the mean cross-entropy of the hardest pixels of the batch.

    Online hard example mining, after Shrivastava et al. 2016, "Training Region-based Object Detectors with Online Hard
    Example Mining". Easy pixels, such as the middle of a large background, have no gradient.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, H, W) uint8 class indices in 0..C-1, or 255 to ignore.
        pixel_weights: (N, H, W) float, or None for 1 everywhere. Pixels are chosen by their loss without the weight,
            among those with a weight above 0.
        fraction: fraction of the pixels that count, above 0 and at most 1. The pixels with the lowest probability of
            their class are chosen. Pixels with the same probability, to 1/1024, are chosen together.

    Returns:
        A scalar, in nats.

    >>> logits = torch.tensor([[[[0.0, 9.0, 9.0, 9.0]], [[0.0, -9.0, -9.0, -9.0]]]])
    >>> ohem(logits, torch.zeros(1, 1, 4, dtype=torch.uint8))
    tensor(0.6931)
    """
    return _mean_of_hardest(pixel_cross_entropy(logits, mask), mask, pixel_weights, fraction)


def _mean_of_hardest(loss: Tensor, mask: Tensor, pixel_weights: Tensor | None, fraction: float) -> Tensor:
    """Return the weighted mean of the largest losses. The tensors have one shape. For the rest see `ohem`."""
    with torch.no_grad():
        left_out = mask == IGNORE_INDEX
        if pixel_weights is not None:
            left_out = left_out | (pixel_weights == 0)
        bins = (torch.exp(-loss) * (_BINS - 0.5)).int().masked_fill_(left_out, _BINS)
        # A histogram needs neither sorting nor the number of pixels on the CPU, for which a GPU would have to wait.
        counts = torch.bincount(bins.flatten(), minlength=_BINS + 1)[:-1].cumsum(0)
        kept = bins <= (counts < fraction * counts[-1]).sum()
    chosen = torch.where(kept, loss if pixel_weights is None else loss * pixel_weights, 0.0)
    return chosen.sum() / kept.sum().clamp(min=1)
