"""TODO: module."""

from collections.abc import Sequence

from torch import Tensor, nn

from pixelwise.models.decoders.base import _resized


class FPNDecoder(nn.Module):
    """Ours: a feature pyramid that narrows towards the image's size, one convolution a level.

    It takes the four deepest features. From deep to shallow, a 1x1 convolution brings each to the width of what
    comes from below, which is upsampled bilinearly to the feature's actual size and added; a 3x3 convolution
    follows. The logits are upsampled to the image's size. After Lin et al. 2017, "Feature Pyramid Networks for
    Object Detection".

    Args:
        channels: of each feature, shallow to deep.
        classes: number of logits a pixel.

    >>> decoder = FPNDecoder([16, 24, 40, 112, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    394019
    """

    WIDTHS = (128, 96, 64, 32)
    """Channels of the levels, from the deepest up. A fifth would cost a quarter more time (docs/decisions.md)."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.skips = tuple(reversed(range(len(channels))))[: len(self.WIDTHS)]
        self.stages = nn.ModuleList()
        below = self.WIDTHS[0]
        for index, width in zip(self.skips, self.WIDTHS, strict=False):
            self.stages.append(FPNBlock(channels[index], below, width))
            below = width
        self.logits = nn.Conv2d(below, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Features (N, channels[i], h_i, w_i), shallow to deep → logits (N, classes, *size)."""
        x: Tensor | None = None
        for index, level in zip(self.skips, self.stages, strict=True):
            x = level(features[index], x)
        # In float32, as the loss wants them: a CPU takes half as long to interpolate as in bfloat16.
        return _resized(self.logits(x).float(), size)


class FPNBlock(nn.Module):
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
