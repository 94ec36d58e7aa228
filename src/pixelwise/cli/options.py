"""Flags that several commands share: the settings of a training, and how masks are read."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import yaml
from cyclopts import Group, Parameter
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from pixelwise.cli.flags import flag_of
from pixelwise.config import Config, registry_of
from pixelwise.data.formats import FORMATS
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError
from pixelwise.registry import ComponentSpec, Registry
from pixelwise.training.callbacks import CALLBACKS
from pixelwise.training.loggers import LOGGERS

_GROUPS = ("Data", "Model", "Training", "Machine")

_COMPONENTS = ("augmentation", "encoder_weights", "decoder", "loss")
"""Settings with a component. --NAME has its name, --NAME-args its parameters."""

_COMPONENT_LISTS: dict[str, Registry[Any]] = {"callbacks": CALLBACKS, "loggers": LOGGERS}

LIST_FLAG: dict[str, Any] = {
    "show_default": False,
    "consume_multiple": True,
    "negative_iterable": (),
    "negative_none": (),
}
"""Arguments of a `Parameter` for a flag with several values: --flag A B."""

_DERIVED_DEFAULTS = {"encoder_layers": "one per stage of the encoder", "callbacks": "none"}
"""Defaults that are not the field's own. An empty text, because the description has it: the settings with None."""


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


def parse_components(flag: str, words: tuple[str, ...]) -> tuple[ComponentSpec, ...]:
    """Return components from words such as "early_stopping:patience=3,min_delta=0.01".

    Args:
        flag: the flag that has the words, for error messages.
        words: a name each, or a name with parameters.

    >>> parse_components("--callbacks", ("early_stopping:patience=3",))
    ({'name': 'early_stopping', 'patience': 3},)
    """
    specs: list[ComponentSpec] = []
    for word in words:
        name, _, parameters = word.partition(":")
        specs.append({"name": name, **parse_parameters(flag, (parameters,))} if parameters else name)
    return tuple(specs)


def parse_parameters(flag: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters from words such as "gamma=3". One word can have several with commas between.

    Args:
        flag: the flag that has the words, for error messages.
        words: one PARAMETER=VALUE each. A value is YAML: a number, true, text, [1, 2].

    >>> parse_parameters("--loss-args", ("alpha=0.3,beta=0.7",))
    {'alpha': 0.3, 'beta': 0.7}
    """
    parameters = {}
    for part in (part for word in words for part in re.split(r",(?=\s*\w+=)", word)):
        name, equals, value = part.partition("=")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError:
            parsed = value
        if not (name.strip() and equals and value.strip()):
            raise ConfigError(f"{flag}: '{part}' is not PARAMETER=VALUE; write for example gamma=3")
        parameters[name.strip()] = parsed
    return parameters


_MASKS = Group("Masks", sort_key=-1)


def _mask_flag(text: str) -> Parameter:
    return Parameter(help=text, group=_MASKS, **LIST_FLAG)


@Parameter(name="*")
@dataclass(frozen=True)
class DataFlags:
    """Flags for the format of a data set and the meaning of its mask values."""

    format: Annotated[str | None, _mask_flag(f"Format of DATA: {', '.join(FORMATS)}. [default: detected]")] = None
    classes: Annotated[
        tuple[str, ...],
        _mask_flag("Names for the mask values, in order. If DATA names its classes: the classes to keep."),
    ] = ()
    ignore_values: Annotated[tuple[str, ...], _mask_flag("Mask values to ignore: 255, or #e0e0c0.")] = ()
    label_map: Annotated[
        tuple[str, ...], _mask_flag("Class of each mask value: 0=background 255=cat #ff0000=dog 7=ignore.")
    ] = ()

    def label_options(self, skip_unreadable: bool = False) -> LabelOptions:
        """Return the flags as options of the library. Lists can also be one word with commas."""
        pairs = []
        for text in _split_words(self.label_map):
            value, equals, name = text.partition("=")
            if not (equals and value.strip() and name.strip()):
                raise ConfigError(
                    f"--label-map: '{text}' is not VALUE=CLASS; write 0=background 255=cat, or #ff0000=dog"
                )
            pairs.append((value.strip(), name.strip()))
        return LabelOptions(
            format=self.format,
            classes=_split_words(self.classes),
            ignore_values=_split_words(self.ignore_values),
            label_map=tuple(pairs),
            skip_unreadable=skip_unreadable,
        )


def _split_words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for text in texts for word in text.split(",") if word.strip())
