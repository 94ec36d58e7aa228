"""The optimizer and the learning-rate schedule."""

import math

import torch
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler, OneCycleLR

from pixelwise.config import LR_WARMUP_FRACTION, Config
from pixelwise.models.model import SegmentationModel
from pixelwise.training.course import Course, TimedCourse

_FIRST_DIVISOR, _LAST_DIVISOR = 25.0, 25e4
"""The peak of the onecycle schedule divided by its first and by its last learning rate, as in torch's OneCycleLR."""


def build_optimizer(model: SegmentationModel, config: Config, fused: bool) -> torch.optim.AdamW:
    """Build an AdamW optimizer with a parameter group for the decoder and one for the encoder.

    Without trainable encoder weights, there is only the group of the decoder.

    Args:
        model: the model. Encoder weights that do not require gradients are left out.
        config: the settings. The learning rate is `lr` for the decoder and `lr * encoder_lr_factor` for the encoder.
        fused: True to use torch's fused implementation.

    Returns:
        The optimizer. Its first group is that of the decoder.
    """
    groups = [{"params": list(model.decoder.parameters()), "lr": config.lr}]
    trainable = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    if trainable:
        groups.append({"params": trainable, "lr": config.lr * config.encoder_lr_factor})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)


def build_lr_schedule(
    optimizer: torch.optim.Optimizer, config: Config, steps: int, course: Course | None = None
) -> LRScheduler:
    """Build the learning-rate schedule that `config.lr_schedule` names. Advance it once per optimizer step.

    Args:
        optimizer: the learning rates of its groups are constant in "constant" and are the peaks in "onecycle".
        config: the settings.
        steps: number of optimizer steps of the training.
        course: the course of the training. If it has a time budget, the schedule follows the clock instead of the
            number of steps.
    """
    if config.lr_schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    if isinstance(course, TimedCourse):
        return LambdaLR(optimizer, lambda _: onecycle_factor(course.fraction))
    peaks = [group["lr"] for group in optimizer.param_groups]
    # OneCycleLR counts its initial state as a step. It divides by the length of the rise minus one step, which would be
    # 0 in a training of three steps.
    total = steps + 1
    rise = max(LR_WARMUP_FRACTION, 1.5 / total)
    return OneCycleLR(optimizer, peaks, total_steps=total, pct_start=rise, cycle_momentum=False)


def onecycle_factor(fraction: float) -> float:
    """Return the learning rate of the onecycle schedule as a fraction of its peak. The curves are those of OneCycleLR.

    Args:
        fraction: the position in the training, in [0, 1].

    >>> [round(onecycle_factor(fraction), 3) for fraction in (0, 0.125, 0.25, 0.625, 1)]
    [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    if fraction < LR_WARMUP_FRACTION:
        start, end, position = 1 / _FIRST_DIVISOR, 1.0, fraction / LR_WARMUP_FRACTION
    else:
        start, end, position = 1.0, 1 / _LAST_DIVISOR, (fraction - LR_WARMUP_FRACTION) / (1 - LR_WARMUP_FRACTION)
    return end + (start - end) * (1 + math.cos(math.pi * position)) / 2
