"""Writes of the best model and of checkpoints: seldom, in the right order, and all of them at the end."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pixelwise.training.saving import MAX_SAVING_FRACTION, Saver, has_finite_weights


class State:
    """A checkpoint of a model with one weight. Like a checkpoint, it has the tensor itself until it is copied."""

    size = 4

    def __init__(self, name: str, weight: torch.Tensor) -> None:
        self.name, self.weight = name, weight

    def copy(self) -> "State":
        return State(self.name, self.weight.clone())

    def compact(self) -> "State":
        return State("compact", self.weight)

    @property
    def text(self) -> str:
        return f"{self.name} {float(self.weight):.0f}"


class Disk:
    """A run directory that records what is written. Each write takes 0.1 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("pixelwise.training.saving.time.monotonic", lambda: self.now)
        self.writes: list[str] = []
        self.fails_at = ""

    def save_best_model(self, model: Any, row: Any, weights: Any) -> None:
        self._write(f"best {row['epoch']} {float(weights['w']):.0f}")

    def save_checkpoint(self, checkpoint: State) -> None:
        self._write(checkpoint.text)

    def _write(self, text: str) -> None:
        if self.fails_at and text.startswith(self.fails_at):
            self.fails_at = ""
            raise KeyboardInterrupt
        self.now += 0.1
        self.writes.append(text)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def make_setup() -> Any:
    weights = {"w": torch.zeros(())}
    return SimpleNamespace(
        weights=weights,
        model=SimpleNamespace(state_dict=lambda: weights),
        checkpoint=lambda epoch: State(f"checkpoint {epoch}", weights["w"]),
    )


def make_saver(disk: Disk, epoch: int = 0) -> Saver:
    return Saver(disk, epoch)  # type: ignore[arg-type]


def train_epoch(disk: Disk, setup: Any, saver: Saver, epoch: int, is_best: bool = False) -> None:
    """Train an epoch of one second, whose weights are its number."""
    disk.now += 1.0
    setup.weights["w"].fill_(epoch)
    if is_best:
        saver.keep_best(setup, {"epoch": epoch})
    saver.save_epoch(setup, epoch)


def test_writes_take_a_small_part_of_the_time(disk: Disk) -> None:
    setup, saver = make_setup(), make_saver(disk)
    for epoch in range(1, 41):
        train_epoch(disk, setup, saver, epoch, is_best=True)
    assert disk.writes[:2] == ["best 1 1", "checkpoint 1 1"], "the first epoch is written at once"
    assert disk.writes[2:4] == ["best 8 8", "checkpoint 8 8"], "later, 0.2 s are 3 % of 6.7 s"
    assert 0.1 * (len(disk.writes) - 2) / 40 < MAX_SAVING_FRACTION
    saver.write_best(setup)
    assert disk.writes[-1] == "best 40 40"
    saver.write_best(setup)
    assert disk.writes.count("best 40 40") == 1
    saver.finish(setup, 40)
    assert disk.writes[-1] == "compact 40"


def test_a_checkpoint_follows_the_best_model_before_it(disk: Disk) -> None:
    setup, saver = make_setup(), make_saver(disk)
    saver.save_epoch(setup, 1)
    saver.keep_best(setup, {"epoch": 2})
    setup.weights["w"].fill_(7)  # the model trains on
    saver.save_epoch(setup, 2)
    disk.now += 60
    saver.save_epoch(setup, 3)
    assert disk.writes == ["checkpoint 1 0", "best 2 0", "checkpoint 3 7"]


def test_the_last_epoch_is_written_at_an_interrupt(disk: Disk) -> None:
    setup, saver = make_setup(), make_saver(disk)
    for epoch in (1, 2, 3):
        train_epoch(disk, setup, saver, epoch, is_best=epoch == 2)
    setup.weights["w"].fill_(99)  # a step of epoch 4
    saver.write_last(setup, 3)
    assert disk.writes == ["checkpoint 1 1", "best 2 2", "checkpoint 3 3"]
    saver.write_last(setup, 3)
    assert len(disk.writes) == 3, "nothing is written twice"


def test_an_epoch_that_was_not_saved_is_that_of_the_training(disk: Disk) -> None:
    setup, saver = make_setup(), make_saver(disk)
    train_epoch(disk, setup, saver, 1)
    train_epoch(disk, setup, saver, 2)
    setup.weights["w"].fill_(3)
    saver.write_last(setup, 3)  # the interrupt came before `save_epoch(setup, 3)`
    assert disk.writes == ["checkpoint 1 1", "checkpoint 3 3"]


def test_steps_after_a_resume_are_not_saved_as_an_epoch(disk: Disk) -> None:
    setup, saver = make_setup(), make_saver(disk, epoch=5)
    setup.weights["w"].fill_(99)  # a step of epoch 6
    saver.write_last(setup, 5)
    assert disk.writes == []


@pytest.mark.parametrize("part", ["best", "checkpoint"])
def test_an_interrupted_write_is_repeated(disk: Disk, part: str) -> None:
    setup, saver = make_setup(), make_saver(disk)
    train_epoch(disk, setup, saver, 1)
    train_epoch(disk, setup, saver, 2)
    disk.now += 60
    disk.fails_at = part
    with pytest.raises(KeyboardInterrupt):
        train_epoch(disk, setup, saver, 3, is_best=True)
    saver.write_last(setup, 3)
    assert sorted(disk.writes[1:]) == ["best 3 3", "checkpoint 3 3"]


def test_weights_that_are_not_finite_leave_the_epoch_before(disk: Disk) -> None:
    setup, saver = make_setup(), make_saver(disk)
    train_epoch(disk, setup, saver, 1)
    train_epoch(disk, setup, saver, 2)
    setup.weights["w"].fill_(torch.nan)
    saver.save_epoch(setup, 3)
    saver.write_last(setup, 3)
    assert disk.writes == ["checkpoint 1 1", "checkpoint 2 2"]
    saver.write_last(setup, 4)
    assert len(disk.writes) == 2


def test_a_checkpoint_that_is_large_for_the_memory_is_written(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    setup, saver = make_setup(), make_saver(disk)
    monkeypatch.setattr(
        "pixelwise.training.saving.psutil.virtual_memory", lambda: SimpleNamespace(available=15)
    )  # a checkpoint has 4 bytes
    for epoch in (1, 2, 3):
        train_epoch(disk, setup, saver, epoch)
    assert disk.writes == ["checkpoint 1 1", "checkpoint 2 2", "checkpoint 3 3"]


@pytest.mark.parametrize(("value", "is_finite"), [(1.0, True), (3e38, True), (torch.inf, False), (torch.nan, False)])
def test_weights_are_finite_even_if_their_sum_is_not(value: float, is_finite: bool) -> None:
    model = torch.nn.Linear(4, 2)
    with torch.no_grad():
        model.weight[0, :2] = value
    assert has_finite_weights(model) == is_finite
