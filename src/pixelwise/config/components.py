"""Settings whose value is a registered component, such as a loss: their registries and their shortest form."""

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
    """Return the registry of a setting's components, or None if the value of the setting is not a component."""
    return _REGISTRIES.get(name)


def normalize_component(name: str, spec: Any, encoder: str) -> ComponentSpec:
    """Check the component in a setting and return its shortest form.

    Args:
        name: the name of the setting, a key of `_REGISTRIES`.
        spec: the value of the setting. For `encoder_weights` it can also be None or the path of a file as text.
        encoder: timm's name of the encoder. It is used for `encoder_weights` only.

    Returns:
        The name of the component if all parameters have their defaults. Otherwise a mapping with the name and the other
        parameters.

    Raises:
        ValueError: The value is neither a name nor a mapping.
        ConfigError: The component or a parameter is unknown, or a parameter is out of range.
    """
    if name == "encoder_weights":
        spec = resolve_source(encoder, spec)
    if not isinstance(spec, str | dict):
        raise ValueError("must be a name, or a mapping with a name and parameters")
    return _REGISTRIES[name].normalize(spec)
