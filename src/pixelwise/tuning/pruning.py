"""Early end of trials that are worse than the others."""

from typing import TYPE_CHECKING

from pixelwise.training.callbacks import Callback
from pixelwise.training.course import fraction_done
from pixelwise.training.state import TrainState

if TYPE_CHECKING:
    from optuna.trial import Trial

PARTS = 10
"""The best validation mIoU so far is compared at this number of points of a training.

A point is a fraction of the training, so that trials with a time budget can be compared, whose epochs differ in length.
"""


class Pruning(Callback):
    """Stop a training if its best validation mIoU is below the median of the earlier trials at the same point.

    Args:
        trial: the trial of Optuna. The pruner of its study compares the trials.
        reported: the last point that was reported before a resume, 0 to `PARTS`.

    Attributes:
        pruned: True if the training was stopped.
    """

    def __init__(self, trial: "Trial", reported: int = 0) -> None:
        self.trial, self.reported, self.pruned = trial, reported, False

    def on_epoch_end(self, state: TrainState) -> None:
        scores = [row["val_miou"] for row in state.history if row["val_miou"] is not None]
        seconds = state.history[-1]["seconds"] or 0.0
        point = int(PARTS * fraction_done(state.run.config, state.epoch, seconds))
        if not scores or point >= PARTS:
            return
        for part in range(self.reported + 1, point + 1):
            self.trial.report(max(scores), part)
        if point > self.reported:
            self.reported = point
            if self.trial.should_prune():
                self.pruned = state.should_stop = True
