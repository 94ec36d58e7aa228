"""The state of a training, for callbacks and loggers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from pixelwise.data.index import DatasetIndex
from pixelwise.data.schema import Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.metrics_file import Row, best_epoch
from pixelwise.runs.run_dir import Run

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger


@dataclass
class TrainState:
    """The state of a training. Callbacks can read it and set `should_stop`.

    Attributes:
        run: the run directory and the settings.
        data: the data set.
        model: the model in training.
        sample_records: the validation records whose predictions are drawn.
        datasets: the training and the validation data set.
        history: one row per completed epoch, with the columns of metrics.csv.
        loggers: the loggers of this training.
        step: number of optimizer steps so far.
        loss: the loss of the last step, a scalar on the training device. None before the first step. On a GPU, reading
            its value blocks until the step is computed.
        should_stop: if set to True, the training stops after the current epoch.
        started: time.monotonic() at the start of the training. If a training is resumed, it is earlier by the seconds
            that were spent before.
    """

    run: Run
    data: DatasetIndex
    model: SegmentationModel
    sample_records: Sequence[Record]
    datasets: Sequence[SegmentationDataset] = ()
    history: list[Row] = field(default_factory=list)
    loggers: "Sequence[Logger]" = ()
    step: int = 0
    loss: Tensor | None = None
    should_stop: bool = False
    started: float = field(default_factory=time.monotonic)

    def __repr__(self) -> str:
        return f"TrainState({self.run!r}, step {self.step})"

    @property
    def skipped(self) -> list[DataError]:
        """Errors of the records that are left out because they cannot be read, see `SegmentationDataset.skipped`."""
        return [error for images in self.datasets for error in images.skipped]

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """Number of the first epoch with the highest validation mIoU, from 1. 0 if no epoch is completed."""
        return best_epoch(self.history)
