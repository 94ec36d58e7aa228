"""A feature pyramid decoder, after Lin et al. 2017, "Feature Pyramid Networks for Object Detection"."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from pixelwise.models.decoders.base import DECODERS, Channels, resize_bilinear
from pixelwise.registry import Params

WIDTHS = (128, 96, 64, 32)
"""Default output channels of the stages. A fifth stage would cost a quarter more time (docs/decisions.md)."""


class FPNParams(Params):
    """Parameters of `FPNDecoder`."""

    widths: tuple[Channels, ...] = Field(
        WIDTHS, min_length=1, max_length=16, description="Output channels of the stages, from the deepest up."
    )


@DECODERS.register("fpn", params=FPNParams)
class FPNDecoder(nn.Module):
    """A feature pyramid decoder with one 3x3 convolution per stage. By default, deeper stages have more channels.

    Its inputs are the deepest features, one per stage. In each stage, from deep to shallow, a 1x1 convolution converts
    the feature to the channels of the previous stage's output. That output is resized bilinearly to the feature's size
    and added. A 3x3 convolution follows. After the last stage, a 1x1 convolution computes the logits, which are resized
    to the image's size.

    Args:
        in_channels: number of channels of each feature, from shallow to deep.
        classes: number of logits per pixel.
        widths: output channels of the stages, from the deepest up.

    >>> decoder = FPNDecoder([16, 24, 40, 112, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    394019
    """

    def __init__(self, in_channels: Sequence[int], classes: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.skips = tuple(reversed(range(len(in_channels))))[: len(widths)]
        self.stages = nn.ModuleList()
        channels = widths[0]
        for index, width in zip(self.skips, widths, strict=False):
            self.stages.append(FPNBlock(in_channels[index], channels, width))
            channels = width
        self.logits = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the logits of each pixel.

        Args:
            features: one (N, in_channels[i], h_i, w_i) tensor for each stage of the encoder, from shallow to deep.
            size: (height, width) of the logits in pixels.

        Returns:
            (N, classes, *size) float32.
        """
        x: Tensor | None = None
        for index, stage in zip(self.skips, self.stages, strict=True):
            x = stage(features[index], x)
        # Losses need float32. On a CPU, interpolation in float32 takes half as long as in bfloat16.
        return resize_bilinear(self.logits(x).float(), size)


class FPNBlock(nn.Module):
    """A lateral 1x1 convolution, the addition of the previous stage's output, and a 3x3 convolution.

    Args:
        skip_channels: number of channels of the feature.
        in_channels: number of channels of the previous stage's output.
        out_channels: number of output channels.
    """

    def __init__(self, skip_channels: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.lateral = _conv_norm(nn.Conv2d(skip_channels, in_channels, 1, bias=False))
        self.mix = _conv_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False), nn.ReLU(inplace=True))

    def forward(self, skip: Tensor, x: Tensor | None) -> Tensor:
        """Return (N, out_channels, h, w).

        Args:
            skip: the feature, (N, skip_channels, h, w).
            x: the previous stage's output, (N, in_channels, h', w'), or None in the first stage.
        """
        lateral = self.lateral(skip)
        return self.mix(lateral if x is None else lateral + resize_bilinear(x, lateral.shape[-2:]))


def _conv_norm(conv: nn.Conv2d, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), *after)
