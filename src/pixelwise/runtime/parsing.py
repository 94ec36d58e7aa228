"""Read YAML and JSON that can be damaged or malicious. A fault of the text is a ValueError with a one-line message."""

import json
from pathlib import Path
from typing import Any

import yaml

_TOO_DEEP = "nested too deeply"

_MAX_VALUES = 1_000_000
"""Maximum number of values in a YAML text. A value that aliases repeat is counted at each place."""


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Only plain types of YAML are allowed, so no other Python objects are created.

    Raises:
        ValueError: The text is not valid YAML, is nested too deeply, has an alias that contains itself, or has more
            than 1,000,000 values. The message is one line.

    >>> parse_yaml("epochs: 3")
    {'epochs': 3}
    """
    try:
        value = yaml.safe_load(text)
        _check_size(value, {})
        return value
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def _check_size(value: object, sizes: dict[int, int]) -> int:
    """Return the number of values in a value, including nested ones.

    Args:
        value: the value of a YAML text.
        sizes: id of a list or mapping → its number of values, for those already counted. New ones are added.

    Raises:
        ValueError: The number is above `_MAX_VALUES`, or the value contains itself.
    """
    if not isinstance(value, list | tuple | dict):
        return 1
    if id(value) in sizes:
        size = sizes[id(value)]
    else:
        sizes[id(value)] = 0  # while it is counted, to detect a value that contains itself
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        size = sizes[id(value)] = 1 + sum(_check_size(part, sizes) for part in parts)
    if not 0 < size <= _MAX_VALUES:
        raise ValueError("an alias contains itself, or repeats too many values")
    return size


def read_yaml(path: Path) -> Any:
    """Return the value in a YAML file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8, or its text has a fault, see `parse_yaml`. The message is one line.
    """
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not valid JSON, or is nested too deeply. The message is one line.

    >>> parse_json("[1, 2]")
    [1, 2]
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8, or its text has a fault, see `parse_json`. The message is one line.
    """
    return parse_json(path.read_text(encoding="utf-8"))
