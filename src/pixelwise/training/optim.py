"""The optimizer and the learning-rate schedule."""

import torch
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from pixelwise.config import LR_WARMUP_FRACTION, Config
from pixelwise.models.model import SegmentationModel


def build_optimizer(model: SegmentationModel, config: Config, fused: bool) -> torch.optim.AdamW:
    """Return AdamW with a group for the decoder and, if encoder weights train, a group for those.

    Args:
        model: the model. Encoder weights that do not require gradients are left out.
        config: `lr` is the rate of the decoder, `lr * encoder_lr_factor` that of the encoder.
        fused: if True, use torch's fused implementation.
    """
    groups = [{"params": list(model.decoder.parameters()), "lr": config.lr}]
    trainable = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    if trainable:
        groups.append({"params": trainable, "lr": config.lr * config.encoder_lr_factor})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)


def build_lr_schedule(optimizer: torch.optim.Optimizer, config: Config, steps: int) -> LRScheduler:
    """Return the schedule of `config.lr_schedule`. It is advanced once per step.

    Args:
        optimizer: the learning rates of its groups are the constant rates, or the peaks of "onecycle".
        config: the settings.
        steps: number of optimizer steps of the training.
    """
    if config.lr_schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    peaks = [group["lr"] for group in optimizer.param_groups]
    # OneCycleLR counts its initial state as a step. It divides by the length of the rise minus one step, which would be
    # 0 in a training of three steps.
    total = steps + 1
    rise = max(LR_WARMUP_FRACTION, 1.5 / total)
    return OneCycleLR(optimizer, peaks, total_steps=total, pct_start=rise, cycle_momentum=False)
