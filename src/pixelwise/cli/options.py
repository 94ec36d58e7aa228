"""Flags that several commands share: the settings of a training, and how masks are read."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import yaml
from cyclopts import Group, Parameter
from pydantic import BaseModel, create_model

from pixelwise.cli.flags import flag_of
from pixelwise.config import Config, choices_of
from pixelwise.data.formats import FORMATS
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError
from pixelwise.registry import ComponentSpec

_GROUPS = ("Data", "Model", "Training", "Machine")

_COMPONENTS = ("augmentation", "encoder_weights", "decoder", "loss")
"""Settings with a component. --NAME has its name, --NAME-args its parameters."""

_COMPONENT_LISTS = ("callbacks", "loggers")

_DERIVED_DEFAULTS = {
    "encoder_weights": "bundled or hub",
    "encoder_layers": "one per stage of the encoder",
    "freeze_depthwise": "on a CPU",
    "freeze_batchnorm": "on a CPU",
    "callbacks": "none",
    "loggers": "csv, and tensorboard if installed",
}


def settings_model() -> type[BaseModel]:
    """Return a model with one flag for each field of `Config`. `given_settings` returns those that are set."""
    fields: dict[str, Any] = {}

    def add(name: str, kind: Any, help_text: str, group: str, flag: str) -> None:
        parameter = Parameter(
            name=flag,
            help=help_text,
            group=Group(group, sort_key=_GROUPS.index(group)),
            show_default=False,
            consume_multiple=True,
            negative_iterable=(),
            negative_none=(),
        )
        fields[name] = (Annotated[kind | None, parameter], None)

    for name, field in Config.model_fields.items():
        group = str((field.json_schema_extra or {})["group"])  # type: ignore[index]
        choices = choices_of(name)
        default = _DERIVED_DEFAULTS.get(name, str(field.default).lower())
        help_text = " ".join(filter(None, [
            field.description,
            f"Choices: {', '.join(choices)}." if choices and name != "encoder_weights" else "",
            f"[default: {default}]",
        ]))  # fmt: skip
        kind: Any = field.annotation
        if name in (*_COMPONENTS, "class_weights"):
            kind = str
        elif name in _COMPONENT_LISTS:
            kind = tuple[str, ...]
            help_text = f"{field.description} Each is NAME or NAME:PARAMETER=VALUE,… [default: {default}]"
        elif kind == bool | None:
            kind = bool
        add(name, kind, help_text, group, flag_of(name))
        if name in _COMPONENTS:
            text = f"Parameters of {flag_of(name)}, each PARAMETER=VALUE."
            add(f"{name}_args", tuple[str, ...], text, group, f"{flag_of(name)}-args")
        if name == "encoder_training":
            add("freeze_encoder", bool, "Short for --encoder-training none; --no-freeze-encoder for auto.", group,
                "--freeze-encoder")  # fmt: skip
    return create_model("Settings", **fields)


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
    return Parameter(help=text, group=_MASKS, consume_multiple=True, negative_iterable=(), negative_none=())


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
