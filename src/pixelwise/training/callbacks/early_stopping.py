"""The callback for early stopping."""

import logging
import math

from pydantic import Field

from pixelwise.registry import Params
from pixelwise.runs.metrics_file import Row
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState

logger = logging.getLogger(__name__)


class EarlyStoppingParams(Params):
    """Parameters of `EarlyStopping`.

    Attributes:
        patience: number of consecutive epochs without an improvement after which the training stops.
        min_delta: an epoch is an improvement if its validation mIoU exceeds that of the last improvement by more than
            this value, in [0, 1).
    """

    patience: int = Field(default=10, ge=1)
    min_delta: float = Field(default=0.0, ge=0, lt=1)


class EarlyStopping(Callback):
    """Stop the training if the validation mIoU has not improved for `patience` epochs.

    The decision depends only on the history of the run, so a resumed training stops after the same epoch as an
    uninterrupted one.

    Args:
        patience: see `EarlyStoppingParams`.
        min_delta: see `EarlyStoppingParams`.
    """

    def __init__(self, patience: int = 10, min_delta: float = 0.0) -> None:
        self.patience, self.min_delta = patience, min_delta

    def on_train_start(self, state: TrainState) -> None:
        self._check(state)

    def on_epoch_end(self, state: TrainState) -> None:
        self._check(state)

    def _check(self, state: TrainState) -> None:
        if self.is_over(state.history):
            last = last_improvement(state.history, self.min_delta)
            logger.info("stopped after epoch %d: no better validation mIoU since epoch %d", state.epoch, last)
            state.should_stop = True

    def is_over(self, history: list[Row]) -> bool:
        """Return True if the training stops after these epochs. It does not stop after an epoch without a validation.

        Args:
            history: one row per epoch with the columns "val_loss" and "val_miou".
        """
        if history and history[-1]["val_loss"] is None:
            return False
        return len(history) - last_improvement(history, self.min_delta) >= self.patience


def last_improvement(history: list[Row], min_delta: float) -> int:
    """Return the number of the last epoch that improved the validation mIoU by more than `min_delta`.

    The first epoch is an improvement. Every other epoch is compared with the last improvement before it.

    Args:
        history: one row per epoch with the column "val_miou". None counts as −1.
        min_delta: see `EarlyStoppingParams`.

    Returns:
        The number of the epoch, from 1. 0 if the history is empty.

    >>> last_improvement([{"val_miou": 0.5}, {"val_miou": 0.52}, {"val_miou": 0.58}], min_delta=0.05)
    3
    """
    best, last = -math.inf, 0
    for epoch, row in enumerate(history, start=1):
        score = -1.0 if row["val_miou"] is None else row["val_miou"]
        if score > best + min_delta:
            best, last = score, epoch
    return last
