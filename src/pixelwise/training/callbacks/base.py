"""The base class of callbacks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pixelwise.errors import first_line
from pixelwise.training.state import TrainState

logger = logging.getLogger(__name__)


class Callback:
    """Methods that the training calls. Subclasses override those they need.

    If several processes train together, callbacks run in the process with rank 0 only. An exception in a callback
    stops the training.
    """

    def on_train_start(self, state: TrainState) -> None:
        """Run before the first epoch of this process. `state.epoch` is above 0 after a resume."""

    def on_epoch_start(self, state: TrainState) -> None:
        """Run before each epoch."""

    def on_step_end(self, state: TrainState) -> None:
        """Run after each optimizer step. `state.step` and `state.loss` are those of this step."""

    def on_epoch_end(self, state: TrainState) -> None:
        """Run after each epoch. The last row of `state.history` has its metrics."""

    def on_train_end(self, state: TrainState) -> None:
        """Run after the last epoch."""

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        """Run if an exception, such as KeyboardInterrupt, ends the training. It is raised again afterwards."""


@contextmanager
def warn_on_failure(drawing: str) -> Iterator[None]:
    """Turn an exception in the block into a logged warning: a drawing must never stop a training.

    Args:
        drawing: the name of the drawing, for the message.
    """
    try:
        yield
    except Exception as error:
        logger.warning("%s: not drawn (%s: %s)", drawing, type(error).__name__, first_line(error))
