"""Saving of the best model and of checkpoints, with a limit on the time that it takes."""

import time

import torch
from torch import Tensor, nn

from pixelwise.runs.metrics_file import Row
from pixelwise.runs.run_dir import Run
from pixelwise.training.setup import TrainingSetup

MAX_SAVING_FRACTION = 0.03
"""Maximum fraction of the training time that is spent on writing weights, without the first and the last write."""


class Saver:
    """Write the best model and the checkpoints of a run.

    Each checkpoint is written with the best model so far. After a write that took t seconds, the next one follows at
    the earliest t / `MAX_SAVING_FRACTION` seconds later. Until then, a better model is kept in memory. If the process
    is killed, a resumed training repeats the epochs after the last checkpoint.

    Args:
        run: the run directory.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._best: tuple[dict[str, Tensor], Row] | None = None
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
        """Write the best model and a checkpoint, unless the last ones were written a short time ago (see `Saver`).

        Nothing is written if weights are infinite or NaN, because the next step raises TrainingDivergedError. A resumed
        training then starts from the checkpoint before them.

        Args:
            setup: the training.
            epoch: number of completed epochs.
        """
        started = time.monotonic()
        if started < self._next_write or not has_finite_weights(setup.model):
            return
        self.write_best(setup)
        self._run.save_checkpoint(setup.checkpoint(epoch))
        now = time.monotonic()
        self._next_write = now + (now - started) / MAX_SAVING_FRACTION

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


def has_finite_weights(model: nn.Module) -> bool:
    """Return True if all weights and batch norm statistics of a model are finite."""
    tensors = (tensor for tensor in model.state_dict().values() if tensor.is_floating_point())
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
