"""For tests of augmentations: their specifications, and images whose colors follow from their masks."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.data.augmentations import AUGMENTATIONS, Transform
from pixelwise.registry import ComponentSpec

GEOMETRY: dict[str, dict[str, Any]] = {
    "vertical_flip": {"vertical_flip": 0.5},
    "quarter_turns": {"quarter_turns": True},
    "rotate": {"rotate": 30, "rotate_probability": 1},
    "zoom_out": {"zoom_out": 1},
}
"""Change → parameters of "crop" that move pixels."""

INTENSITY: dict[str, dict[str, Any]] = {
    "gamma": {"gamma": 1},
    "blur": {"blur": 1, "blur_sigma": 0.6},
    "noise": {"noise": 1, "noise_std": 0.02},
}
"""Change → parameters of "crop" that change values."""

SPECS: dict[str, ComponentSpec] = {name: name for name in AUGMENTATIONS.names()} | {
    f"crop {change}": {"name": "crop", **parameters} for change, parameters in (GEOMETRY | INTENSITY).items()
}
every_augmentation = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def apply(transform: Transform, image: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    return transform(image, mask)


def blocks(side: int, block: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return an image of red, green and blue blocks, and its mask of 0, 1 and 2.

    The largest channel is the class, also after changes of brightness, contrast and saturation.
    """
    count = -(-side // block)
    cells = torch.randint(3, (count, count), generator=torch.Generator().manual_seed(seed))
    mask = cells.repeat_interleave(block, 0).repeat_interleave(block, 1)[:side, :side].to(torch.uint8)
    image = torch.full((3, side, side), 70, dtype=torch.uint8)
    image.scatter_(0, mask.long()[None], 160)
    return image, mask


def away_from_edges(mask: Tensor, distance: int) -> Tensor:
    """Return True at pixels that have one class within `distance`."""
    near = F.unfold(F.pad(mask.float()[None, None], [distance] * 4, mode="replicate"), 2 * distance + 1)
    return (near == near[:, :1]).all(1).view_as(mask)
