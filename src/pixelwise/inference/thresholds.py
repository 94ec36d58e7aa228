"""Thresholds per class: how probable a class must be to be predicted."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.errors import ConfigError, unknown_name
from pixelwise.inference.bands import resize_to_mask
from pixelwise.inference.mask_confidence import mask_confidence
from pixelwise.models.config import ModelConfig


def threshold_shift(thresholds: Mapping[str, float], config: ModelConfig) -> Tensor | None:
    """Return what is added to logits, before they become a mask, so that the mask has thresholds.

    A multi-label model predicts a class if its probability is above the threshold. A multi-class model predicts the
    class i instead of k if p_i / (p_i + p_k) is above the threshold of i, for a class k without a threshold. With two
    classes, this is the probability of i. The value of a class without a threshold is 0.5, which changes nothing.

    Args:
        thresholds: class name → threshold between 0 and 1.
        config: the configuration of the model.

    Returns:
        (C, 1, 1) float32, or None if there are no thresholds.

    Raises:
        ConfigError: A class is unknown, or a threshold is not between 0 and 1.
    """
    values = torch.full((len(config.classes), 1, 1), 0.5, dtype=torch.float64)
    for name, value in thresholds.items():
        if name not in config.classes:
            raise ConfigError(f"`thresholds`: {unknown_name('class', name, config.classes)}")
        if not 0 < value < 1:
            raise ConfigError(f"`thresholds`: that of {name} must be between 0 and 1, and is {value:g}")
        values[config.classes.index(name)] = value
    return -config.temperature * torch.logit(values).float() if thresholds else None


def add_shift(logits: Tensor, shift: Tensor | None) -> Tensor:
    """Return logits, (C, h, w) or (N, C, h, w), with the result of `threshold_shift`."""
    return logits if shift is None else logits + shift.to(logits.device)


def class_confidence(task: Task, logits: Tensor, temperature: float, shift: Tensor | None) -> list[float | None]:
    """Return the mean probability of each class over the pixels that the mask assigns to it.

    Args:
        task: the task.
        logits: (C, h, w) float32.
        temperature: see `ModelConfig`.
        shift: see `threshold_shift`.

    Returns:
        C values in [0, 1]. None for a class without pixels.
    """
    if shift is None:
        return task.class_confidence(logits / temperature)
    probabilities = task.activate(logits / temperature).cpu()
    mask = task.logits_to_mask(add_shift(logits, shift)).cpu().numpy()
    regions = [torch.from_numpy(task.class_region(mask, index)) for index in range(len(logits))]
    return [
        float(values[region].mean()) if region.any() else None
        for values, region in zip(probabilities, regions, strict=True)
    ]


def resized_confidence(
    logits: Tensor, size: tuple[int, int], task: Task, temperature: float, shift: Tensor
) -> np.ndarray:
    """Resize logits, and return the probability of the mask with thresholds at each pixel, (H, W) float32.

    Args:
        logits: (C, h, w) float32.
        size: (H, W) of the image in pixels.
        task: the task.
        temperature: see `ModelConfig`.
        shift: see `threshold_shift`.
    """
    _, probabilities = resize_to_mask(logits, size, task, True, temperature=temperature)
    mask, _ = resize_to_mask(add_shift(logits, shift), size, task)
    assert probabilities is not None
    return mask_confidence(task, probabilities, mask)
