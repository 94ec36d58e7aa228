"""The logger that writes the metrics to a CSV file."""

from collections.abc import Sequence
from typing import Any

from pixelwise.runs.metrics_file import Row
from pixelwise.training.loggers.base import RunLogger
from pixelwise.training.state import TrainState


class CSVLogger(RunLogger):
    """Write metrics.csv with one row per epoch. A resumed training continues the file.

    Args:
        state: the state of the training.
    """

    def __init__(self, state: TrainState) -> None:
        super().__init__(state.run.path.name)
        self._run = state.run
        self._columns = metric_columns(state.data.classes)
        self._rows: list[Row] | None = None

    def log_settings(self, settings: dict[str, Any]) -> None:
        """Do nothing, because config.yaml contains the settings."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write the row of an epoch. Existing rows of this epoch and of later ones are removed.

        Args:
            metrics: column name → value. A column without a value is left empty. Unknown names become columns at the
                end.
            step: the number of the epoch, from 1. None to append a row and remove none.
        """
        rows = self._run.read_metrics() if self._rows is None else self._rows
        columns = [*self._columns, *(name for name in metrics if name not in self._columns)]
        row = {name: metrics.get(name) for name in columns}
        self._rows = [*(rows if step is None else rows[: step - 1]), row]
        self._run.write_metrics(self._rows)


def metric_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of metrics.csv, in order."""
    return (
        "epoch", "step", "seconds", "train_seconds", "train_loss", "val_loss", "val_accuracy", "val_miou",
        *(f"iou_{name}" for name in classes),
        "images_per_second", "learning_rate",
    )  # fmt: skip
