"""Saving of the best model and of checkpoints, with a limit on the time that it takes."""

import math
import time

import psutil
import torch
from torch import Tensor, nn

from pixelwise.runs.checkpoint import Checkpoint
from pixelwise.runs.metrics_file import Row
from pixelwise.runs.run_dir import Run
from pixelwise.training.setup import TrainingSetup

MAX_SAVING_FRACTION = 0.03
"""Maximum fraction of the training time that is spent on writing weights, without the first and the last write."""

_MAX_MEMORY_FRACTION = 0.25
"""Maximum fraction of the free memory for the copy of a checkpoint. A larger checkpoint is written after each epoch."""


class Saver:
    """Write the best model and the checkpoints of a run.

    Each checkpoint is written with the best model so far. After a write that took t seconds, the next one follows at
    the earliest t / `MAX_SAVING_FRACTION` seconds later. Until then, a better model and the checkpoint of the last
    complete epoch are kept in memory. `write_last` writes both if an exception ends the training. If the process is
    killed, a resumed training repeats the epochs after the last checkpoint that was written.

    Args:
        run: the run directory.
        epoch: number of completed epochs, whose checkpoint is in the run directory.
    """

    def __init__(self, run: Run, epoch: int = 0) -> None:
        self._run = run
        self._best: tuple[dict[str, Tensor], Row] | None = None
        self._last: Checkpoint | None = None
        self._saved_epoch = epoch
        self._next_write = 0.0

    def keep_best(self, setup: TrainingSetup, row: Row) -> None:
        """Keep the present model in memory as the best one.

        Args:
            setup: the training.
            row: the row of metrics.csv for the epoch of the model.
        """
        weights = {name: tensor.detach().clone() for name, tensor in setup.model.state_dict().items()}
        self._best = weights, dict(row)

    def save_epoch(self, setup: TrainingSetup, epoch: int) -> None:
        """Write the best model and a checkpoint, or keep the checkpoint in memory (see `Saver`).

        A checkpoint with infinite or NaN weights is neither written nor kept, because the next step raises
        TrainingDivergedError. A resumed training then starts from the checkpoint before it.

        Args:
            setup: the training.
            epoch: number of completed epochs.
        """
        started = time.monotonic()
        if not has_finite_weights(setup.model):
            self._saved_epoch = epoch
            return
        checkpoint = setup.checkpoint(epoch)
        if started < self._next_write and checkpoint.size <= _MAX_MEMORY_FRACTION * psutil.virtual_memory().available:
            self._last = None  # frees the memory of the earlier copy
            self._last = checkpoint.copy()
            self._saved_epoch = epoch  # an interrupt before this line makes `write_last` use the training itself
            return
        self.write_best(setup)
        self._run.save_checkpoint(checkpoint)
        self._last, self._saved_epoch = None, epoch
        now = time.monotonic()
        self._next_write = now + (now - started) / MAX_SAVING_FRACTION

    def write_last(self, setup: TrainingSetup, epoch: int) -> None:
        """Write the best model and the checkpoint of the last complete epoch, unless they have been written already.

        The best model is written first. If the process is killed in between, a resumed training finds the same best
        model again.

        Args:
            setup: the training. Its steps after the last complete epoch are not saved.
            epoch: number of completed epochs.
        """
        if epoch > self._saved_epoch and has_finite_weights(setup.model):  # no step was made after `save_epoch` failed
            self._last = setup.checkpoint(epoch)
        self.write_best(setup)
        if self._last is not None:
            self._run.save_checkpoint(self._last)
            self._last = None

    def write_best(self, setup: TrainingSetup) -> None:
        """Write the best model if it has not been written yet."""
        if self._best is not None:
            self._run.save_best_model(setup.model, self._best[1], self._best[0])
            self._best = None

    def finish(self, setup: TrainingSetup, epoch: int) -> None:
        """Write the final checkpoint, which needs a quarter of the space of the others, see `Checkpoint.compact`.

        Args:
            setup: the training.
            epoch: number of completed epochs.
        """
        self._run.save_checkpoint(setup.checkpoint(epoch).compact())
        self._last, self._saved_epoch = None, epoch


def has_finite_weights(model: nn.Module) -> bool:
    """Return True if all weights and batch norm statistics of a model are finite."""
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    # A finite sum has finite summands. This reads the weights once, and the device's memory once.
    if math.isfinite(float(torch.stack([tensor.sum().float() for tensor in tensors]).sum())):
        return True
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
