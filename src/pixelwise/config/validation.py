"""Parsing and checks of single settings, and one-line messages for pydantic's validation errors."""

import math
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError

from pixelwise.errors import ConfigError, unknown_name
from pixelwise.losses.class_weights import CLASS_WEIGHT_POWERS
from pixelwise.models.encoder_table import MODEL_SIZES
from pixelwise.runtime.durations import parse_duration

_QUOTE = reprlib.Repr()
_QUOTE.maxstring = _QUOTE.maxother = 200
"""Shortens the values that messages quote.

A short YAML file can define a huge value, because its aliases repeat a list many times.
"""

_HAS_VALUE = re.compile(r" \(got .*\)$", re.DOTALL)
"""The end of a message that has the value already."""


Duration = Annotated[float, BeforeValidator(lambda value: parse_duration(value) if isinstance(value, str) else value)]
"""The type of a setting in seconds. Text such as "5m" is parsed."""


def parse_class_weights(value: object) -> object:
    """Parse text such as "pet=2,border=1" to a dict of class name → weight. Return other values unchanged.

    Raises:
        ValueError: A part of the text is not name=weight, or a class is given twice.
    """
    if not isinstance(value, str) or value in ("none", *CLASS_WEIGHT_POWERS):
        return value
    choices, weights = ", ".join(CLASS_WEIGHT_POWERS), {}
    for part in value.split(","):
        name, _, number = part.partition("=")
        name = name.strip()
        if name in weights:
            raise ValueError(f"'{name}' is given twice")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ValueError(f"'{part}' is not name=weight; choose none, {choices} or pet=2,border=1") from None
    return weights


def check_class_weight_values(value: str | dict[str, float]) -> str | dict[str, float]:
    """Return the weights. Raise ValueError if one is negative or not finite."""
    if isinstance(value, dict) and any(not 0 <= weight < math.inf for weight in value.values()):
        raise ValueError("weights must be finite, and 0 or more")
    return value


def check_length(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if given settings have both a number of epochs and a time budget."""
    if settings.get("epochs") is not None and settings.get("time_budget") is not None:
        raise ConfigError("`epochs` and `time_budget` are two ways to set the length of a training; give one of them")


def expand_shorthands(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with `freeze_encoder` and `model_size` replaced by the settings that they stand for.

    `freeze_encoder` True becomes `encoder_training` "none". False becomes "auto", or keeps an `encoder_training` that
    is given. `model_size` becomes the `encoder` of this size.

    Raises:
        ConfigError: A value is not valid, or contradicts the other setting.

    >>> expand_shorthands({"freeze_encoder": True, "epochs": 3})
    {'epochs': 3, 'encoder_training': 'none'}
    """
    settings = dict(settings)
    if (size := settings.pop("model_size", None)) is not None:
        if size not in MODEL_SIZES:
            raise ConfigError(f"`model_size`: must be one of {', '.join(MODEL_SIZES)} (got {size!r})")
        if settings.setdefault("encoder", MODEL_SIZES[size].name) != MODEL_SIZES[size].name:
            raise ConfigError(
                f"`model_size`: {size} is the encoder {MODEL_SIZES[size].name}, but `encoder` is "
                f"{settings['encoder']}; give one of them"
            )
    if "freeze_encoder" not in settings:
        return settings
    frozen = settings.pop("freeze_encoder")
    if not isinstance(frozen, bool):
        raise ConfigError(f"`freeze_encoder`: must be true or false (got {frozen!r})")
    mode = settings.setdefault("encoder_training", "none" if frozen else "auto")
    if frozen != (mode == "none"):
        raise ConfigError(f"`freeze_encoder`: {frozen} contradicts `encoder_training` {mode}; give one of them")
    return settings


def format_validation_error(error: ValidationError, model: type[BaseModel], nested: bool = True) -> str:
    """Return the messages of a pydantic error in one line.

    An example is "`epochs`: Input should be greater than or equal to 1 (got 0)".

    Args:
        error: the error that the model raised.
        model: the model. The message about an unknown field suggests one of its field names.
        nested: True to name the entry inside a field ("data.kind"), False to name the field only ("data").
    """
    parts = []
    for finding in error.errors():
        location = list(map(str, finding["loc"]))
        if finding["type"] == "extra_forbidden":
            if location[0] in model.model_fields:
                parts.append(f"`{'.'.join(location)}`: unknown entry")
            else:
                parts.append(unknown_name("setting", location[0], model.model_fields))
        else:
            name = ".".join(location if nested else location[:1])
            message = finding["msg"].removeprefix("Value error, ")
            # The message about a parameter of a component has its value already.
            got = "" if _HAS_VALUE.search(message) else f" (got {_QUOTE.repr(finding['input'])})"
            parts.append(f"`{name}`: {message}{got}")
    return "; ".join(dict.fromkeys(parts))
