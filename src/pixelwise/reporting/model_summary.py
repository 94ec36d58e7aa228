"""Output shapes and parameter counts of the stages of a model, for the diagram of its architecture."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.input_size import to_pair
from pixelwise.models.config import ModelConfig
from pixelwise.models.encoder import Encoder
from pixelwise.models.model import SegmentationModel
from pixelwise.visualization import ModelStage


def summarize_model(model: SegmentationModel) -> list[ModelStage]:
    """Return the stages of a model from the image to the logits, measured in a forward pass of one black image.

    A decoder with the attributes `stages` and `skips` (see `Decoder`) has one stage for each module in `stages`. Any
    other decoder has one stage in all. The model is in evaluation mode during the pass, and its mode is restored.
    """
    config, size = model.config, to_pair(model.config.size)
    image = torch.zeros(1, len(config.mean), *size, dtype=torch.uint8, device=model.mean.device)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            features, encoder_outputs = _record_outputs(_leaves(model.encoder), lambda: model.encode(image))
            modules = _decoder_stages(model.decoder)
            logits, decoder_outputs = _record_outputs(modules, lambda: model.decoder(features, size))
    finally:
        model.train(training)
    return [
        *_input_stages(config, image),
        *_encoder_stages(model.encoder, features, encoder_outputs),
        *_decoder_and_logits(model, features, decoder_outputs, logits),
    ]


def _input_stages(config: ModelConfig, image: Tensor) -> list[ModelStage]:
    channels = len(config.mean)
    kind = "RGB" if channels == 3 else f"{channels} bands"
    normalization = _describe_normalization(config.mean, config.std)
    return [
        ModelStage("image", "input", _shape(image), detail=f"uint8 {kind}, 0 to 255"),
        ModelStage("normalize", "normalize", _shape(image), detail=normalization),
    ]


def _encoder_stages(
    encoder: Encoder, features: Sequence[Tensor], outputs: Sequence[tuple[nn.Module, Tensor]]
) -> list[ModelStage]:
    counts = _parameters_by_feature(encoder, features, outputs)
    return [
        ModelStage(name, "encoder", _shape(feature), parameters=count, frozen_parameters=count - trainable)
        for name, feature, (count, trainable) in zip(encoder.feature_names, features, counts, strict=True)
    ]


def _decoder_stages(decoder: nn.Module) -> Sequence[nn.Module]:
    """Return the decoder's modules from deep to shallow, or [] if it does not have as many `skips` as `stages`."""
    stages, skips = getattr(decoder, "stages", None), getattr(decoder, "skips", None)
    return list(stages) if stages is not None and skips is not None and len(stages) == len(skips) else []


def _decoder_and_logits(
    model: SegmentationModel,
    features: Sequence[Tensor],
    outputs: Sequence[tuple[nn.Module, Tensor]],
    logits: Tensor,
) -> list[ModelStage]:
    decoder, names = model.decoder, model.encoder.feature_names
    if not outputs:
        return [
            ModelStage("decoder", "decoder", _shape(logits), parameters=_count_parameters(decoder)),
            ModelStage("logits", "logits", _shape(logits), detail="one per class"),
        ]
    skips: Sequence[int] = decoder.skips  # type: ignore[assignment]
    stages = []
    for number, (index, (module, output)) in enumerate(zip(skips, outputs, strict=True), start=1):
        # The deepest feature is the decoder's input and not a skip connection.
        source = names[index] if index < len(features) - 1 else None
        parameters = _count_parameters(module)
        stages.append(ModelStage(f"stage {number}", "decoder", _shape(output), source, parameters=parameters))
    other = _count_parameters(decoder) - sum(stage.parameters for stage in stages)
    return [*stages, ModelStage("logits", "logits", _shape(logits), detail="one per class", parameters=other)]


def _record_outputs(
    modules: Sequence[nn.Module], call: Callable[[], Any]
) -> tuple[Any, list[tuple[nn.Module, Tensor]]]:
    """Return the result of a call, and each module with its output, in the order in which the modules ran."""
    outputs: list[tuple[nn.Module, Tensor]] = []
    handles = [module.register_forward_hook(lambda m, _, output: outputs.append((m, output))) for module in modules]
    try:
        return call(), outputs
    finally:
        for handle in handles:
            handle.remove()


def _leaves(module: nn.Module) -> list[nn.Module]:
    """Return the submodules that have parameters of their own, not only those of their children."""
    return [child for child in module.modules() if next(child.parameters(recurse=False), None) is not None]


def _parameters_by_feature(
    encoder: nn.Module, features: Sequence[Tensor], outputs: Sequence[tuple[nn.Module, Tensor]]
) -> list[tuple[int, int]]:
    """Count the parameters between each feature and the one before.

    A module is assigned to a feature by the height of its output. A module whose output was not recorded, for example
    position embeddings, is assigned to the same feature as the module before it.

    Returns:
        (number of all parameters, number of trainable parameters) for each feature.
    """
    index = 0
    feature_of: dict[nn.Module, int] = {}
    for module, output in outputs:
        while output.ndim == 4 and 1 < output.shape[2] < features[index].shape[2] and index + 1 < len(features):
            index += 1
        feature_of.setdefault(module, index)
    counts, trainable, index = [0] * len(features), [0] * len(features), 0
    for module in _leaves(encoder):
        index = feature_of.get(module, index)
        for parameter in module.parameters(recurse=False):
            counts[index] += parameter.numel()
            trainable[index] += parameter.numel() if parameter.requires_grad else 0
    return list(zip(counts, trainable, strict=True))


def _describe_normalization(mean: Sequence[float], std: Sequence[float]) -> str:
    if len(set(mean)) == len(set(std)) == 1:
        return f"(x − {mean[0]:g}) / {std[0]:g}"
    return "(x − mean) / std of each channel"


def _count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shape(tensor: Tensor) -> tuple[int, int, int]:
    """Return (channels, height, width) of a tensor (N, channels, height, width)."""
    _, channels, height, width = tensor.shape
    return channels, height, width
