"""Decoders of the package segmentation_models_pytorch (extra `smp`), for the encoders of pixelwise.

The decoders are registered if the package is installed. A decoder is imported when it is built. Some decoders of the
package are left out: DeepLabV3, PSPNet, PAN and DPT need a dilated or a shallower encoder, and UPerNet cannot be
trained with a batch of one image.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from pixelwise.errors import ConfigError
from pixelwise.models.decoders.base import DECODERS, SMP_PACKAGE, Channels, resize_bilinear
from pixelwise.registry import Params

DEPTH = 5
"""Number of features of an encoder with the strides 2, 4, 8, 16 and 32.

An encoder that starts at stride 4 has one feature less.
"""


class SMPDecoder(nn.Module):
    """A decoder of segmentation_models_pytorch, followed by a 1x1 convolution that returns the logits.

    The features are first resized by bilinear interpolation, so that each one is exactly twice as large as the next
    deeper one. This allows images of any size.

    Args:
        in_channels: number of channels of each feature, from shallow to deep. There are 5 features, or 4 if the first
            one has stride 4.
        classes: number of logits per pixel.
        build: a function that returns a decoder and the number of its output channels. Its argument is a list of six
            channel counts: of the image, and of the five features.

    Raises:
        ConfigError: There are fewer than 4 or more than 5 features.
    """

    def __init__(
        self, in_channels: Sequence[int], classes: int, build: Callable[[list[int]], tuple[nn.Module, int]]
    ) -> None:
        super().__init__()
        if not DEPTH - 1 <= len(in_channels) <= DEPTH:
            raise ConfigError(
                f"this decoder needs 4 or 5 features, but the encoder has {len(in_channels)}; set another "
                "`encoder_layers`, `encoder` or `decoder`"
            )
        # A missing feature has 0 channels.
        missing = [0] * (DEPTH - len(in_channels))
        self.body, channels = build([3, *missing, *in_channels])
        self.logits = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Return the logits.

        Args:
            features: (N, in_channels[i], h_i, w_i) float, from shallow to deep.
            size: height and width of the images in pixels.

        Returns:
            (N, classes, *size) float32.
        """
        deepest = features[-1]
        height, width = deepest.shape[-2:]
        pyramid = []
        for level, feature in enumerate(reversed(features)):
            target = (height << level, width << level)
            pyramid.append(feature if feature.shape[-2:] == target else resize_bilinear(feature, target))
        pyramid += [
            deepest.new_empty(len(deepest), 0, height << level, width << level)
            for level in range(len(features), DEPTH + 1)
        ]
        return resize_bilinear(self.logits(self.body(pyramid[::-1])).float(), size)


class UNetParams(Params):
    """Parameters of U-Net and UNet++."""

    channels: tuple[Channels, ...] = Field(
        (256, 128, 64, 32, 16),
        min_length=DEPTH,
        max_length=DEPTH,
        description="Channels of the blocks, from the deepest.",
    )
    attention: Literal["scse"] | None = Field(None, description="Attention in each block.")


class MAnetParams(Params):
    """Parameters of MAnet."""

    channels: tuple[Channels, ...] = Field(
        (256, 128, 64, 32, 16),
        min_length=DEPTH,
        max_length=DEPTH,
        description="Channels of the blocks, from the deepest.",
    )


class FPNParams(Params):
    """Parameters of the FPN."""

    pyramid_channels: Channels = Field(256, description="Channels of the pyramid.")
    segmentation_channels: Channels = Field(128, description="Channels of the segmentation blocks.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout rate before the logits.")


class SegformerParams(Params):
    """Parameters of SegFormer."""

    channels: Channels = Field(256, description="Channels of the decoder.")


def _unet(
    kind: str, in_channels: Sequence[int], classes: int, *, channels: Sequence[int], **options: Any
) -> SMPDecoder:
    """Return U-Net, UNet++ or MAnet."""
    if "attention" in options:
        options["attention_type"] = options.pop("attention")

    def build(feature_channels: list[int]) -> tuple[nn.Module, int]:
        decoder = _import(kind)(feature_channels, channels, n_blocks=DEPTH, **options)
        return decoder, channels[-1]

    return SMPDecoder(in_channels, classes, build)


def _linknet(in_channels: Sequence[int], classes: int) -> SMPDecoder:
    return SMPDecoder(in_channels, classes, lambda channels: (_import("linknet.Linknet")(channels, 32, DEPTH), 32))


def _fpn(
    in_channels: Sequence[int], classes: int, *, pyramid_channels: int, segmentation_channels: int, dropout: float
) -> SMPDecoder:
    def build(channels: list[int]) -> tuple[nn.Module, int]:
        decoder = _import("fpn.FPN")(channels, DEPTH, pyramid_channels, segmentation_channels, dropout)
        return decoder, segmentation_channels

    return SMPDecoder(in_channels, classes, build)


def _segformer(in_channels: Sequence[int], classes: int, *, channels: int) -> SMPDecoder:
    def build(feature_channels: list[int]) -> tuple[nn.Module, int]:
        return _import("segformer.Segformer")(feature_channels, DEPTH, channels), channels

    return SMPDecoder(in_channels, classes, build)


def _import(kind: str) -> Callable[..., nn.Module]:
    """Import the class of a decoder. `kind` is "folder.Name", for example "unet.Unet" for the class UnetDecoder."""
    folder, _, name = kind.partition(".")
    return getattr(import_module(f"{SMP_PACKAGE}.decoders.{folder}.decoder"), f"{name}Decoder")


if find_spec(SMP_PACKAGE) is not None:
    DECODERS.register("smp/unet", partial(_unet, "unet.Unet"), params=UNetParams)
    DECODERS.register("smp/unetplusplus", partial(_unet, "unetplusplus.UnetPlusPlus"), params=UNetParams)
    DECODERS.register("smp/manet", partial(_unet, "manet.MAnet"), params=MAnetParams)
    DECODERS.register("smp/linknet", _linknet)
    DECODERS.register("smp/fpn", _fpn, params=FPNParams)
    DECODERS.register("smp/segformer", _segformer, params=SegformerParams)
