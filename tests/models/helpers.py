"""Models, images and weights that the tests of models share."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from pixelwise.config import Config
from pixelwise.models.model import SegmentationModel

CLASSES, PALETTE = ("cat", "dog", "rest"), ((1, 2, 3), (4, 5, 6), (250, 251, 252))

TUTORIAL_LAYERS = (
    "blocks.1.0.bn1",
    "blocks.2.0.bn1",
    "blocks.3.0.bn1",
    "blocks.5.0.bn1",
    "blocks.6.0.conv_pwl",
)
"""Layers of mobilenetv2_100 whose outputs are the features of the tutorial's encoder."""


def random_weights(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Return the tensors of a timm model, with batch norms unlike those of a new model."""
    torch.manual_seed(seed)
    model = timm.create_model(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.state_dict()


def pixels(size: int | tuple[int, int], count: int = 2) -> Tensor:
    """Return random (N, 3, H, W) float images, the same at each call. `size`: a side, or (height, width)."""
    height, width = (size, size) if isinstance(size, int) else size
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(7))


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def build_model(preset: str = "default", **settings: Any) -> SegmentationModel:
    """Return a new model of `CLASSES`. By default it is small, and random but the same at each call."""
    torch.manual_seed(0)
    merged: dict[str, Any] = {
        "encoder": "mobilenetv3_small_050",
        "encoder_weights": "none",
        "image_size": 64,
    } | settings
    return Config.from_preset(preset, **merged, device="cpu").create_model(CLASSES, PALETTE)


def make_images(count: int = 2, size: tuple[int, int] = (64, 64)) -> Tensor:
    """Return random (N, 3, H, W) uint8 images, the same at each call."""
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=generator)
