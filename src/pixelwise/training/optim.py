"""TODO: module."""

from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR

from pixelwise.config import LR_WARMUP_FRACTION, Config
from pixelwise.models.model import SegmentationModel

if TYPE_CHECKING:
    pass


def _optimizer(model: SegmentationModel, config: Config, fused: bool) -> torch.optim.AdamW:
    """The decoder's weights at the full rate, and those of the encoder that are tuned at their share of it."""
    groups = [{"params": list(model.decoder.parameters()), "lr": config.lr}]
    tuned = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    if tuned:
        groups.append({"params": tuned, "lr": config.lr * config.encoder_lr_factor})
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=fused)


def _schedule(optimizer: torch.optim.Optimizer, config: Config, steps: int) -> LRScheduler:
    if config.lr_schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    peaks = [group["lr"] for group in optimizer.param_groups]
    # One step more than are taken: torch's schedule counts its start as a step. It divides by the length of the rise
    # less one step, which is none in a training of three steps.
    total = steps + 1
    return OneCycleLR(optimizer, peaks, total_steps=total, pct_start=max(LR_WARMUP_FRACTION, 1.5 / total), cycle_momentum=False)
