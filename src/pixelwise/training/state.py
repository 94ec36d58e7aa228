"""The state of a training, for callbacks and loggers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from pixelwise.data.index import DatasetIndex
from pixelwise.data.schema import Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.run_dir import Row, Run

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
        scores = [-1.0 if row["val_miou"] is None else row["val_miou"] for row in self.history]
        return scores.index(max(scores)) + 1 if scores else 0
