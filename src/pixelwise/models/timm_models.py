"""timm models as encoders: creation, loading of weights, and extraction of features at stages or layers."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.input_size import InputSize
from pixelwise.errors import ConfigError, WeightsError, first_line, unknown_name
from pixelwise.models.transformers import block_names, cut_at_blocks, spread_blocks

# timm is imported inside the functions that need it, because its import takes about a second.


def list_encoders(pattern: str | None = None, pretrained: bool = False) -> list[str]:
    """Return the sorted names of timm models.

    Some have no feature maps and cannot be encoders. Building one of them raises ConfigError.

    Args:
        pattern: a shell pattern, such as "resnet*". None for all models.
        pretrained: return only models with pretrained weights on the hub.

    >>> list_encoders("tf_efficientnet_lite?")[:2]
    ['tf_efficientnet_lite0', 'tf_efficientnet_lite1']
    """
    import timm

    names = timm.list_models(pattern or "")
    return [name for name in names if not pretrained or timm.is_model_pretrained(name)]


def list_layers(encoder: str, image_size: InputSize = 128) -> list[str]:
    """Return the names of the layers that the setting `encoder_layers` accepts for an encoder, in the order they run.

    Args:
        encoder: timm's name of the model.
        image_size: size of the images in pixels. Used only for encoders that accept one size.

    Raises:
        ConfigError: The model cannot be built.

    >>> "blocks.1.0.bn1" in list_layers("mobilenetv2_100")
    True
    """
    return _traced_names(create_timm_model(encoder, image_size))


def check_encoder(name: str) -> None:
    """Raise ConfigError if timm has no model of this name. The message lists the most similar names."""
    import timm

    if not timm.is_model(name):
        models = timm.list_models()
        near = get_close_matches(name, models, n=8, cutoff=0.5) or [each for each in models if each[:4] == name[:4]][:8]
        raise ConfigError(
            unknown_name("encoder", name, near or ["tf_efficientnet_lite0", "mobilenetv2_100", "resnet18"])
            + " or any other timm model"
        )


def has_fixed_input_size(name: str) -> bool:
    """Return True if a timm model accepts images of one size only, as some transformers do."""
    import timm

    pretrained = timm.get_pretrained_cfg(name)
    return pretrained is not None and pretrained.fixed_input_size


def check_sizes(name: str, train_size: InputSize, eval_size: InputSize, start_size: InputSize | None = None) -> None:
    """Check that images for training and prediction have the same size if the encoder accepts one size only.

    Args:
        name: timm's name of the model.
        train_size: size of training images in pixels.
        eval_size: size of images for validation and prediction in pixels.
        start_size: size of training images at the start of the training, or None for `train_size`.

    Raises:
        ConfigError: The sizes differ, and the encoder accepts one size only.
    """
    if train_size != eval_size and has_fixed_input_size(name):
        raise ConfigError(
            f"encoder '{name}' accepts images of one size, but training has {train_size} px and prediction "
            f"{eval_size} px; set `eval_scale` to 1"
        )
    if start_size not in (None, train_size) and has_fixed_input_size(name):
        raise ConfigError(
            f"encoder '{name}' accepts images of one size, but `start_size` is {start_size} px and `image_size` "
            f"{train_size} px; leave `start_size` out"
        )


def create_timm_model(name: str, image_size: InputSize, **options: Any) -> Any:
    """Return a new timm model.

    Args:
        name: timm's name of the model.
        image_size: size of the images in pixels. Used only for models that accept one size.
        options: keyword arguments of `timm.create_model`.

    Raises:
        ConfigError: The model cannot be built with these options, or not at this image size.
    """
    import timm

    if has_fixed_input_size(name):
        options["img_size"] = image_size
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
        raise ConfigError(f"encoder '{name}' cannot return features at {image_size} px: {first_line(error)}") from None


def adapt_first_layer(name: str, weights: dict[str, Tensor], in_channels: int) -> dict[str, Tensor]:
    """Adapt the weights of a model's first layer to another number of input channels, as timm does.

    The weights of the three channels are repeated and scaled.

    Args:
        name: timm's name of the model.
        weights: name in timm → tensor, for images of three channels.
        in_channels: the number of channels of the images.

    Returns:
        All weights, with those of the first layer adapted.

    Raises:
        ConfigError: timm does not state the first layer, or `weights` lacks it.
    """
    import timm
    from timm.models import adapt_input_conv

    pretrained = timm.get_pretrained_cfg(name)
    first = pretrained.first_conv if pretrained is not None else None
    if not isinstance(first, str) or f"{first}.weight" not in weights:
        raise ConfigError(
            f"the pretrained weights of encoder '{name}' cannot be adapted to images of {in_channels} channels; set "
            "`encoder_weights` to none, or choose another encoder"
        )
    return weights | {f"{first}.weight": adapt_input_conv(in_channels, weights[f"{first}.weight"])}


def default_blocks(name: str, image_size: InputSize) -> tuple[str, ...] | None:
    """Return the names of four evenly spaced blocks of a plain transformer, or None for any other encoder.

    They are the `encoder_layers` of a new model. Models of earlier versions have timm's own features.

    Args:
        name: timm's name of the encoder.
        image_size: size of the images in pixels.

    Raises:
        ConfigError: The encoder cannot be built at this size.

    >>> default_blocks("vit_tiny_patch16_224", 224)
    ('blocks.2', 'blocks.5', 'blocks.8', 'blocks.11')
    >>> default_blocks("swin_tiny_patch4_window7_224", 224) is default_blocks("resnet18", 224) is None
    True
    """
    if not has_fixed_input_size(name):
        return None
    with torch.device("meta"):  # no memory is allocated and no weights are drawn
        names = block_names(create_timm_model(name, image_size))
    return spread_blocks(names) if names else None


def cut_at_stages(
    name: str, image_size: InputSize, weights: dict[str, Tensor] | None, in_channels: int
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a timm model that outputs the features of its stages.

    Args:
        name: timm's name of the model.
        image_size: size of the images in pixels.
        weights: name in timm → tensor for the whole model, or None for random weights.
        in_channels: the number of channels of the images.

    Returns:
        The model, and the names of the modules whose outputs are the features.

    Raises:
        ConfigError: The model has no features, or cannot be built at this image size.
        WeightsError: The weights are not those of the model.
    """
    options: dict[str, Any] = {"in_chans": in_channels, "features_only": True}
    if weights is None:
        backbone = create_timm_model(name, image_size, **options)
    else:
        tensors = _create_with_weights(name, image_size, weights, in_channels).state_dict()
        with _no_warning_of_unused_weights():
            backbone = create_timm_model(
                name, image_size, pretrained=True, pretrained_cfg_overlay={"state_dict": tensors}, **options
            )
    return backbone, tuple(backbone.feature_info.module_name())


