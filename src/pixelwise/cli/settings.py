"""Command-line flags for the settings of a training. They are generated from the fields of `Config`."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from pixelwise.cli.components import (
    DEVICES,
    LIST_FLAG,
    OPEN_CHOICE,
    open_choice,
    parse_components,
    parse_parameters,
)
from pixelwise.cli.encoders import encoder_names
from pixelwise.cli.flags import flag_of
from pixelwise.config import Config, registry_of
from pixelwise.errors import ConfigError
from pixelwise.registry import Registry
from pixelwise.training.callbacks import CALLBACKS
from pixelwise.training.loggers import LOGGERS

_GROUPS = ("Data", "Model", "Training", "Machine")

_COMPONENTS = ("augmentation", "encoder_weights", "decoder", "loss")
"""Settings that are a component. The flag --NAME sets the component's name, and --NAME-args its parameters."""

_COMPONENT_LISTS: dict[str, Registry[Any]] = {"callbacks": CALLBACKS, "loggers": LOGGERS}

_OPEN_CHOICES: dict[str, Callable[[], Iterable[str]]] = {
    "encoder": encoder_names,
    "class_weights": lambda: ("none", "balanced", "inverse_sqrt"),
    "device": lambda: DEVICES,
}
"""Setting that is text → function that returns the values that the shell completes."""

_DERIVED_DEFAULTS = {"encoder_layers": "one per stage of the encoder", "callbacks": "none"}
"""Setting → help text of its default, if the default value itself (None or an empty tuple) would be unclear."""

_PLANNED = frozenset(
    ("image_size", "batch_size", "epochs", "encoder", "encoder_weights", "encoder_training", "augmentation",
     "eval_scale", "loss", "class_weights", "val_fraction")
)  # fmt: skip
"""Settings that a plan decides. They are the keys of `pixelwise.planning.rules.RULES`, whose import takes seconds."""


def settings_model() -> type[BaseModel]:
    """Return a pydantic model whose fields are the flags for all settings. `given_settings` reads its instances."""
    flags: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        group, flag = str((field.json_schema_extra or {})["group"]), flag_of(name)  # type: ignore[index]
        is_open = name in (*_COMPONENTS, *_COMPONENT_LISTS, *_OPEN_CHOICES)
        flags[name] = _setting_flag(_flag_type(name, field), flag, _help_text(name, field), group, is_open)
        if name in _COMPONENTS:
            flags[f"{name}_args"] = _setting_flag(tuple[str, ...], f"{flag}-args", _parameters_text(name), group)
        if name == "encoder_training":
            text = "The same as --encoder-training none. --no-freeze-encoder is the same as --encoder-training auto."
            flags["freeze_encoder"] = _setting_flag(bool, "--freeze-encoder", text, group)
    return create_model("Settings", **flags)


def _setting_flag(kind: Any, flag: str, help_text: str, group: str, is_open: bool = False) -> tuple[Any, None]:
    """Return the type and the default of a pydantic field for a flag. `is_open` is True for the type `open_choice`."""
    parameter = Parameter(
        name=flag,
        help=help_text,
        group=Group(group, sort_key=_GROUPS.index(group)),
        **LIST_FLAG,
        **(OPEN_CHOICE if is_open else {}),
    )
    return Annotated[kind | None, parameter], None


def _flag_type(name: str, field: FieldInfo) -> Any:
    """Return the type of a flag's value. The text of components and class weights is parsed later.

    The types of components and of `_OPEN_CHOICES` are text with values that the shell completes.
    """
    if name in _COMPONENT_LISTS:
        return tuple[open_choice(_COMPONENT_LISTS[name]), ...]  # type: ignore[misc]
    if (registry := registry_of(name)) is not None:
        return open_choice(registry)
    if name in _OPEN_CHOICES:
        return open_choice(_OPEN_CHOICES[name]())
    return bool if field.annotation == bool | None else field.annotation


def _help_text(name: str, field: FieldInfo) -> str:
    """Return the help of a setting's flag: description, choices and default."""
    parts = [str(field.description)]
    registry = _COMPONENT_LISTS.get(name) or registry_of(name)
    if registry is not None and name != "encoder_weights":
        parts.append(f"Choices: {', '.join(registry)}.")
    if name in _COMPONENT_LISTS:
        parts.append("Write NAME, or NAME:PARAMETER=VALUE,… for parameters.")
    default = _DERIVED_DEFAULTS.get(name, "" if field.default is None else str(field.default).lower())
    if name in _PLANNED:
        default = "the plan's" + (f"; with --preset default {default}" if default else "")
    if default:
        parts.append(f"[default: {default}]")
    return " ".join(parts)


def _parameters_text(name: str) -> str:
    """Return the help of the flag --NAME-args: the parameters of each component."""
    registry = registry_of(name)
    assert registry is not None
    known = [f"{each} ({', '.join(registry[each].params.model_fields)})" for each in registry
             if registry[each].params.model_fields]  # fmt: skip
    return f"Parameters of {flag_of(name)}, each PARAMETER=VALUE: {', '.join(known) or 'none'}."


def given_settings(settings: BaseModel | None) -> dict[str, Any]:
    """Return the settings that were given as flags, as arguments of `Config`.

    Raises:
        ConfigError: There are parameters without a component, or a word is not PARAMETER=VALUE.
    """
    if settings is None:
        return {}
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    for name in _COMPONENTS:
        words = given.pop(f"{name}_args", None)
        if words is not None:
            flag = flag_of(name)
            if name not in given:
                raise ConfigError(f"{flag}-args needs {flag}, the component that has the parameters")
            given[name] = {"name": given[name], **parse_parameters(f"{flag}-args", words)}
    for name in _COMPONENT_LISTS:
        if name in given:
            given[name] = parse_components(flag_of(name), given[name])
    return given
