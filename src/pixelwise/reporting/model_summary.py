"""What a model is made of, step by step: for the image of its architecture."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.models.model import SegmentationModel
from pixelwise.visualization import ModelStage


def summarize_model(model: SegmentationModel) -> list[ModelStage]:
    """Each step from image to logits with the shape of what it gives, found by showing the model one black image."""
    card, encoder, decoder = model.config, model.encoder, model.decoder
    image = torch.zeros(1, len(card.mean), card.size, card.size, dtype=torch.uint8, device=model.mean.device)
    training = model.training
    model.eval()
    with torch.no_grad():
        features, encoder_outputs = _watch(_leaves(encoder), lambda: model.encode(image))
        logits, level_outputs = _watch(list(decoder.stages), lambda: decoder(features, (card.size, card.size)))
    model.train(training)

    steps = [
        ModelStage(
            "image",
            "input",
            _shape(image),
            detail="uint8 " + ("RGB" if len(card.mean) == 3 else f"{len(card.mean)} bands") + ", 0 to 255",
        ),
        ModelStage("normalize", "normalize", _shape(image), detail=_normalized(card.mean, card.std)),
    ]
    counts = _parameters_by_feature(encoder, features, encoder_outputs)
    for name, feature, (count, trained) in zip(encoder.feature_names, features, counts, strict=True):
        steps.append(ModelStage(name, "encoder", _shape(feature), parameters=count, frozen_parameters=count - trained))
    for number, (index, (level, output)) in enumerate(zip(decoder.skips, level_outputs, strict=True), start=1):
        # The deepest feature is no skip: it is what comes up from below.
        source = encoder.feature_names[index] if index < len(features) - 1 else None
        steps.append(ModelStage(f"level {number}", "decoder", _shape(output), source, parameters=_parameters(level)))
    counted = _parameters(decoder) - sum(_parameters(level) for level in decoder.stages)
    return [*steps, ModelStage("logits", "logits", _shape(logits), detail="one a class", parameters=counted)]


def _watch(modules: Sequence[nn.Module], call: Callable[[], Any]) -> tuple[Any, list[tuple[nn.Module, Tensor]]]:
    """Make the call; give its result and each (module, output) in the order that they ran."""
    seen: list[tuple[nn.Module, Tensor]] = []
    handles = [module.register_forward_hook(lambda m, _, output: seen.append((m, output))) for module in modules]
    try:
        return call(), seen
    finally:
        for handle in handles:
            handle.remove()


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if next(each.parameters(recurse=False), None) is not None]


def _parameters_by_feature(
    encoder: nn.Module, features: Sequence[Tensor], outputs: Sequence[tuple[nn.Module, Tensor]]
) -> list[tuple[int, int]]:
    """The parameters before each feature and after the one above, all and those that train.

    Where a module stands is told by the size of what it gives.

    A module that never runs as such (position embeddings, say) counts with the one that stands before it.
    """
    level = 0
    levels: dict[nn.Module, int] = {}
    for module, output in outputs:
        while output.ndim == 4 and 1 < output.shape[2] < features[level].shape[2] and level + 1 < len(features):
            level += 1
        levels.setdefault(module, level)
    counts, trained, level = [0] * len(features), [0] * len(features), 0
    for module in _leaves(encoder):
        level = levels.get(module, level)
        for parameter in module.parameters(recurse=False):
            counts[level] += parameter.numel()
            trained[level] += parameter.numel() if parameter.requires_grad else 0
    return list(zip(counts, trained, strict=True))


def _normalized(mean: Sequence[float], std: Sequence[float]) -> str:
    if len(set(mean)) == len(set(std)) == 1:
        return f"(x − {mean[0]:g}) / {std[0]:g}"
    return "each channel by its own mean and spread"


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _shape(tensor: Tensor) -> tuple[int, int, int]:
    _, channels, height, width = tensor.shape
    return channels, height, width
