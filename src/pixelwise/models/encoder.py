"""Encoders: any timm model, cut at its feature levels or at layers by name."""

import logging
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pixelwise.errors import ConfigError, WeightsError, unknown_name

Padding = Literal["native", "same"]


class Encoder(nn.Module):
    """A timm model that gives features, shallow to deep.

    Args:
        name: timm's name of the model.
        layers: names of layers (modules of the timm model) whose outputs are the features; None for timm's own
            levels. Outputs must halve in size, or keep it, from one to the next.
        padding: "native", the model's own, or "same", as TensorFlow pads: where the sum is odd, more at the right
            and the bottom.
        size: pixels, the side of the images it will see (some transformers are built for one size).
        weights: the tensors of the whole timm model by timm's names, or None to start at random. Where they are of
            three channels and it takes another number, the first layer's are repeated and scaled, as timm does it.
        in_channels: the channels of the images.

    Attributes:
        feature_names: a name for each feature.
        out_channels: the channels of each feature.
        reductions: the image's side over each feature's.

    `forward` takes (N, channels_in, H, W) float normalized pixels and gives a list of (N, channels[i], h_i, w_i).

    >>> encoder = Encoder("mobilenetv2_100")
    >>> [tuple(feature.shape) for feature in encoder(torch.zeros(1, 3, 128, 128))][-1]
    (1, 320, 4, 4)
    """

    def __init__(
        self,
        name: str,
        layers: Sequence[str] | None = None,
        padding: Padding = "native",
        size: int = 128,
        weights: dict[str, Tensor] | None = None,
        channels_in: int = 3,
    ) -> None:
        super().__init__()
        self.in_channels = channels_in
        if weights is not None and channels_in != 3:
            weights = _adapted(name, weights, channels_in)
        self.frozen = self.held = self.keeps_statistics = False
        self.backbone, self.feature_names = (
            _cut_at_levels(name, size, weights, channels_in)
            if layers is None
            else _cut_at_layers(name, size, weights, tuple(layers), channels_in)
        )
        if padding == "same":
            _pad_same(self.backbone)
        self._measure(size)

    def _measure(self, size: int) -> None:
        """Find channels, reductions and layout by showing the body one black image."""
        training = self.backbone.training
        self.backbone.eval()
        try:
            with torch.no_grad():
                shapes = [tuple(feature.shape) for feature in self._run(torch.zeros(1, self.in_channels, size, size))]
        except (RuntimeError, AssertionError, ValueError, AttributeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f"this encoder cannot give features at {size} px ({reason}); try another size") from None
        self.backbone.train(training)
        for name, shape in zip(self.feature_names, shapes, strict=True):
            if len(shape) != 4:
                raise ConfigError(f"layer '{name}' gives a tensor of shape {shape}, not a (N, C, H, W) feature map")
        # Some of timm's transformers give (N, H, W, C); a feature map is square here, so the odd side out tells.
        self.channels_at_end = all(shape[1] == shape[2] != shape[3] for shape in shapes)
        sides = [shape[1] if self.channels_at_end else shape[2] for shape in shapes]
        self.out_channels = tuple(shape[3] if self.channels_at_end else shape[1] for shape in shapes)
        self.reductions = tuple(round(size / side) for side in sides)
        if any(after > before for before, after in pairwise(sides)):
            found = ", ".join(f"{name} {side}x{side}" for name, side in zip(self.feature_names, sides, strict=True))
            raise ConfigError(f"layers must go from shallow to deep, none larger than the one before: {found}")

    def freeze(self) -> None:
        """Leave the encoder's weights and its batch-norm statistics as they are from now on."""
        self.frozen = self.keeps_statistics = True
        self.requires_grad_(False)
        self.train(self.training)

    def freeze_batchnorm_and_depthwise(self) -> None:
        """Train pretrained weights gently: batch-norm statistics and depthwise weights stay as they are.

        A depthwise convolution holds few of the weights, and its gradients take a CPU the longest of all.
        """
        self.keeps_statistics = True
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.groups > 1:
                module.weight.requires_grad_(False)
                if max(module.stride) > 1:
                    _compute_in_float32(module)
        self.train(self.training)

    def pause_gradients(self, held: bool) -> None:
        """Leave the weights alone for now, as a new decoder's first gradients are noise; or let them train again."""
        self.held = held and self.keeps_statistics

    def train(self, mode: bool = True) -> "Encoder":
        """Set training mode, but for what `freeze` and `fine_tune` keep as it is."""
        super().train(mode and not self.frozen)
        if self.keeps_statistics:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def forward(self, pixels: Tensor) -> list[Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.frozen or self.held)):
            features = self._run(pixels)
        return [feature.permute(0, 3, 1, 2) for feature in features] if self.channels_at_end else features

    def _run(self, pixels: Tensor) -> list[Tensor]:
        features = self.backbone(pixels)
        # timm gives layers in the order they run, whatever the order they were asked for in.
        return [features[name] for name in self.feature_names] if isinstance(features, dict) else features


