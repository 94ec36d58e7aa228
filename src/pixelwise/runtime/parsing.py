"""Reading of YAML and JSON, which can be damaged or made to harm: every fault is a ValueError with one line."""

import json
from pathlib import Path
from typing import Any

import yaml

_TOO_DEEP = "nested too deeply"

_MAX_VALUES = 1_000_000
"""Maximum number of values in a YAML text. A value counts at each of its places: aliases can repeat it often."""


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Only YAML's plain types are made.

    Raises:
        ValueError: The text is not valid YAML, or is nested too deeply. The message is one line.

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
    """Return the number of values in a value. `sizes` has those of the lists and mappings that were counted before."""
    if not isinstance(value, list | tuple | dict):
        return 1
    if id(value) in sizes:
        size = sizes[id(value)]
    else:
        sizes[id(value)] = 0  # until it is counted: a list that contains itself
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        size = sizes[id(value)] = 1 + sum(_check_size(part, sizes) for part in parts)
    if not 0 < size <= _MAX_VALUES:
        raise ValueError("an alias contains itself, or repeats too many values")
    return size


def read_yaml(path: Path) -> Any:
    """Return the value in a YAML file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8 text or not valid YAML. The message is one line.
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
        ValueError: The file is not UTF-8 text or not valid JSON. The message is one line.
    """
    return parse_json(path.read_text(encoding="utf-8"))
