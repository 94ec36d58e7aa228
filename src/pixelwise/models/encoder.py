"""Encoders: timm models that return feature maps, from their own stages or from layers by name."""

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn

from pixelwise.data.input_size import HeightWidth, InputSize, to_pair
from pixelwise.errors import ConfigError, first_line
from pixelwise.models.config import Padding
from pixelwise.models.convolutions import avoid_padding_copies, use_float32_gradients, use_same_padding
from pixelwise.models.merged_norm import merge_norms, split_norms
from pixelwise.models.timm_models import adapt_first_layer, cut_at_layers, cut_at_stages, has_fixed_input_size

_EXAMPLE_SIDE = 128
"""Maximum side in pixels of the image with which the merging of batch norms is checked, unless the size is fixed."""


class FreezeMode(StrEnum):
    """When an encoder's weights are trained. The values are those of `Config.encoder_training`."""

    FROZEN = "none"
    """Never. The statistics of batch norms are not updated either."""

    DECODER_FIRST = "decoder-first"
    """After some epochs in which only the decoder is trained. The first gradients of a new decoder are noise."""

    TRAINABLE = "all"
    """From the first step."""


class Encoder(nn.Module):
    """A timm model that returns feature maps, from shallow to deep.

    Args:
        name: timm's name of the model.
        layers: names of layers whose outputs are the features, from shallow to deep. No output may be larger than the
            one before. None uses timm's own stages.
        padding: "native" for the model's own padding, or "same" for TensorFlow's: if the total padding is odd, the
            larger part is at the right and the bottom.
        image_size: size of the images in pixels. Some transformers accept only images of this size.
        weights: all tensors of the timm model by timm's names, or None for random weights. They are for three channels.
            For another number of channels, those of the first layer are repeated and scaled, as in timm.
        in_channels: number of channels of the images.

    Attributes:
        feature_names: the name of each feature.
        out_channels: the number of channels of each feature.
        reductions: the longer side of the image divided by that of each feature, rounded.
        pretrained: False if the encoder started with random weights.
        freeze_mode: when the weights are trained, see `freeze`.

    Raises:
        ConfigError: The model does not return feature maps at this size, a layer is unknown, or the layers are not in
            order.
        WeightsError: The weights are not those of this model.

    >>> encoder = Encoder("mobilenetv2_100")
    >>> [tuple(feature.shape) for feature in encoder(torch.zeros(1, 3, 128, 128))][-1]
    (1, 320, 4, 4)
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[str] | None = None,
        padding: Padding = "native",
        image_size: InputSize = 128,
        weights: dict[str, Tensor] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.pretrained = weights is not None
        self.freeze_mode = FreezeMode.TRAINABLE
        self._paused = False
        self._frozen_norms: list[nn.Module] = []
        if weights is not None and in_channels != 3:
            weights = adapt_first_layer(name, weights, in_channels)
        self.backbone, self.feature_names = (
            cut_at_stages(name, image_size, weights, in_channels)
            if layers is None
            else cut_at_layers(name, image_size, weights, in_channels, layers)
        )
        if padding == "same":
            use_same_padding(self.backbone)
        avoid_padding_copies(self.backbone)
        height, width = to_pair(image_size)
        is_fixed = has_fixed_input_size(name)
        self._example_size = (height, width) if is_fixed else (min(height, _EXAMPLE_SIDE), min(width, _EXAMPLE_SIDE))
        self._measure_features(image_size)

    def _measure_features(self, image_size: InputSize) -> None:
        """Set the channels, the reductions and the axis of the channels from the features of one image of zeros."""
        training = self.backbone.training
        self.backbone.eval()
        black = torch.zeros(1, self.in_channels, *to_pair(image_size))
        try:
            with torch.no_grad():
                shapes = [tuple(feature.shape) for feature in self._run_backbone(black)]
        except (RuntimeError, AssertionError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"this encoder cannot return features at {image_size} px ({first_line(error)}); set another "
                "`image_size`"
            ) from None
        self.backbone.train(training)
        for name, shape in zip(self.feature_names, shapes, strict=True):
            if len(shape) != 4:
                raise ConfigError(f"layer '{name}' returns a tensor of shape {shape}, not a (N, C, H, W) feature map")
        # Some of timm's transformers return (N, H, W, C).
        self._channels_last = _ratio_error(shapes, 1, image_size) < _ratio_error(shapes, 2, image_size)
        sizes = [HeightWidth(*(shape[1:3] if self._channels_last else shape[2:])) for shape in shapes]
        self.out_channels = tuple(shape[3] if self._channels_last else shape[1] for shape in shapes)
        self.reductions = tuple(round(max(to_pair(image_size)) / max(size)) for size in sizes)
        if any(max(after) > max(before) for before, after in pairwise(sizes)):
            named = ", ".join(f"{name} {size}" for name, size in zip(self.feature_names, sizes, strict=True))
            raise ConfigError(
                f"`encoder_layers` must go from shallow to deep, none larger than the one before: {named}"
            )

    def freeze(
        self, mode: FreezeMode | str, *, depthwise: bool = False, batchnorm: bool = False, stride: int = 0
    ) -> None:
        """Set which weights are trained. The settings of an earlier call are replaced.

        Args:
            mode: a `FreezeMode` or its value.
            depthwise: True to freeze depthwise and other grouped convolutions. They have few of the weights, and their
                gradients take longest on a CPU.
            batchnorm: True to stop updating the statistics of batch norms. Their weights are still trained.
            stride: freeze all layers on which the features with at most this stride depend, with the statistics of
                their batch norms. 0 freezes none. A step then computes no gradients of these layers, which have the
                largest outputs.
        """
        self.freeze_mode = FreezeMode(mode)
        self._paused = False
        self.requires_grad_(self.freeze_mode != FreezeMode.FROZEN)
        if self.freeze_mode != FreezeMode.FROZEN:
            for parameter in self._parameters_up_to(stride):
                parameter.requires_grad_(False)
        norms = [module for module in self.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        self._frozen_norms = [norm for norm in norms if batchnorm or not _trains(norm)]
        if depthwise and self.freeze_mode != FreezeMode.FROZEN:
            for module in self.modules():
                if isinstance(module, nn.Conv2d) and module.groups > 1:
                    module.weight.requires_grad_(False)
                    if max(module.stride) > 1:
                        use_float32_gradients(module)
        self._merge_norms()

    def _parameters_up_to(self, stride: int) -> list[nn.Parameter]:
        """Return the weights on which the features with at most this stride depend. All weights require gradients."""
        count = sum(reduction <= stride for reduction in self.reductions)
        if count == 0:
            return []
        split_norms(self.backbone)
        training = self.training
        self.backbone.eval()
        with torch.enable_grad():
            features = self._run_backbone(self._example())[:count]
            total = torch.stack([feature.sum() for feature in features]).sum()
        self.train(training)
        if not total.requires_grad:  # these features have no weights
            return []
        parameters = list(self.parameters())
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        used = zip(parameters, gradients, strict=True)
        return [parameter for parameter, gradient in used if gradient is not None]

    def _merge_norms(self) -> None:
        """Compute the batch norms whose statistics are constant in the convolutions before them."""
        training = self.training
        if self._frozen_norms:
            example = self._example()
            self.backbone.eval()
            merge_norms(self.backbone, lambda: self._run_backbone(example))
        else:
            split_norms(self.backbone)
        self.train(training)

    def _example(self) -> Tensor:
        """Return an image of random values, (1, in_channels, H, W) in the type of the weights."""
        example = torch.rand(1, self.in_channels, *self._example_size, generator=torch.Generator().manual_seed(0))
        return example.to(next(self.parameters()))

    def pause_gradients(self, paused: bool) -> None:
        """Pause or resume the training of the weights. In modes other than DECODER_FIRST, nothing is done."""
        self._paused = paused and self.freeze_mode == FreezeMode.DECODER_FIRST

    @property
    def computes_gradients(self) -> bool:
        """True if gradients of the weights are computed: the encoder is neither frozen nor paused."""
        return not (self._paused or self.freeze_mode == FreezeMode.FROZEN)

    def train(self, mode: bool = True) -> "Encoder":
        """Set training or evaluation mode. Modules whose statistics `freeze` keeps stay in evaluation mode.

        Args:
            mode: True for training mode.

        Returns:
            This encoder.
        """
        super().train(mode and self.freeze_mode != FreezeMode.FROZEN)
        for norm in self._frozen_norms:
            norm.eval()
        return self

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Return the features of images.

        Args:
            pixels: (N, in_channels, H, W) float, normalized.

        Returns:
            The features, from shallow to deep. Feature i is (N, out_channels[i], h_i, w_i) float.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.computes_gradients):
            features = self._run_backbone(pixels)
        return [feature.permute(0, 3, 1, 2) for feature in features] if self._channels_last else features

    def _run_backbone(self, pixels: Tensor) -> list[Tensor]:
        features = self.backbone(pixels)
        # timm returns layers in the order they run, not in the order of `feature_names`.
        return [features[name] for name in self.feature_names] if isinstance(features, dict) else features


def _trains(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _ratio_error(shapes: Sequence[tuple[int, ...]], axis: int, image_size: InputSize) -> float:
    """Return how much the ratio of two axes of the features differs from that of the image's height and width.

    Args:
        shapes: the shapes of the features.
        axis: the first of the two axes.
        image_size: size of the image in pixels.
    """
    height, width = to_pair(image_size)
    return sum(abs(math.log(shape[axis] * width / (shape[axis + 1] * height))) for shape in shapes)
