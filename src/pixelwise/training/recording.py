"""The work after an epoch, and the end of a training by an exception: both record every complete epoch."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pixelwise.errors import first_line
from pixelwise.runs.metrics_file import Row, best_epoch
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.saving import Saver
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.state import TrainState
from pixelwise.training.temperature import store_temperature_on_stop

if TYPE_CHECKING:
    from lightning_fabric.loggers.logger import Logger

logger = logging.getLogger(__name__)

_MAX_INTERRUPTS = 10
"""Number of interrupts after which the last epoch is given up, because a disk may not respond."""


class Recorder:
    """Record the epochs of a training: metrics, callbacks, the best model and checkpoints.

    If an exception interrupts the work after an epoch, `record_rest` does the part that was left.

    Args:
        setup: the training.
        state: its state.
        callbacks: the callbacks.

    Attributes:
        saver: writes the best model and the checkpoints.
    """

    def __init__(self, setup: TrainingSetup, state: TrainState, callbacks: list[Callback]) -> None:
        self.saver = Saver(state.run, state.epoch)
        self._setup, self._state, self._callbacks = setup, state, callbacks
        self._unlogged: list[Logger] = []
        self._step = setup.step

    def add(self, row: Row) -> None:
        """Add the row of a complete epoch to the history. From then on, no exception can lose the epoch.

        Args:
            row: the row of metrics.csv.
        """
        history = self._state.history
        # Before a callback can change the row. If an interrupt follows, a resumed training finds the same best model.
        if self._setup.fabric.is_global_zero and best_epoch([*history, row]) == len(history) + 1:
            self.saver.keep_best(self._setup, row)
        self._unlogged = list(self._state.loggers)  # before the next line, so that an interrupt cannot lose the row
        history.append(row)
        self._step = self._setup.step

    def record(self) -> None:
        """Log the row of the last epoch, run the callbacks, and save the model. Only the process with rank 0 does."""
        while self._unlogged:
            self._log(self._unlogged[0])
            del self._unlogged[0]
        for callback in self._callbacks:
            callback.on_epoch_end(self._state)
        self.saver.save_epoch(self._setup, self._state.epoch)

    def record_rest(self, cause: BaseException) -> None:
        """Log the row of the last epoch and write its checkpoint, unless it was done. The callbacks do not run.

        Args:
            cause: the exception that ended the training.
        """
        run, epoch = self._state.run, self._state.epoch
        if not self._setup.fabric.is_global_zero:
            return
        for log in self._unlogged if epoch else ():
            _attempt(self._log, log, cause=cause)
        if len(run.read_metrics()) >= epoch:
            self.saver.write_last(self._setup, epoch)
        else:  # a resumed training needs the rows of all epochs of the checkpoint
            self.saver.write_best(self._setup)

    @property
    def lost_steps(self) -> int:
        """Number of optimizer steps after the last complete epoch, which a resumed training repeats."""
        return self._setup.step - self._step

    def _log(self, log: "Logger") -> None:
        row = self._state.history[-1]
        log.log_metrics({name: value for name, value in row.items() if value is not None}, step=self._state.epoch)


@contextmanager
def finalized(setup: TrainingSetup, state: TrainState, callbacks: list[Callback]) -> Iterator[Recorder]:
    """Yield the recorder of the epochs, and finalize the loggers when the block ends.

    If the block raises an exception, first save the best model and the last complete epoch, run the callbacks'
    `on_exception`, and raise the exception again afterwards. After an interrupt, the temperature is fitted as soon as
    the best model is saved. Further interrupts skip what is left, but not the saving.

    Args:
        setup: the training.
        state: its state.
        callbacks: the callbacks.
    """
    recorder, status = Recorder(setup, state, callbacks), "success"
    try:
        yield recorder
    except BaseException as error:
        status = "failed" if isinstance(error, Exception) else "aborted"
        if isinstance(error, KeyboardInterrupt) and setup.fabric.is_global_zero:
            logger.info("%s", _stop_message(state.epoch, recorder.lost_steps))
        _end_early(recorder, setup, state, callbacks, error)
        raise
    finally:
        for log in state.loggers:
            if status == "success":
                log.finalize(status)
            else:
                _attempt(log.finalize, status)


def _end_early(
    recorder: Recorder, setup: TrainingSetup, state: TrainState, callbacks: list[Callback], error: BaseException
) -> None:
    _save_despite_interrupts(recorder, error)
    try:
        if isinstance(error, KeyboardInterrupt) and setup.fabric.is_global_zero:
            _attempt(store_temperature_on_stop, state.run, setup)
        for callback in callbacks:
            _attempt(callback.on_exception, state, error)
    except KeyboardInterrupt:
        logger.info("stopping at once: the remaining drawings are skipped; all complete epochs are saved")
        raise


def _save_despite_interrupts(recorder: Recorder, cause: BaseException) -> None:
    """Save what `record_rest` saves, and start again after each interrupt.

    It takes about a second. Files are replaced as a whole, so it can be repeated.

    Args:
        recorder: the recorder.
        cause: the exception that ended the training.

    Raises:
        KeyboardInterrupt: The work was interrupted. It is complete, unless there were `_MAX_INTERRUPTS` interrupts.
    """
    interrupt = None
    for count in range(_MAX_INTERRUPTS):
        try:
            if count == 1:
                logger.info("stopping at once: the drawings are skipped; the last complete epoch is saved first")
            _attempt(recorder.record_rest, cause, cause=cause)
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _stop_message(epoch: int, steps: int) -> str:
    """Return the line that is logged after an interrupt.

    Args:
        epoch: number of complete epochs.
        steps: number of steps after them.

    >>> _stop_message(0, 1)
    'stopping: epoch 1 is not complete (1 step), `resume` repeats it; there is no model yet'
    >>> _stop_message(4, 0)
    'stopping: the best model, the last epoch and the drawings are saved; Ctrl-C again skips the drawings'
    """
    count = f"{steps} step{'s' * (steps != 1)}"
    lost = f"epoch {epoch + 1} is not complete ({count}), `resume` repeats it; " if steps else ""
    if epoch == 0:
        return f"stopping: {lost}there is no model yet"
    last = f"the best model, {f'epoch {epoch}' if steps else 'the last epoch'} and the drawings are saved"
    return f"stopping: {lost}{last}; Ctrl-C again skips the drawings"


def _attempt(function: Callable[..., object], *args: object, cause: BaseException | None = None) -> None:
    """Call a function. Log its exception instead of raising it, so that the original exception is not hidden.

    Args:
        function: the function.
        args: its arguments.
        cause: the original exception. An exception with the same message, such as a full disk, is not logged.
    """
    try:
        function(*args)
    except Exception as error:
        if first_line(error) != (None if cause is None else first_line(cause)):
            logger.warning(
                "%s failed (%s: %s)",
                getattr(function, "__qualname__", function), type(error).__name__, first_line(error),
            )  # fmt: skip
