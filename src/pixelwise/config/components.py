"""Settings with a component: the registry of each."""

from typing import Any

from pixelwise.data.augmentations import AUGMENTATIONS
from pixelwise.losses import LOSSES
from pixelwise.models.decoders import DECODERS
from pixelwise.models.pretrained import PRETRAINED_SOURCES, resolve_source
from pixelwise.registry import ComponentSpec, Registry

_REGISTRIES: dict[str, Registry[Any]] = {
    "augmentation": AUGMENTATIONS,
    "encoder_weights": PRETRAINED_SOURCES,
    "decoder": DECODERS,
    "loss": LOSSES,
}


def registry_of(name: str) -> Registry[Any] | None:
    """Return the registry of a setting's components, or None if the setting is not a component."""
    return _REGISTRIES.get(name)


def normalize_component(name: str, spec: Any, encoder: str) -> ComponentSpec:
    """Return the shortest form of a setting with a component.

    Args:
        name: the setting.
        spec: its value. For `encoder_weights` it can be None or a path.
        encoder: the encoder that `encoder_weights` are for.

    Raises:
        ValueError: The value is not a name or a mapping.
        ConfigError: The component or a parameter is unknown, or a parameter is out of range.
    """
    if name == "encoder_weights":
        spec = resolve_source(encoder, spec)
    if not isinstance(spec, str | dict):
        raise ValueError("must be a name, or a mapping with a name and parameters")
    return _REGISTRIES[name].normalize(spec)
