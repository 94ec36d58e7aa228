"""Parsing of components and their parameters on the command line."""

import re
from typing import Any

from pixelwise.errors import ConfigError
from pixelwise.registry import ComponentSpec
from pixelwise.runtime.parsing import parse_yaml

LIST_FLAG: dict[str, Any] = {
    "show_default": False,
    "consume_multiple": True,
    "negative_iterable": (),
    "negative_none": (),
}
"""Arguments of a `Parameter` for a flag with several values: --flag A B."""


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
