"""TODO: module."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pixelwise.data.schema import DatasetIndex, Record
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.run_dir import Row, Run


@dataclass
class TrainState:
    """What a training shows to its hooks; `history` has one row an epoch so far, as in metrics.csv."""

    run: Run
    data: DatasetIndex
    model: SegmentationModel
    sample_records: Sequence[Record]
    history: list[Row] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the highest validation mIoU; 0 before any."""
        scores = [-1.0 if row["val_miou"] is None else row["val_miou"] for row in self.history]
        return scores.index(max(scores)) + 1 if scores else 0
