"""Setting names and values of version 0.1. They are translated in files. Elsewhere they raise an error."""

from collections.abc import Mapping
from typing import Any

FORMAT = 2
"""Value of the key `format` in config.yaml and plan.yaml. Files without this key have names of version 0.1."""

RENAMED_SETTINGS = {
    "size": "image_size",
    "predict_scale": "eval_scale",
    "augment": "augmentation",
    "validation_from": "val_from",
    "validation_fraction": "val_fraction",
    "cache": "cache_images",
    "skip_bad": "skip_unreadable",
    "layers": "encoder_layers",
    "padding": "encoder_padding",
    "pixels": "normalization",
    "schedule": "lr_schedule",
    "workers": "num_workers",
    "samples": "sample_predictions",
}
"""Old name → new name."""

RENAMED_VALUES: dict[str, dict[str, str]] = {
    "augmentation": {"crop-unmirrored": "crop-noflip"},
    "encoder_weights": {"embedded": "bundled"},
    "decoder": {"light": "fpn"},
    "loss": {"sigmoid": "bce", "sigmoid_dice": "bce_dice"},
    "class_weights": {"tempered": "inverse_sqrt"},
    "lr_schedule": {"one-cycle": "onecycle"},
    "precision": {"bf16": "bf16-mixed", "float32": "32-true"},
}
"""Setting → old value → new value."""


def translate(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace every old name and value in settings by the new one.

    >>> translate({"size": 64, "decoder": "light"})
    {'image_size': 64, 'decoder': 'fpn'}
    """
    renamed = {RENAMED_SETTINGS.get(name, name): value for name, value in settings.items()}
    return {name: _new_value(name, value) for name, value in renamed.items()}


def find_old_names(settings: Mapping[str, Any]) -> list[str]:
    """Return an error message for each old name and value in settings.

    >>> find_old_names({"size": 64, "loss": "sigmoid"})
    ['`size` is now `image_size`', "`loss`: 'sigmoid' is now 'bce'"]
    """
    names = [f"`{name}` is now `{RENAMED_SETTINGS[name]}`" for name in settings if name in RENAMED_SETTINGS]
    values = [
        f"`{name}`: '{value}' is now '{_new_value(RENAMED_SETTINGS.get(name, name), value)}'"
        for name, value in settings.items()
        if _new_value(RENAMED_SETTINGS.get(name, name), value) != value
    ]
    return names + values


def _new_value(name: str, value: Any) -> Any:
    return RENAMED_VALUES.get(name, {}).get(value, value) if isinstance(value, str) else value
