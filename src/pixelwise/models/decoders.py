"""Decoders: from an encoder's features to logits at the photo's size.

A decoder is a module with `levels`, from deep to shallow, and `skips`, the index of the feature that joins at each.
"""

from collections.abc import Sequence

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
        self.skips = tuple(reversed(range(len(skips))))
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
        joined = [x]
        for block, skip in zip(self.levels, reversed(skips), strict=True):
            joined = [block(joined, skip.shape[-2:]), skip]
        return _transposed(self.logits, joined, size)


class Pix2PixBlock(nn.Module):
    """A transposed convolution of stride 2 that starts at normal(0, 0.02), batch norm (as Keras sets it), ReLU."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, filters, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.normal_(self.conv.weight, 0.0, 0.02)
        self.norm = nn.BatchNorm2d(filters, eps=1e-3)

    def forward(self, joined: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """Tensors (N, c_i, h, w) whose channels add up to `inputs` → (N, filters, *size)."""
        return F.relu(self.norm(_transposed(self.conv, joined, size)), inplace=True)


def _transposed(conv: nn.ConvTranspose2d, joined: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """The convolution of the concatenated tensors, upsampled by two to exactly `size`: odd sizes too.

    A convolution is linear in its channels, so each tensor passes it by itself and the results are added. That
    saves copying, and where a skip comes from a frozen encoder, the half of the gradient that nobody needs.
    Encoders whose levels do not halve get the last bit by interpolation.
    """
    height, width = joined[0].shape[-2:]
    halves = 2 * height - 1 <= size[0] <= 2 * height and 2 * width - 1 <= size[1] <= 2 * width
    wanted = size if halves else (2 * height, 2 * width)
    padding = [wanted[0] - 2 * height + 1, wanted[1] - 2 * width + 1]
    weights = conv.weight.split([tensor.shape[1] for tensor in joined])
    x = F.conv_transpose2d(joined[0], weights[0], conv.bias, stride=2, padding=1, output_padding=padding)
    for tensor, weight in zip(joined[1:], weights[1:], strict=True):
        x += F.conv_transpose2d(tensor, weight, stride=2, padding=1, output_padding=padding)
    return x if halves else _resized(x, size)


class LightDecoder(nn.Module):
    """Ours: a feature pyramid that narrows towards the photo's size, one convolution a level.

    It takes the four deepest features. From deep to shallow, a 1x1 convolution brings each to the width of what
    comes from below, which is upsampled bilinearly to the feature's actual size and added; a 3x3 convolution
    follows. The logits are upsampled to the photo's size. After Lin et al. 2017, "Feature Pyramid Networks for
    Object Detection".

    Args:
        channels: of each feature, shallow to deep.
        classes: number of logits a pixel.

    >>> decoder = LightDecoder([16, 24, 40, 112, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    394019
    """

    WIDTHS = (128, 96, 64, 32)
    """Channels of the levels, from the deepest up. A fifth would cost a quarter more time (docs/decisions.md)."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.skips = tuple(reversed(range(len(channels))))[: len(self.WIDTHS)]
        self.levels = nn.ModuleList()
        below = self.WIDTHS[0]
        for index, width in zip(self.skips, self.WIDTHS, strict=False):
            self.levels.append(LightLevel(channels[index], below, width))
            below = width
        self.logits = nn.Conv2d(below, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features (N, channels[i], h_i, w_i), shallow to deep → logits (N, classes, *size)."""
        x: Tensor | None = None
        for index, level in zip(self.skips, self.levels, strict=True):
            x = level(features[index], x)
        # In float32, as the loss wants them: a CPU takes half as long to interpolate as in bfloat16.
        return _resized(self.logits(x).float(), size)


class LightLevel(nn.Module):
    """A lateral 1x1 convolution, the addition of what comes from below, and a 3x3 convolution."""

    def __init__(self, skip: int, below: int, width: int) -> None:
        super().__init__()
        self.lateral = _normed(nn.Conv2d(skip, below, 1, bias=False))
        self.mix = _normed(nn.Conv2d(below, width, 3, padding=1, bias=False), nn.ReLU(inplace=True))

    def forward(self, skip: Tensor, x: Tensor | None) -> Tensor:
        """Skip (N, skip, h, w) and what comes from below, (N, below, h', w') or None → (N, width, h, w)."""
        lateral = self.lateral(skip)
        return self.mix(lateral if x is None else lateral + _resized(x, lateral.shape[-2:]))


def _normed(conv: nn.Conv2d, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), *after)


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


DECODERS: dict[str, type[Pix2PixDecoder] | type[LightDecoder]] = {
    "light": LightDecoder,
    "pix2pix": Pix2PixDecoder,
}
