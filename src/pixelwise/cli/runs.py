"""`pixelwise runs`."""

from pathlib import Path
from time import localtime, strftime
from typing import Any

from pixelwise.cli.entry import DONE
from pixelwise.errors import DataError, printable
from pixelwise.runs.listing import RunSummary, list_runs


def runs_command(folder: Path = Path("runs"), /) -> int:
    """List runs with their data, score, size and training time.

    Args:
        folder: Directory with runs at any depth up to four.
    """
    from rich.table import Table
    from rich.text import Text

    from pixelwise.reporting.tables import table_console

    if not folder.is_dir():
        raise DataError(f"{folder}: no such directory; name the directory that contains your runs")
    summaries = list_runs(folder)
    if not summaries:
        print(printable(f"{folder}: no runs; train one with pixelwise train DATA"))
        return DONE
    table = Table(box=None, pad_edge=False)
    for heading, justify in _COLUMNS.items():
        table.add_column(heading, justify=justify, overflow="fold")
    for summary in summaries:
        table.add_row(*(Text(printable(cell)) for cell in _cells(summary, folder)))
    table_console().print(table)
    return DONE


_COLUMNS: dict[str, Any] = {
    "run": "left",
    "data": "left",
    "val mIoU": "right",
    "test mIoU": "right",
    "image": "right",
    "model": "right",
    "epochs": "right",
    "minutes": "right",
    "started": "left",
}
"""Heading of each column of the table → its alignment."""


def _cells(summary: RunSummary, folder: Path) -> tuple[str, ...]:
    """Return the row of a run, or its name and its fault if it cannot be read."""
    name = str(summary.path.relative_to(folder)) if summary.path != folder else str(folder)
    if summary.kind != "run":
        name = f"{name} ({summary.kind})"
    if summary.fault:
        return name, summary.fault
    score = "–" if summary.val_miou is None else f"{summary.val_miou:.3f}"
    if summary.val_sd is not None:
        score = f"{score} ± {summary.val_sd:.3f}"
    return (
        name,
        summary.data.rstrip("/").rpartition("/")[2] if " + " not in summary.data else summary.data,
        score,
        "–" if summary.test_miou is None else f"{summary.test_miou:.3f}",
        f"{summary.image_size} px",
        "–" if summary.model_mib is None else f"{summary.model_mib:.1f} MiB",
        str(summary.epochs),
        f"{summary.minutes:.1f}",
        strftime("%Y-%m-%d %H:%M", localtime(summary.started)),
    )
