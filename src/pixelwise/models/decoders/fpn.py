"""A feature pyramid decoder, after Lin et al. 2017, "Feature Pyramid Networks for Object Detection"."""

from collections.abc import Sequence

from pydantic import Field
from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.decoders.base import DECODERS, Channels, resize_bilinear
from pixelwise.models.encoder_table import CODE_LICENSE
from pixelwise.registry import Params

WIDTHS = (128, 96, 64, 32)
"""Default output channels of the stages. A fifth stage is an option, because it costs time (docs/decisions.md)."""

MAX_STAGES = 16
"""Maximum number of stages."""

_MIN_WIDTH = 8
"""Minimum output channels of a stage beyond `widths`."""


class FPNParams(Params):
    """Parameters of `FPNDecoder`."""

    widths: tuple[Channels, ...] = Field(
        WIDTHS, min_length=1, max_length=MAX_STAGES, description="Output channels of the stages, from the deepest up."
    )
    stages: int | None = Field(
        None,
        ge=1,
        le=MAX_STAGES,
        description="Number of stages. 5 adds one at half the image's size, for structures 3 or 4 pixels wide.",
    )


@DECODERS.register("fpn", params=FPNParams, license=CODE_LICENSE)
class FPNDecoder(nn.Module):
    """A feature pyramid decoder with one 3x3 convolution per stage. By default, deeper stages have more channels.

    Its inputs are the deepest features, one per stage. In each stage, from deep to shallow, a 1x1 convolution converts
    the feature to the channels of the previous stage's output. That output is resized bilinearly to the feature's size
    and added. A 3x3 convolution follows. After the last stage, a 1x1 convolution computes the logits, which are resized
    to the image's size.

    Most encoders have five features, at strides 2 to 32. Four stages end at a quarter of the image's size, and five
    stages at half of it. The logits of a structure that is narrower than a stride are blurred.

    Args:
        in_channels: number of channels of each feature, from shallow to deep.
        classes: number of logits per pixel.
        widths: output channels of the stages, from the deepest up. If there are fewer features than widths, the last
            widths are not used.
        stages: number of stages. None for one per width. A stage beyond `widths` has half the channels of the one
            before it, at least 8.

    Raises:
        ConfigError: The encoder has fewer features than `stages`.

    >>> decoder = FPNDecoder([16, 24, 40, 112, 320], classes=3)
    >>> sum(parameter.numel() for parameter in decoder.parameters())
    394019
    >>> len(FPNDecoder([16, 24, 40, 112, 320], classes=3, stages=5).stages)
    5
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        classes: int,
        widths: Sequence[int] = WIDTHS,
        stages: int | None = None,
    ) -> None:
        super().__init__()
        widths = _stage_widths(widths, stages)
        if stages is not None and stages > len(in_channels):
            raise ConfigError(
                f"decoder 'fpn' with `stages` {stages} needs {stages} features, but the encoder has "
                f"{len(in_channels)}; set `stages` to {len(in_channels)}, or choose an encoder with a feature at half "
                "the image's size"
            )
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


def _stage_widths(widths: Sequence[int], stages: int | None) -> list[int]:
    """Return the output channels of each stage. `widths` and `stages` are those of `FPNDecoder`."""
    result = list(widths)
    while stages is not None and len(result) < stages:
        result.append(max(result[-1] // 2, _MIN_WIDTH))
    return result[:stages]


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
