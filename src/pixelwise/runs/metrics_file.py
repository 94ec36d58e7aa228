"""Read and write metrics.csv, the table of a run with one row per epoch. This module does not import torch."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from pixelwise.errors import RunError, first_line
from pixelwise.runtime.atomic import atomic_write

METRICS_FILE = "metrics.csv"

Row = dict[str, float | None]
"""A row of metrics.csv: column → value. None stands for a value that could not be measured."""


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Replace metrics.csv in one step, so that a killed process leaves the old or the new file.

    Does nothing if there are no rows. Rows of an earlier version can lack columns. Their cells are empty.

    Args:
        folder: the run directory.
        rows: one row per epoch, in order.
    """
    if rows:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = list(dict.fromkeys(name for row in reversed(rows) for name in row))
        writer.writerow(columns)
        writer.writerows([_format_cell(row.get(name)) for name in columns] for row in rows)
        with atomic_write(folder / METRICS_FILE) as part:
            part.write_text(text.getvalue(), encoding="utf-8")


def read_rows(folder: Path) -> list[Row]:
    """Read the rows of metrics.csv, one per epoch. Return an empty list before the end of the first epoch.

    Args:
        folder: the run directory.

    Raises:
        RunError: The file is damaged.
    """
    path = folder / METRICS_FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [_parse_row(number, row) for number, row in enumerate(csv.DictReader(file), start=1)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path}: cannot be read ({first_line(error)}); restore it from a copy, or train a new run"
        ) from None


def best_epoch(rows: Sequence[Row]) -> int:
    """Return the number of the first epoch with the highest validation mIoU, from 1.

    An epoch whose mIoU could not be measured counts less than any other.

    Args:
        rows: the rows of metrics.csv.

    Returns:
        The number of the epoch. 0 if there are no rows.

    >>> best_epoch([{"val_miou": 0.4}, {"val_miou": 0.5}, {"val_miou": 0.5}, {"val_miou": None}])
    2
    """
    scores = [-1.0 if row["val_miou"] is None else row["val_miou"] for row in rows]
    return scores.index(max(scores)) + 1 if scores else 0


def best_row(rows: Sequence[Row]) -> Row | None:
    """Return the row of `best_epoch`, or None if no epoch has a validation mIoU.

    Args:
        rows: the rows of metrics.csv.
    """
    row = rows[best_epoch(rows) - 1] if rows else None
    return None if row is None or row["val_miou"] is None else row


def summarize_history(rows: Sequence[Row]) -> str:
    """Return a line with the number of epochs and the best validation mIoU.

    Args:
        rows: the rows of metrics.csv.

    >>> summarize_history([{"epoch": 1.0, "val_miou": 0.5}, {"epoch": 2.0, "val_miou": 0.4}])
    '2 epochs, best validation mIoU 0.500 after epoch 1'
    """
    if not rows:
        return "no epoch is completed"
    count = f"{len(rows)} epoch{'s' * (len(rows) != 1)}"
    best = best_row(rows)
    if best is None:
        return count
    return f"{count}, best validation mIoU {best['val_miou']:.3f} after epoch {best_epoch(rows)}"


def _parse_row(number: int, cells: Mapping[str, str | None]) -> Row:
    """Parse row `number`, counted from 1, of metrics.csv. Raise ValueError if it is damaged."""
    if None in cells or None in cells.values() or not {"epoch", "val_miou"} <= cells.keys():
        raise ValueError(f"row {number} does not have the columns of an epoch")
    row = {name: float(cell) if cell else None for name, cell in cells.items()}
    if row["epoch"] != number:
        raise ValueError(f"row {number} is not that of epoch {number}")
    return row


def _format_cell(value: float | None) -> str:
    """Format a number with all of its digits, because a resumed run compares epochs by them. Return "" for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if float(value).is_integer() else repr(float(value))
