"""The optimizer and the learning-rate schedule."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler, OneCycleLR

from pixelwise.config import LR_WARMUP_FRACTION, Config
from pixelwise.errors import ConfigError
from pixelwise.models.model import SegmentationModel
from pixelwise.training.course import Course, TimedCourse
from pixelwise.training.muon import Muon, is_matrix

_FIRST_DIVISOR, _LAST_DIVISOR = 25.0, 25e4
"""The peak of the onecycle schedule divided by its first and by its last learning rate, as in torch's OneCycleLR."""


def build_optimizer(model: SegmentationModel, config: Config, fused: bool) -> torch.optim.Optimizer:
    """Build the optimizer, with a parameter group for the decoder and one for the encoder.

    With Muon, the weights of the decoder that are matrices have a group of their own, between the two. The layer of
    the logits is not in it: it has a row for each class. Without trainable encoder weights, there is no group for the
    encoder. If `config.pretrained_decay` is above 0, the trainable encoder weights have no weight decay. Instead, each
    step moves them toward their present values.

    Args:
        model: the model, with pretrained weights. Encoder weights that do not require gradients are left out.
        config: the settings. The learning rate is `lr` for the decoder and `lr * encoder_lr_factor` for the encoder.
        fused: True to use torch's fused implementation.

    Returns:
        The optimizer. Its first group is that of the decoder, and its last group that of the encoder.

    Raises:
        ConfigError: `config.pretrained_decay` is above 0, but the encoder has random weights or does not train.
    """
    groups = _decoder_groups(model, config)
    trainable = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    if trainable:
        groups.append({"params": trainable, "lr": config.lr * config.encoder_lr_factor})
    build = Muon if config.optimizer == "muon" else torch.optim.AdamW
    if not config.pretrained_decay:
        return build(groups, weight_decay=config.weight_decay, fused=fused)

    if not trainable:
        raise ConfigError("`pretrained_decay` has no effect on an encoder that does not train; set it to 0")
    if config.encoder_weights == "none" and config.start_from is None:
        raise ConfigError("`pretrained_decay` needs pretrained weights; set it to 0, or choose `encoder_weights`")
    groups[-1]["weight_decay"] = 0.0
    optimizer = build(groups, weight_decay=config.weight_decay, fused=fused)
    optimizer.register_step_post_hook(PretrainedDecay(trainable, config.pretrained_decay))
    return optimizer


def _decoder_groups(model: SegmentationModel, config: Config) -> list[dict[str, Any]]:
    """Return the parameter groups of the decoder, as in `build_optimizer`."""
    weights, classes = list(model.decoder.parameters()), len(model.config.classes)
    if config.optimizer == "adamw":
        return [{"params": weights, "lr": config.lr}]
    by_muon = [is_matrix(weight) and len(weight) != classes for weight in weights]
    matrices = [weight for weight, chosen in zip(weights, by_muon, strict=True) if chosen]
    others = [weight for weight, chosen in zip(weights, by_muon, strict=True) if not chosen]
    return [{"params": others, "lr": config.lr}, {"params": matrices, "lr": config.lr, "muon": True}]


class PretrainedDecay:
    """A hook of an optimizer that moves weights toward their pretrained values after each step.

    Li et al. 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks" (L2-SP). The decay is
    decoupled from the gradient, as the weight decay of AdamW is.

    Args:
        parameters: the weights, with their pretrained values. They are those of the optimizer's last group.
        strength: each step moves a weight by this multiple of its learning rate, as a fraction of the way to its
            pretrained value.
    """

    def __init__(self, parameters: list[nn.Parameter], strength: float) -> None:
        self.parameters, self.strength = parameters, strength
        self.targets = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def __call__(self, optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        """Move the weights that have a gradient.

        Args:
            optimizer: the optimizer, after its step.
            args: ignored.
            kwargs: ignored.
        """
        fraction = min(self.strength * optimizer.param_groups[-1]["lr"], 1.0)
        # Fabric moves the weights to the device of the training after the optimizer is built.
        self.targets = [target.to(weight.device) for target, weight in zip(self.targets, self.parameters, strict=True)]
        for weight, target in zip(self.parameters, self.targets, strict=True):
            if weight.grad is not None:
                weight.lerp_(target, fraction)


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
        return LambdaLR(optimizer, lambda _: onecycle_factor(course.position))
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
