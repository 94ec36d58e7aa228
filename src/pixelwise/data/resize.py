"""TODO: module."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F


def resize_image(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resize a HWC uint8 image to (height, width): (C, height, width) uint8, channels last in memory.

    Bilinear with antialiasing. Training, evaluation and prediction all come through here.
    """
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    return F.resize_image(tensor, list(size), InterpolationMode.BILINEAR, antialias=True)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resize a HW or (multi-label) CHW uint8 mask to (height, width): each pixel takes the value under its center.

    Nearest "exact": plain nearest, in torch as in OpenCV, shifts the mask by half a pixel.
    """
    rows, columns = (_nearest(*each) for each in zip(mask.shape[-2:], size, strict=True))
    return torch.from_numpy(mask[..., rows, :][..., columns])


@lru_cache(maxsize=4096)
def _nearest(before: int, after: int) -> np.ndarray:
    """For each of `after` places, which of `before` pixels lies under its center."""
    return (2 * np.arange(after) + 1) * before // (2 * after)
