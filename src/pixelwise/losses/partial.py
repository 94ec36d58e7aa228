"""Marginal losses, for pixels with several possible classes in data sets that are joined."""

import torch
from torch import Tensor

from pixelwise.data.partial_labels import PartialLabels

_ABSENT = -30.0
"""Logit of a merged class, relative to the logit of the background. Its probability is below 1e-13."""


def merge_possible_classes(logits: Tensor, mask: Tensor, labels: PartialLabels) -> tuple[Tensor, Tensor]:
    """Merge the possible classes of each pixel into its background, so that any loss becomes a marginal loss.

    A pixel with the label background can also have a class without labels in its data set. The probability of the
    label is the sum of the probabilities of these possible classes. So in such a pixel the logit of the background
    becomes the log of the sum of the exponentials of their logits, and the other possible classes get a probability of
    almost 0. The cross-entropy of the result is −log Σ p over the possible classes. The Dice loss does not count a
    predicted class that can be right as wrong. Other pixels do not change.

    Shi et al. 2021, "Marginal loss and exclusion loss for partially supervised multi-organ segmentation", define the
    marginal cross-entropy and the marginal Dice loss by these merged probabilities. Fang and Yan 2020, "Multi-organ
    segmentation over partially labeled datasets with multi-scale feature abstraction", merge the classes likewise.

    Args:
        logits: (N, C, H, W) float, the outputs of the model.
        mask: (N, H, W) uint8, with the mask values that `labels` defines.
        labels: the sets of possible classes.

    Returns:
        The logits, float32, and the mask, in which these pixels are background. Both are the arguments themselves if
        `labels` has no sets.

    >>> labels = PartialLabels(3, ((0, 2),))
    >>> mask = torch.full((1, 1, 1), 3, dtype=torch.uint8)
    >>> logits, mask = merge_possible_classes(torch.zeros(1, 3, 1, 1), mask, labels)
    >>> torch.nn.functional.cross_entropy(logits, mask.long()).exp()
    tensor(1.5000)
    """
    if not labels.possible:
        return logits, mask
    logits, values = logits.float(), mask.long()
    background = torch.from_numpy(labels.backgrounds).to(mask.device)[values]
    # Pixels with a single possible class pass through the same operations. Their logits stay exactly the same.
    possible = torch.from_numpy(labels.possible_classes).to(mask.device)[values].movedim(-1, 1)
    merged = logits.masked_fill(~possible, -torch.inf).logsumexp(1, keepdim=True)
    is_partial = (background != mask)[:, None]
    absent = is_partial & possible
    logits = torch.where(absent, merged.detach() + _ABSENT, logits)
    index = background.long()[:, None]
    is_background = torch.zeros_like(possible).scatter_(1, index.clamp(max=labels.classes - 1), True) & is_partial
    return torch.where(is_background, merged, logits), background
