"""Types of flags, and parsing of components and their parameters on the command line."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter

from pixelwise.errors import ConfigError, DataError
from pixelwise.registry import ComponentSpec
from pixelwise.runtime.files import expand_home
from pixelwise.runtime.parsing import parse_yaml

LIST_FLAG: dict[str, Any] = {
    "show_default": False,
    "consume_multiple": True,
    "negative_iterable": (),
    "negative_none": (),
}
"""Arguments of a `Parameter` for a flag with several values: --flag A B."""

DEVICES = ("auto", "cpu", "cuda", "mps")
"""Devices that the shell completes. Others, such as cuda:1, are valid too."""


OPEN_CHOICE: dict[str, Any] = {"show_choices": False, "metavar": "NAME"}
"""Arguments of a `Parameter` for a flag of the type `open_choice`. Its help text contains the names if they are few."""


def open_choice(names: Iterable[str]) -> Any:
    """Return the type of a flag whose value is any text. The shell completes `names`.

    The library checks the value, because registries can have more names, and its errors list the known ones. The
    `Parameter` of a flag with this type needs `OPEN_CHOICE`.

    >>> from typing import get_args
    >>> get_args(open_choice(["cpu", "cuda"]))
    (typing.Literal['cpu', 'cuda'], <class 'str'>)
    """
    return Literal[tuple(names)] | str


if TYPE_CHECKING:
    DataPath: TypeAlias = str
    Device: TypeAlias = str
else:
    DataPath = str | Path
    Device = Annotated[open_choice(DEVICES), Parameter(**OPEN_CHOICE)]
"""Type of the argument DATA, and type of the flag --device. DATA is text that the shell completes as a path."""


def check_data_exists(data: Iterable[str]) -> None:
    """Raise DataError if a data set does not exist. URLs are not checked.

    Commands call this before imports that take seconds.

    Args:
        data: paths and URLs.
    """
    for path in data:
        if "://" not in path and not expand_home(path).exists():
            raise DataError(f"{path}: no such file or directory")


def parse_components(flag: str, words: tuple[str, ...]) -> tuple[ComponentSpec, ...]:
    """Return components from words such as "early_stopping:patience=3,min_delta=0.01".

    Args:
        flag: the command-line flag, for error messages.
        words: the values of the flag. Each is a name, or a name, a colon and parameters.

    Raises:
        ConfigError: A parameter is not of the form PARAMETER=VALUE.

    >>> parse_components("--callbacks", ("early_stopping:patience=3",))
    ({'name': 'early_stopping', 'patience': 3},)
    """
    specs: list[ComponentSpec] = []
    for word in words:
        name, _, parameters = word.partition(":")
        specs.append({"name": name, **parse_parameters(flag, (parameters,))} if parameters else name)
    return tuple(specs)


def parse_parameters(flag: str, words: tuple[str, ...]) -> dict[str, Any]:
    """Return parameters from words such as "gamma=3".

    Args:
        flag: the command-line flag, for error messages.
        words: the values of the flag. Each is one PARAMETER=VALUE, or several separated by commas. VALUE is YAML: a
            number, true, text, [1, 2]. Text that is not valid YAML is used as it is.

    Raises:
        ConfigError: A part is not of the form PARAMETER=VALUE.

    >>> parse_parameters("--loss-args", ("alpha=0.3,beta=0.7",))
    {'alpha': 0.3, 'beta': 0.7}
    """
    parameters = {}
    for part in (part for word in words for part in re.split(r",(?=\s*\w+=)", word)):
        name, equals, value = part.partition("=")
        try:
            parsed = parse_yaml(value)
        except ValueError:
            parsed = value
        if not (name.strip() and equals and value.strip()):
            raise ConfigError(f"{flag}: '{part}' is not PARAMETER=VALUE; write for example gamma=3")
        parameters[name.strip()] = parsed
    return parameters


def parse_thresholds(words: Sequence[str]) -> dict[str, float]:
    """Return class name → threshold. Raise ConfigError if a word is not CLASS=NUMBER."""
    thresholds = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ConfigError(f"--thresholds: '{word}' is not CLASS=VALUE; write for example leaf=0.7")
    return thresholds
