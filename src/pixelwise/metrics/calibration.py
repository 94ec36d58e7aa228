"""Calibration: how often a prediction with a given probability is correct, and a temperature that corrects it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.palette import IGNORE_INDEX

BINS = 15
"""Number of bins of equal width between the probabilities 0 and 1, as in Guo et al. 2017."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Limits of a fitted temperature."""

_MAX_FIT_VALUES = 1 << 20
"""Maximum number of logits that a temperature is fitted to. They take 8 MiB as float64.

Each image has at least one pixel in the fit, so very many images exceed it.
"""

_MIN_PROBABILITY = 1e-30
"""Lower probabilities of a label count as this value in a fit, so that their logarithm is finite."""


@dataclass(frozen=True)
class Calibration:
    """Confidence and accuracy of predictions by bins of confidence.

    The predictions are pixels, or pairs of a pixel and a class for multilabel masks.

    Attributes:
        counts: number of predictions in each bin.
        confidence: mean probability of the predicted label in each bin, in [0, 1]. None for an empty bin.
        accuracy: fraction of correct predictions in each bin, in [0, 1]. None for an empty bin.
        error: expected calibration error in [0, 1] (Guo et al. 2017, "On Calibration of Modern Neural Networks"). It is
            the mean absolute difference of confidence and accuracy over the bins, weighted by their counts. None
            without predictions.
    """

    counts: tuple[int, ...] = field(repr=False)
    confidence: tuple[float | None, ...] = field(repr=False)
    accuracy: tuple[float | None, ...] = field(repr=False)
    error: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON types."""
        return {
            "ece": self.error,
            "bins": [
                {"pixels": count, "confidence": confidence, "accuracy": accuracy}
                for count, confidence, accuracy in zip(self.counts, self.confidence, self.accuracy, strict=True)
            ],
        }


class ReliabilityBins:
    """Sums over predictions by bins of confidence.

    Attributes:
        sums: (BINS, 3) float64: predictions, their probabilities, and correct predictions.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros((BINS, 3), dtype=torch.float64)

    def update(self, confidence: Tensor, correct: Tensor) -> None:
        """Add predictions.

        Args:
            confidence: (N,) float in [0, 1], the probability of each predicted label.
            correct: (N,) bool.
        """
        confidence, correct = confidence.cpu().double(), correct.cpu().double()
        bins = (confidence * BINS).long().clamp(max=BINS - 1)
        columns = (None, confidence, correct)
        self.sums += torch.stack([torch.bincount(bins, weights, BINS).double() for weights in columns], 1)

    def compute(self) -> Calibration:
        """Return the calibration of all predictions."""
        counts, confidence, correct = self.sums.T.tolist()
        total = sum(counts)
        gaps = (abs(one - other) for one, other in zip(confidence, correct, strict=True))
        return Calibration(
            tuple(int(count) for count in counts),
            tuple(value / count if count else None for value, count in zip(confidence, counts, strict=True)),
            tuple(value / count if count else None for value, count in zip(correct, counts, strict=True)),
            sum(gaps) / total if total else None,
        )


class TemperatureFit:
    """A sample of logits with their labels, and the temperature that makes the labels most likely.

    Args:
        task: the task of the masks.
        classes: number of classes C.
        images: number of images that will be added. Each has the same maximum number of pixels in the sample.
    """

    def __init__(self, task: Task, classes: int, images: int) -> None:
        self.task = task
        self._pixels_per_image = max(1, _MAX_FIT_VALUES // (classes * max(1, images)))
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, logits: Tensor, mask: Tensor) -> None:
        """Add evenly spaced pixels of one image.

        Args:
            logits: (C, H, W) float.
            mask: a mask of the task with the same height and width, uint8, 255 = ignore.
        """
        flat, labels = logits.flatten(-2), mask.flatten(-2)
        step = -(-flat.shape[-1] // self._pixels_per_image)
        # A step that divides the width would select a few columns only.
        step += step > 1 and mask.shape[-1] % step == 0
        self._logits.append(flat[:, ::step].float().cpu())
        self._labels.append(labels[..., ::step].cpu())

    def fit(self) -> float:
        """Return the temperature T that minimizes the negative log-likelihood of the labels given logits / T.

        Returns:
            A number in [`MIN_TEMPERATURE`, `MAX_TEMPERATURE`]. 1.0 if no pixel has a label, or a logit is not finite.
        """
        if not self._logits:
            return 1.0
        logits, labels = torch.cat(self._logits, -1)[..., None].double(), torch.cat(self._labels, -1)[..., None]
        counted = labels != IGNORE_INDEX
        if not counted.any() or not torch.isfinite(logits).all():
            return 1.0

        def loss(log_temperature: float) -> float:
            probabilities = self.task.activate(logits / float(np.exp(log_temperature)))
            chosen = self.task.label_probability(probabilities, labels)[counted]
            return -chosen.clamp(min=_MIN_PROBABILITY).log().mean().item()

        limits = (float(np.log(MIN_TEMPERATURE)), float(np.log(MAX_TEMPERATURE)))
        result = minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-3})
        return round(float(np.exp(result.x)), 4)
