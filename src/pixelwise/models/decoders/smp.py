"""Decoders of the package segmentation_models_pytorch (extra `smp`), for the encoders of pixelwise.

The decoders are registered if the package is installed. A decoder is imported when it is built. All of them take the
features of any encoder with four or five stages, or of four blocks of a plain transformer. DeepLabV3, PSPNet and PAN
are left out, because they need a dilated or a shallower encoder.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import torch.nn.functional as F
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
    deeper one. This allows images of any size. If all features have one size, as those of a plain transformer, the
    deepest is reduced to half of it, the next one keeps it, and the others are enlarged, as in DPT. For example,
    strides of 16 become 4, 8, 16 and 32.

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
        _allow_batches_of_one(self.body)
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
        if all(feature.shape[-2:] == (height, width) for feature in features):
            height, width = (height + 1) // 2, (width + 1) // 2
        pyramid = []
        for level, feature in enumerate(reversed(features)):
            target = (height << level, width << level)
            pyramid.append(feature if feature.shape[-2:] == target else resize_bilinear(feature, target))
        pyramid += [
            deepest.new_empty(len(deepest), 0, height << level, width << level)
            for level in range(len(features), DEPTH + 1)
        ]
        return resize_bilinear(self.logits(self.body(pyramid[::-1])).float(), size)


class PooledBatchNorm(nn.BatchNorm2d):
    """A batch norm behind global average pooling. A batch of one image is normalized by the running statistics.

    Its single value per channel has no standard deviation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, 1, 1) from (N, C, 1, 1)."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def _allow_batches_of_one(decoder: nn.Module) -> None:
    """Replace the batch norms behind global average pooling by `PooledBatchNorm`."""
    for branch in list(decoder.modules()):
        if not isinstance(branch, nn.Sequential) or getattr(next(iter(branch), None), "output_size", None) != 1:
            continue
        for parent in list(branch.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, PooledBatchNorm(child.num_features, child.eps, child.momentum))


class PreparedDecoder(nn.Module):
    """A decoder of the package whose arguments differ from a list of six features.

    Args:
        decoder: the decoder.
        prepare: a function from the six features, of strides 1 to 32, to the arguments of the decoder.
    """

    def __init__(self, decoder: nn.Module, prepare: Callable[[list[Tensor]], tuple[Any, ...]]) -> None:
        super().__init__()
        self.decoder = decoder
        self.prepare = prepare

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return the output of the decoder, (N, C, h, w)."""
        output: Tensor = self.decoder(*self.prepare(features))
        return output


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


class WidthParams(Params):
    """Parameters of SegFormer and UPerNet."""

    channels: Channels = Field(256, description="Channels of the decoder.")


class DeepLabParams(Params):
    """Parameters of DeepLabV3+."""

    channels: Channels = Field(256, description="Channels of the decoder.")
    atrous_rates: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(
        (6, 12, 18), min_length=3, max_length=3, description="Dilation of the three convolutions at stride 16."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout rate after the dilated convolutions.")


class DPTParams(Params):
    """Parameters of DPT."""

    channels: Channels = Field(256, description="Channels of the fused features.")
    feature_channels: tuple[Channels, ...] = Field(
        (256, 512, 1024, 1024), min_length=4, max_length=4, description="Channels of each feature, from the shallowest."
    )


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


def _with_width(kind: str, in_channels: Sequence[int], classes: int, *, channels: int) -> SMPDecoder:
    """Return SegFormer or UPerNet."""

    def build(feature_channels: list[int]) -> tuple[nn.Module, int]:
        return _import(kind)(feature_channels, DEPTH, channels), channels

    return SMPDecoder(in_channels, classes, build)


def _deeplab(
    in_channels: Sequence[int], classes: int, *, channels: int, atrous_rates: Sequence[int], dropout: float
) -> SMPDecoder:
    """Return DeepLabV3+. The paper's encoder has the stride 16. Here the feature of stride 32 is enlarged to that."""

    def build(feature_channels: list[int]) -> tuple[nn.Module, int]:
        decoder = _import("deeplabv3.DeepLabV3Plus")(feature_channels, DEPTH, channels, atrous_rates, 16, True, dropout)
        return PreparedDecoder(decoder, _enlarge_deepest), channels

    return SMPDecoder(in_channels, classes, build)


def _enlarge_deepest(features: list[Tensor]) -> tuple[list[Tensor]]:
    return ([*features[:-1], resize_bilinear(features[-1], features[-2].shape[-2:])],)


def _dpt(in_channels: Sequence[int], classes: int, *, channels: int, feature_channels: Sequence[int]) -> SMPDecoder:
    """Return DPT. The features already have the strides to which it resizes them, so its resizing changes nothing."""

    def build(all_channels: list[int]) -> tuple[nn.Module, int]:
        strides = (4, 8, 16, 32)
        decoder = _import("dpt.DPT")(all_channels[2:], strides, False, "ignore", feature_channels, channels)
        return PreparedDecoder(decoder, _four_deepest_without_tokens), channels

    return SMPDecoder(in_channels, classes, build)


def _four_deepest_without_tokens(features: list[Tensor]) -> tuple[list[Tensor], list[None]]:
    return features[2:], [None] * 4


def _import(kind: str) -> Callable[..., nn.Module]:
    """Import the class of a decoder. `kind` is "folder.Name", for example "unet.Unet" for the class UnetDecoder."""
    folder, _, name = kind.partition(".")
    return getattr(import_module(f"{SMP_PACKAGE}.decoders.{folder}.decoder"), f"{name}Decoder")


_LICENSE = "mit"
"""License of segmentation_models_pytorch."""

if find_spec(SMP_PACKAGE) is not None:
    DECODERS.register("smp/unet", partial(_unet, "unet.Unet"), params=UNetParams, license=_LICENSE)
    DECODERS.register(
        "smp/unetplusplus", partial(_unet, "unetplusplus.UnetPlusPlus"), params=UNetParams, license=_LICENSE
    )
    DECODERS.register("smp/manet", partial(_unet, "manet.MAnet"), params=MAnetParams, license=_LICENSE)
    DECODERS.register("smp/linknet", _linknet, license=_LICENSE)
    DECODERS.register("smp/fpn", _fpn, params=FPNParams, license=_LICENSE)
    DECODERS.register(
        "smp/segformer", partial(_with_width, "segformer.Segformer"), params=WidthParams, license=_LICENSE
    )
    DECODERS.register("smp/deeplabv3plus", _deeplab, params=DeepLabParams, license=_LICENSE)
    DECODERS.register("smp/upernet", partial(_with_width, "upernet.UPerNet"), params=WidthParams, license=_LICENSE)
    DECODERS.register("smp/dpt", _dpt, params=DPTParams, license=_LICENSE)
