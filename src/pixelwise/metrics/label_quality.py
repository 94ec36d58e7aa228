"""A score of the labels of an image. It is low if the mask is likely to have errors."""

from torch import Tensor

TEMPERATURE = 0.1
"""Temperature of the soft minimum, the value that cleanlab uses too. Lower values give the worst pixels more weight."""


def label_quality(label_probability: Tensor) -> float | None:
    """Return the soft minimum of the probabilities that a model gives to the labels of an image.

    A model that was trained on other images gives a wrong label a low probability. The soft minimum is the mean of the
    probabilities s of all pixels with the weights exp((1 − s) / `TEMPERATURE`), so pixels with unlikely labels decide.
    It is the label quality score of Lad & Mueller 2023, "Estimating label quality and errors in semantic segmentation
    data via any model".

    Args:
        label_probability: (N,) float in [0, 1], the probability of the label of each pixel that is not ignored.

    Returns:
        The score in [0, 1], or None if all pixels are ignored. An image with a low score should be checked first.

    >>> import torch
    >>> round(label_quality(torch.tensor([0.9, 0.9])), 4), round(label_quality(torch.tensor([0.9, 0.9, 0.1])), 4)
    (0.9, 0.1005)
    """
    if label_probability.numel() == 0:
        return None
    scores = label_probability.cpu().double()
    weights = ((1 - scores) / TEMPERATURE).exp()
    return float((scores * weights).sum() / weights.sum())
