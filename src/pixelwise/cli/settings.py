"""Flags for the settings of a training, made from the fields of `Config`."""

from typing import Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from pixelwise.cli.components import LIST_FLAG, parse_components, parse_parameters
from pixelwise.cli.flags import flag_of
from pixelwise.config import Config, registry_of
from pixelwise.errors import ConfigError
from pixelwise.registry import Registry
from pixelwise.training.callbacks import CALLBACKS
from pixelwise.training.loggers import LOGGERS

_GROUPS = ("Data", "Model", "Training", "Machine")

_COMPONENTS = ("augmentation", "encoder_weights", "decoder", "loss")
"""Settings with a component. --NAME has its name, --NAME-args its parameters."""

_COMPONENT_LISTS: dict[str, Registry[Any]] = {"callbacks": CALLBACKS, "loggers": LOGGERS}

_DERIVED_DEFAULTS = {"encoder_layers": "one per stage of the encoder", "callbacks": "none"}
"""Texts for defaults whose own value would not be understood."""


def settings_model() -> type[BaseModel]:
    """Return a model with one flag for each field of `Config`. `given_settings` returns those that are set."""
    flags: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        group, flag = str((field.json_schema_extra or {})["group"]), flag_of(name)  # type: ignore[index]
        flags[name] = _setting_flag(_flag_type(name, field), flag, _help_text(name, field), group)
        if name in _COMPONENTS:
            flags[f"{name}_args"] = _setting_flag(tuple[str, ...], f"{flag}-args", _parameters_text(name), group)
        if name == "encoder_training":
            text = "Short for --encoder-training none; --no-freeze-encoder for auto."
            flags["freeze_encoder"] = _setting_flag(bool, "--freeze-encoder", text, group)
    return create_model("Settings", **flags)


def _setting_flag(kind: Any, flag: str, help_text: str, group: str) -> tuple[Any, None]:
    """Return the definition of a model's field with this flag."""
    parameter = Parameter(
        name=flag,
        help=help_text,
        group=Group(group, sort_key=_GROUPS.index(group)),
        **LIST_FLAG,
    )
    return Annotated[kind | None, parameter], None


def _flag_type(name: str, field: FieldInfo) -> Any:
    """Return the type of a flag's value. Components and class weights are text that is parsed later."""
    if name in (*_COMPONENTS, "class_weights"):
        return str
    if name in _COMPONENT_LISTS:
        return tuple[str, ...]
    return bool if field.annotation == bool | None else field.annotation


def _help_text(name: str, field: FieldInfo) -> str:
    """Return a setting's description, the names it can have, and its default."""
    parts = [str(field.description)]
    registry = _COMPONENT_LISTS.get(name) or registry_of(name)
    if registry is not None and name != "encoder_weights":
        parts.append(f"Choices: {', '.join(registry)}.")
    if name in _COMPONENT_LISTS:
        parts.append("Write NAME, or NAME:PARAMETER=VALUE,… for parameters.")
    default = _DERIVED_DEFAULTS.get(name, "" if field.default is None else str(field.default).lower())
    if default:
        parts.append(f"[default: {default}]")
    return " ".join(parts)


def _parameters_text(name: str) -> str:
    """Return the help of a flag for a component's parameters: the parameters of every component."""
    registry = registry_of(name)
    assert registry is not None
    known = [f"{each} ({', '.join(registry[each].params.model_fields)})" for each in registry
             if registry[each].params.model_fields]  # fmt: skip
    return f"Parameters of {flag_of(name)}, each PARAMETER=VALUE: {', '.join(known) or 'none so far'}."


def given_settings(settings: BaseModel | None) -> dict[str, Any]:
    """Return the settings that were given as flags, as `Config` takes them."""
    if settings is None:
        return {}
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    for name in _COMPONENTS:
        words = given.pop(f"{name}_args", None)
        if words is not None:
            flag = flag_of(name)
            if name not in given:
                raise ConfigError(f"{flag}-args needs {flag}: the parameters belong to a component")
            given[name] = {"name": given[name], **parse_parameters(f"{flag}-args", words)}
    for name in _COMPONENT_LISTS:
        if name in given:
            given[name] = parse_components(flag_of(name), given[name])
    return given
