"""The state of a training that callbacks and loggers see."""

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
    """The state that callbacks can read. They can set `should_stop`.

    Attributes:
        run: the run directory and the settings.
        data: the data set.
        model: the model in training.
        sample_records: the validation records whose predictions are drawn.
        datasets: the training and the validation images.
        history: one row per completed epoch, with the columns of metrics.csv.
        loggers: the loggers of this training.
        step: number of optimizer steps so far.
        loss: the loss of the last step, a scalar on the training device, or None before the first step. Reading its
            value waits for the device.
        should_stop: set it to True to stop the training after the current epoch.
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
        """Errors of the images that are left out because they cannot be read, see `SegmentationDataset.skipped`."""
        return [error for images in self.datasets for error in images.skipped]

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """Number of the first epoch with the highest validation mIoU, or 0 before the first epoch."""
        scores = [-1.0 if row["val_miou"] is None else row["val_miou"] for row in self.history]
        return scores.index(max(scores)) + 1 if scores else 0
