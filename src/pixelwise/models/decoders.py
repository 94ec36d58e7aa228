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
    return F.interpolate(conv(x, output_size=doubled), size, mode="bilinear", align_corners=False)


class LightDecoder(nn.Module):
    """Ours: a feature pyramid that is cheap at every level.

    Each feature passes a 1x1 convolution to one width; from deep to shallow the sum so far is upsampled
    bilinearly to the skip's actual size, added to it and passed through one depthwise-separable convolution.
    After Lin et al. 2017, "Feature Pyramid Networks for Object Detection".

    Args:
        channels: of each feature, shallow to deep.
        classes: number of logits a pixel.
        width: channels at every level.
    """

    def __init__(self, channels: Sequence[int], classes: int, width: int = 64) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(each, width, 1) for each in channels)
        self.levels = nn.ModuleList(Mixer(width) for _ in channels)
        self.logits = nn.Conv2d(width, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features (N, channels[i], h_i, w_i), shallow to deep → logits (N, classes, *size)."""
        x: Tensor | None = None
        for feature, lateral, mixer in list(zip(features, self.laterals, self.levels, strict=True))[::-1]:
            skip = lateral(feature)
            if x is not None:
                skip = skip + F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = mixer(skip)
        return F.interpolate(self.logits(x), size, mode="bilinear", align_corners=False)


class Mixer(nn.Module):
    """A depthwise 3x3 and a pointwise convolution, batch norm, ReLU: (N, width, h, w) → the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.pointwise(self.depthwise(x))), inplace=True)


DECODERS: dict[str, type[Pix2PixDecoder] | type[LightDecoder]] = {
    "light": LightDecoder,
    "pix2pix": Pix2PixDecoder,
}
