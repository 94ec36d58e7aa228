"""Reading of JSON files that other programs wrote, and checks of the values in them."""

from pathlib import Path
from typing import Any

from pixelwise.data.formats._filesystem import read_text
from pixelwise.errors import DataError
from pixelwise.runtime.parsing import parse_json

MAX_NAME = 200
"""Maximum number of characters of a value from a file in a message, see `quote`."""


def read_json(path: Path, fix: str = "export it again, fix or remove it") -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        fix: the advice at the end of the error message.

    Raises:
        DataError: The file cannot be read or is not valid JSON. The message names the file.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: is not valid JSON ({error}); {fix}") from None


def is_name(value: object) -> bool:
    """Return True for text that can be a name: not empty, one line, printable."""
    return isinstance(value, str) and value.strip() != "" and value.isprintable()


def is_number(value: object) -> bool:
    """Return True for an int or a float between -1e300 and 1e300. Booleans are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def is_index(value: object) -> bool:
    """Return True for an int in 0..2**63 - 1. Booleans are not integers."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def quote(value: object) -> str:
    """Return the first `MAX_NAME` characters of a value from a file, for a message. Lone surrogates are replaced."""
    return str(value).encode("utf-8", "replace").decode()[:MAX_NAME]
