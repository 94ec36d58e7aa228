"""Translation of the names in model files of version 0.1 (format 1) to the names of format 2."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_FIELDS = {"layers": "encoder_layers", "padding": "encoder_padding", "bits": "bit_depth"}
_DECODERS = {"light": "fpn"}
_TENSOR_PREFIXES = {"encoder.body.": "encoder.backbone.", "decoder.levels.": "decoder.stages."}


def translate_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the fields of a model.json of format 1 to those of format 2.

    >>> translate_config({"format": 1, "decoder": "light", "bits": 12, "multilabel": True})
    {'format': 2, 'decoder': 'fpn', 'bit_depth': 12, 'task': 'multilabel'}
    """
    renamed = {_FIELDS.get(name, name): value for name, value in fields.items()} | {"format": 2}
    renamed["task"] = "multilabel" if renamed.pop("multilabel", False) else "multiclass"
    if "decoder" in renamed:
        renamed["decoder"] = _DECODERS.get(renamed["decoder"], renamed["decoder"])
    return renamed


def translate_tensor_names(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Return a model's tensors with the names of version 0.1 replaced by the current names.

    >>> list(translate_tensor_names({"encoder.body.conv.weight": None, "decoder.logits.bias": None}))
    ['encoder.backbone.conv.weight', 'decoder.logits.bias']
    """
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in _TENSOR_PREFIXES.items():
            if name.startswith(old):
                name = new + name.removeprefix(old)
        renamed[name] = tensor
    return renamed
