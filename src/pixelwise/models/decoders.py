"""Decoders: from an encoder's features to logits at the photo's size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pix2PixDecoder(nn.Module):
    """The tutorial's decoder: pix2pix upsample blocks with skip concatenation.

    Each block is a 3x3 transposed convolution of stride 2 without bias, batch norm and ReLU, to the size of the
    next skip, which is then concatenated; the last is a transposed convolution to the logits. Filters double
    with depth from 64 to at most 512. Isola et al. 2017, "Image-to-Image Translation with Conditional
    Adversarial Networks"; https://www.tensorflow.org/tutorials/images/segmentation.

    Args:
        channels: of each feature, shallow to deep.
        classes: number of logits a pixel.

    >>> decoder = Pix2PixDecoder([96, 144, 192, 576, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    4660323
    """

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        *skips, width = channels
        self.levels = nn.ModuleList()
        for level in reversed(range(len(skips))):
            filters = min(64 * 2**level, 512)
            self.levels.append(Pix2PixBlock(width, filters))
            width = filters + skips[level]
        self.logits = nn.ConvTranspose2d(width, classes, kernel_size=3, stride=2, padding=1)
        nn.init.xavier_uniform_(self.logits.weight)
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features (N, channels[i], h_i, w_i), shallow to deep → logits (N, classes, *size)."""
        *skips, x = features
        for block, skip in zip(self.levels, reversed(skips), strict=True):
            x = torch.cat([block(x, skip.shape[-2:]), skip], dim=1)
        return _transposed(self.logits, x, size)


class Pix2PixBlock(nn.Module):
    """A transposed convolution of stride 2 that starts at normal(0, 0.02), batch norm (as Keras sets it), ReLU."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, filters, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.normal_(self.conv.weight, 0.0, 0.02)
        self.norm = nn.BatchNorm2d(filters, eps=1e-3)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, inputs, h, w) → (N, filters, *size)."""
        return F.relu(self.norm(_transposed(self.conv, x, size)), inplace=True)


def _transposed(conv: nn.ConvTranspose2d, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample by two to exactly `size`: odd sizes too, and whatever else an encoder's levels may be."""
    doubled = [2 * side for side in x.shape[-2:]]
    if all(side - 1 <= wanted <= side for side, wanted in zip(doubled, size, strict=True)):
        return conv(x, output_size=size)
    return _resized(conv(x, output_size=doubled), size)


class LightDecoder(nn.Module):
    """Ours: a feature pyramid that narrows towards the photo's size, one convolution a level.

    From deep to shallow, a 1x1 convolution brings each feature to the width of what comes from below, which is
    upsampled bilinearly to the feature's actual size and added; a 3x3 convolution follows. After Lin et al. 2017,
    "Feature Pyramid Networks for Object Detection". The logits are upsampled to the photo's size.

    Args:
        channels: of each feature, shallow to deep.
        classes: number of logits a pixel.

    >>> decoder = LightDecoder([16, 24, 40, 112, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    403875
    """

    WIDTHS = (128, 96, 64, 32)
    """Channels from the deepest level up; the last holds for all levels above."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.laterals, self.levels = nn.ModuleList(), nn.ModuleList()
        below = self.WIDTHS[0]
        for depth, feature in enumerate(reversed(channels)):
            width = self.WIDTHS[min(depth, len(self.WIDTHS) - 1)]
            self.laterals.append(_normed(nn.Conv2d(feature, below, 1, bias=False)))
            self.levels.append(_normed(nn.Conv2d(below, width, 3, padding=1, bias=False), nn.ReLU(inplace=True)))
            below = width
        self.logits = nn.Conv2d(below, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features (N, channels[i], h_i, w_i), shallow to deep → logits (N, classes, *size)."""
        x: Tensor | None = None
        for feature, lateral, level in zip(reversed(features), self.laterals, self.levels, strict=True):
            skip = lateral(feature)
            x = level(skip if x is None else skip + _resized(x, skip.shape[-2:]))
        return _resized(self.logits(x), size)


def _normed(conv: nn.Conv2d, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), *after)


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


DECODERS: dict[str, type[Pix2PixDecoder] | type[LightDecoder]] = {
    "light": LightDecoder,
    "pix2pix": Pix2PixDecoder,
}
