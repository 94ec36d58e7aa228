"""The base class of callbacks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pixelwise.errors import first_line
from pixelwise.training.state import TrainState

logger = logging.getLogger(__name__)


class Callback:
    """Base class with methods that are called during training. Subclasses override the methods they need.

    If several processes train together, callbacks run in the process with rank 0 only. An exception in a callback
    stops the training. Only an exception in `on_exception` is logged instead.
    """

    def on_train_start(self, state: TrainState) -> None:
        """Run before the first epoch. If a training is resumed, this is the first epoch after the resume."""

    def on_epoch_start(self, state: TrainState) -> None:
        """Run before each epoch."""

    def on_step_end(self, state: TrainState) -> None:
        """Run after each optimizer step. `state.step` and `state.loss` are the number and the loss of this step."""

    def on_epoch_end(self, state: TrainState) -> None:
        """Run after each epoch. The last row of `state.history` has the metrics of this epoch."""

    def on_train_end(self, state: TrainState) -> None:
        """Run after the last epoch, also if `state.should_stop` ended the training early."""

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        """Run if an exception such as KeyboardInterrupt ends the training. The exception is raised again afterwards."""


def is_drawing_epoch(epoch: int) -> bool:
    """Return True if images are drawn after an epoch: before the training, and after epochs 1, 2, 4, 8, …

    The best and the last epoch are drawn in addition when the training ends.

    >>> [epoch for epoch in range(20) if is_drawing_epoch(epoch)]
    [0, 1, 2, 4, 8, 16]
    """
    return epoch & (epoch - 1) == 0


@contextmanager
def warn_on_failure(drawing: str) -> Iterator[None]:
    """Log an exception in the block as a warning, because a failed drawing must not stop a training.

    Args:
        drawing: the name of the drawing, for the message.
    """
    try:
        yield
    except Exception as error:
        logger.warning("%s: not drawn (%s: %s)", drawing, type(error).__name__, first_line(error))