def check_encoder(name: str) -> None:
    """Raise ConfigError, with the nearest names, where timm has no such model."""
    import timm

    if not timm.is_model(name):
        models = timm.list_models()
        near = get_close_matches(name, models, n=8, cutoff=0.5) or [each for each in models if each[:4] == name[:4]][:8]
        raise ConfigError(
            unknown_name("encoder", name, near or ["tf_efficientnet_lite0", "mobilenetv2_100", "resnet18"])
            + " or any other of timm's"
        )


def has_fixed_input_size(name: str) -> bool:
    """Whether a model is built for images of one size alone, as some transformers are."""
    import timm

    pretrained = timm.get_pretrained_cfg(name)
    return pretrained is not None and pretrained.fixed_input_size


def check_sizes(name: str, training: int, predicting: int) -> None:
    """Raise ConfigError for two sizes where the model takes but one."""
    if training != predicting and has_fixed_input_size(name):
        raise ConfigError(
            f"encoder '{name}' takes images of one size, but would be trained at {training} px and predict at "
            f"{predicting} px; add --predict-scale 1"
        )


def layer_names(name: str, size: int = 128) -> list[str]:
    """The names that `--layers` takes for an encoder, in the order they run.

    >>> "blocks.1.0.bn1" in layer_names("mobilenetv2_100")
    True
    """
    return _traced_names(_create(name, size))


def _create(name: str, size: int, **options: Any) -> Any:
    import timm

    if has_fixed_input_size(name):
        options["img_size"] = size
    try:
        return timm.create_model(name, **options)
    except (
        TypeError,
        ValueError,
        RuntimeError,
        AssertionError,
        NotImplementedError,
        AttributeError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"encoder '{name}' cannot give features at {size} px: {reason}") from None


