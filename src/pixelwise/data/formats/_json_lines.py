"""Reading of tables in JSON Lines: one object per line, whose keys are the columns."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pixelwise.data.io.parquet import ImageCell
from pixelwise.data.io.remote import RemoteFile
from pixelwise.errors import DataError
from pixelwise.runtime.parsing import parse_json

MAX_SAMPLED_ROWS = 100
"""Maximum number of first rows whose keys become the columns of the table."""


def sample_json_lines(text: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the first rows of a table.

    Args:
        text: the beginning of the file. Its last line can be incomplete.

    Returns:
        (keys, rows): the rows before the first damaged one, at most `MAX_SAMPLED_ROWS`, and their keys in order.
    """
    rows = []
    for line in filter(str.strip, text.split("\n")[:MAX_SAMPLED_ROWS]):
        try:
            rows.append(_to_row(line))
        except ValueError:  # a damaged line, or the last one, which is incomplete
            break
    return list(dict.fromkeys(key for row in rows for key in row)), rows


def json_line_rows(
    file: Path | RemoteFile, text: str, columns: Sequence[str], indices: Sequence[int]
) -> Iterator[tuple[int, list[str | ImageCell]]]:
    """Yield the line number and the cells of each row.

    Args:
        file: the file, for messages.
        text: its content.
        columns: the columns of the table.
        indices: the indices of the columns to read. A key that a row lacks is an empty cell.

    Raises:
        DataError: A line is not a JSON object.
    """
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _to_row(line)
        except ValueError as error:
            raise DataError(f"{file}, line {number}: is not a JSON object ({error}); fix or remove it") from None
        yield number, [row.get(columns[index], "") for index in indices]


def _to_row(line: str) -> dict[str, str]:
    """Parse a line. Raise ValueError if it is not a JSON object."""
    row = parse_json(line)
    if not isinstance(row, dict):
        raise ValueError("it starts with " + line.strip()[:1])
    return {key: _to_text(value) for key, value in row.items()}


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value)
