"""Settings, callbacks and comparisons that the tests of the training share."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from pixelwise.runs.metrics_file import Row
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks import Callback
from pixelwise.training.epoch import train_epoch
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.state import TrainState

SMALL: dict[str, Any] = {
    "encoder": "test_efficientnet",  # timm's smallest, with 0.4 million parameters
    "encoder_weights": "none",
    "image_size": 32,
    "batch_size": 4,
    "epochs": 4,
    "optimizer": "adamw",
    "precision": "32-true",
    "device": "cpu",
    "defaults": False,  # drawings take longer than such a training
}
"""Arguments of `train` for a training of about a second."""

TIME_COLUMNS = ("seconds", "train_seconds", "images_per_second")


class RecordWeights(Callback):
    """Keeps the weights after each epoch."""

    def __init__(self) -> None:
        self.models: list[dict[str, Tensor]] = []

    def on_epoch_end(self, state: TrainState) -> None:
        self.models.append({name: tensor.clone() for name, tensor in state.model.state_dict().items()})


class Interrupt(Callback):
    """Interrupts the training at its start, or after an epoch and before its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_start(self, state: TrainState) -> None:
        self._interrupt(state)

    def on_epoch_end(self, state: TrainState) -> None:
        self._interrupt(state)

    def _interrupt(self, state: TrainState) -> None:
        if state.epoch == self.epoch:
            raise KeyboardInterrupt


def train_epochs(setup: TrainingSetup, state: TrainState, epochs: int = 3) -> list[float]:
    """Train epochs without callbacks and validations, and return their losses."""
    losses = []
    with TrainingProgress(False) as bars:
        bars.start(setup.course, 0, 1)
        for _ in range(epochs):
            row = train_epoch(setup, state, [], bars)
            state.history.append(row)
            losses.append(float(row["train_loss"] or 0))
    return losses


def equal_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def metrics_without_times(run: Run) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in TIME_COLUMNS} for row in run.read_metrics()]


def value(row: Row, name: str) -> float:
    """Return a value of a row that must not be missing."""
    number = row[name]
    assert number is not None
    return number


def assert_same_run(one: Run, other: Run) -> None:
    assert metrics_without_times(one) == metrics_without_times(other)
    for name in ("model.safetensors", "last/model.safetensors", "last/optimizer.safetensors"):
        assert equal_tensors(load_file(one.path / name), load_file(other.path / name)), name
    for name in ("config.yaml", "data.yaml"):
        assert (one.path / name).read_text() == (other.path / name).read_text()


def files_with_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