def _adapted(name: str, weights: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """The tensors with the first layer's made for images of so many channels."""
    import timm
    from timm.models import adapt_input_conv

    pretrained = timm.get_pretrained_cfg(name)
    first = pretrained.first_conv if pretrained is not None else None
    if not isinstance(first, str) or f"{first}.weight" not in weights:
        raise ConfigError(
            f"encoder '{name}' cannot be made for images of {channels} channels from its pretrained weights; use "
            "--encoder-weights none, or another encoder"
        )
    return weights | {f"{first}.weight": adapt_input_conv(channels, weights[f"{first}.weight"])}


def _create_whole(name: str, size: int, weights: dict[str, Tensor] | None, channels_in: int) -> nn.Module:
    """The whole timm model with every tensor of `weights` in it, or an error: none is ever passed over."""
    whole = _create(name, size, in_chans=channels_in)
    if weights is None:
        return whole
    own = whole.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = own.keys() - weights.keys() - counters
    strange = weights.keys() - own.keys()
    misfit = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    if missing or strange or misfit:
        example = sorted(missing or strange or misfit)[0]
        raise WeightsError(
            f"these weights are not encoder '{name}': {len(missing)} tensors missing, {len(strange)} unknown, "
            f"{len(misfit)} of another shape, such as '{example}'"
        )
    whole.load_state_dict(weights, strict=False)
    return whole


def _cut_at_levels(
    name: str, size: int, weights: dict[str, Tensor] | None, channels_in: int
) -> tuple[nn.Module, tuple[str, ...]]:
    """The timm model cut where its own `feature_info` says, and the names of those places."""
    if weights is None:
        body = _create(name, size, in_chans=channels_in, features_only=True)
    else:
        # timm says which tensors the levels leave unused: the classifier's, as they must.
        logging.getLogger("timm.models._builder").setLevel(logging.ERROR)
        overlay = {"state_dict": _create_whole(name, size, weights, channels_in).state_dict()}
        body = _create(
            name, size, in_chans=channels_in, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay
        )
    return body, tuple(body.feature_info.module_name())


def _cut_at_layers(
    name: str, size: int, weights: dict[str, Tensor] | None, layers: tuple[str, ...], channels_in: int
) -> tuple[nn.Module, tuple[str, ...]]:
    """The timm model cut at layers by name: what none of them needs is left out."""
    from timm.models import create_feature_extractor

    whole = _create_whole(name, size, weights, channels_in)
    known = _traced_names(whole)
    if not layers:
        raise ConfigError("layers: name at least one layer, or leave them out for the encoder's own levels")
    for layer in layers:
        if layer not in known:
            raise ConfigError(unknown_name("layer", layer, known))
        if list(layers).count(layer) > 1:
            raise ConfigError(f"layer '{layer}' is named twice; name each once, from shallow to deep")
    return create_feature_extractor(whole, {layer: layer for layer in layers}), layers


def _traced_names(whole: nn.Module) -> list[str]:
    from timm.models import get_graph_node_names

    nodes, _ = get_graph_node_names(whole)
    names: dict[str, None] = {}  # a dict keeps order
    for node in nodes:
        parts = node.split(".")
        names.update({".".join(parts[:end]): None for end in range(1, len(parts) + 1)})
    modules = {name for name, _ in whole.named_modules()}
    return [name for name in names if name in modules]


def _pad_same(body: nn.Module) -> None:
    """Make every strided convolution pad as TensorFlow's "same" does.

    At stride 1 an odd kernel's "same" is symmetric and so the same thing.
    """
    from timm.layers.conv2d_same import Conv2dSame

    for parent in list(body.modules()):
        for child_name, child in list(parent.named_children()):
            if type(child) is nn.Conv2d and max(child.stride) > 1 and max(child.kernel_size) > 1:
                same = Conv2dSame(
                    child.in_channels,
                    child.out_channels,
                    (child.kernel_size[0], child.kernel_size[1]),
                    (child.stride[0], child.stride[1]),
                    dilation=(child.dilation[0], child.dilation[1]),
                    groups=child.groups,
                    bias=child.bias is not None,
                )
                same.load_state_dict(child.state_dict())
                setattr(parent, child_name, same)


class _Float32Gradients:
    """Makes a convolution compute in float32 on a CPU where gradients flow through it."""

    def forward(self, x: Tensor) -> Tensor:
        if not (x.requires_grad and x.device.type == "cpu"):
            return super().forward(x)  # type: ignore[misc]
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())  # type: ignore[misc]


def _compute_in_float32(module: nn.Conv2d) -> None:
    """Keep a strided depthwise convolution out of bfloat16 where that is a trap.

    The gradient of its input takes a CPU tens of times longer in bfloat16 than in float32 (docs/decisions.md). The
    module keeps its place and its tensors' names: only its class gets another parent, as torch's own
    parametrisations do it.
    """
    kind = type(module)
    module.__class__ = type(f"Float32{kind.__name__}", (_Float32Gradients, kind), {})
