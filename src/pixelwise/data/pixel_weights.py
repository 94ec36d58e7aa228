"""Per-pixel loss weights from per-class weights."""

import torch
from torch import Tensor

from pixelwise.palette import IGNORE_INDEX


def pixel_weights(mask: Tensor, class_weights: Tensor) -> Tensor:
    """The weight of each pixel by its class, 0 where ignored.

    A mask (N, H, W) uint8 of class indices and class_weights (C,) → (N, H, W) float32. Of a multi-label mask (N, C, H,
    W) every layer gets the weight of its class, times C so that weights average 1.
    """
    if mask.ndim == 4:
        return (mask != IGNORE_INDEX) * (class_weights * len(class_weights)).to(mask.device)[:, None, None]
    lookup = torch.zeros(256, dtype=torch.float32, device=mask.device)
    lookup[: len(class_weights)] = class_weights.to(mask.device)
    return lookup[mask.long()]