def cut_at_layers(
    name: str, image_size: InputSize, weights: dict[str, Tensor] | None, in_channels: int, layers: Sequence[str]
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a timm model that outputs the features of the named layers. Layers that follow them are removed.

    Args:
        name, image_size, weights, in_channels: see `cut_at_stages`.
        layers: names of layers, see `list_layers`, or of blocks of a plain transformer, see `block_names`.

    Returns:
        The model, which returns a dict of layer name → feature, or a list for blocks, and the names of the layers.

    Raises:
        ConfigError: A layer is unknown or named twice, `layers` is empty, or the model cannot be built.
        WeightsError: The weights are not those of the model.
    """
    from timm.models import create_feature_extractor

    model = _create_with_weights(name, image_size, weights, in_channels)
    if layers and set(layers) <= set(block_names(model)):
        return cut_at_blocks(model, layers), tuple(layers)
    known = _traced_names(model)
    if not layers:
        raise ConfigError("`encoder_layers` is empty; name at least one layer, or omit it for the encoder's own stages")
    for layer in layers:
        if layer not in known:
            raise ConfigError(unknown_name("layer", layer, known))
        if list(layers).count(layer) > 1:
            raise ConfigError(f"layer '{layer}' is named twice; name each once, from shallow to deep")
    return create_feature_extractor(model, {layer: layer for layer in layers}), tuple(layers)


def _create_with_weights(
    name: str, image_size: InputSize, weights: dict[str, Tensor] | None, in_channels: int
) -> nn.Module:
    """Return the whole timm model with the given weights.

    Raises:
        WeightsError: A tensor is missing, unknown or of another shape. Counters of batches may be missing.
    """
    model = create_timm_model(name, image_size, in_chans=in_channels)
    if weights is None:
        return model
    expected = model.state_dict()
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = expected.keys() - weights.keys() - counters
    unknown = weights.keys() - expected.keys()
    misfit = [key for key in expected.keys() & weights.keys() if expected[key].shape != weights[key].shape]
    if missing or unknown or misfit:
        example = sorted(missing or unknown or misfit)[0]
        raise WeightsError(
            f"these weights are not encoder '{name}': {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"{len(misfit)} of another shape, such as '{example}'"
        )
    model.load_state_dict(weights, strict=False)
    return model


@contextmanager
def _no_warning_of_unused_weights() -> Iterator[None]:
    """Suppress timm's warning about unused tensors within the block.

    It is expected, because no feature uses the tensors of the classifier.
    """
    logger = logging.getLogger("timm.models._builder")

    def is_other(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Unexpected keys")

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _traced_names(model: nn.Module) -> list[str]:
    """Return the names of the modules that torch.fx traces, in the order they run."""
    from timm.models import get_graph_node_names

    nodes, _ = get_graph_node_names(model)
    names: dict[str, None] = {}  # a dict keeps order
    for node in nodes:
        parts = node.split(".")
        names.update({".".join(parts[:end]): None for end in range(1, len(parts) + 1)})
    modules = {name for name, _ in model.named_modules()}
    return [name for name in names if name in modules]
