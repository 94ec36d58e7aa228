"""Resize images and masks in the same way for training, evaluation and prediction."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from pixelwise.data.input_size import InputSize, to_pair

_MAX_WIDENED_PIXELS = 1 << 26
"""Maximum number of pixels of the intermediate image if the width is increased before the height is reduced."""


@dataclass(frozen=True)
class Scale:
    """A size of images that is relative to their own size.

    Attributes:
        factor: working pixels per image pixel, above 0.
    """

    factor: float


ImageSize: TypeAlias = InputSize | Scale
"""The size that images are resized to: one size for all of them, or a scale that keeps their aspect ratio."""


def target_size(image_size: ImageSize, height: int, width: int) -> tuple[int, int]:
    """Return the height and width in pixels to which an image is resized.

    Args:
        image_size: the side of a square, a height and a width, or a scale.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Returns:
        (height, width), each at least 1.

    >>> target_size(128, 300, 200), target_size(Scale(0.5), 300, 201)
    (HeightWidth(height=128, width=128), (150, 100))
    """
    if isinstance(image_size, Scale):
        return max(1, round(height * image_size.factor)), max(1, round(width * image_size.factor))
    return to_pair(image_size)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resize an image by bilinear interpolation with antialiasing.

    Args:
        image: (H, W, channels) uint8.
        size: (height, width) in pixels.

    Returns:
        (channels, height, width) uint8, in the memory format "channels last".
    """
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    height, width = image.shape[:2]
    if height * size[1] > _MAX_WIDENED_PIXELS and width < size[1]:
        # torch resizes the width first, so 1x1000000 pixels (width x height) would become 512x1000000 in between.
        tensor = F.resize_image(tensor, [size[0], width], InterpolationMode.BILINEAR, antialias=True)
    return F.resize_image(tensor, list(size), InterpolationMode.BILINEAR, antialias=True)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Resize a mask. Each new pixel gets the value of the old pixel under its center.

    torch calls this "nearest-exact". The mode "nearest" of torch and of OpenCV shifts the mask by half a pixel.

    Args:
        mask: (H, W) uint8, or (C, H, W) uint8 for multi-label masks.
        size: (height, width) in pixels.

    Returns:
        (height, width) or (C, height, width) uint8.
    """
    rows, columns = (nearest_indices(old, new) for old, new in zip(mask.shape[-2:], size, strict=True))
    return torch.from_numpy(mask[..., rows, :][..., columns])


def resize_batch(images: Tensor, masks: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Resize a batch of images and their masks, as `resize_image` and `resize_mask` do.

    Args:
        images: (N, channels, H, W) uint8.
        masks: (N, H, W) or (N, C, H, W) uint8, on the same device.
        size: (height, width) in pixels.

    Returns:
        Images (N, channels, height, width) uint8, and masks (N, height, width) or (N, C, height, width) uint8.

    >>> images, masks = resize_batch(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 8, 8), (4, 6))
    >>> tuple(images.shape), tuple(masks.shape)
    ((1, 3, 4, 6), (1, 4, 6))
    """
    rows, columns = (
        torch.from_numpy(nearest_indices(old, new)).to(masks.device)
        for old, new in zip(masks.shape[-2:], size, strict=True)
    )
    resized = F.resize_image(images, list(size), InterpolationMode.BILINEAR, antialias=True)
    return resized, masks[..., rows, :][..., columns]


@lru_cache(maxsize=4096)
def nearest_indices(old: int, new: int) -> np.ndarray:
    """Return the (new,) indices of the pixels, in a row of `old` pixels, under the centers of `new` pixels."""
    return (2 * np.arange(new) + 1) * old // (2 * new)
