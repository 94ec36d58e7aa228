"""Writes of the best model and of checkpoints: seldom, in the right order, and all of them at the end."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pixelwise.training.saving import MAX_SAVING_FRACTION, Saver


class Disk:
    """A run directory that records what is written. Each write takes 0.1 s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("pixelwise.training.saving.time.monotonic", lambda: self.now)
        self.writes: list[str] = []

    def save_best_model(self, model: Any, row: Any, weights: Any) -> None:
        self.now += 0.1
        self.writes.append(f"best {row['epoch']} {float(weights['w']):.0f}")

    def save_checkpoint(self, checkpoint: str) -> None:
        self.now += 0.1
        self.writes.append(checkpoint)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def make_setup(disk: Disk) -> Any:
    weights = {"w": torch.zeros(())}
    compact = SimpleNamespace(compact=lambda: "compact")
    return SimpleNamespace(
        weights=weights,
        model=SimpleNamespace(state_dict=lambda: weights),
        checkpoint=lambda epoch: f"checkpoint {epoch}" if epoch < 99 else compact,
    )


def test_writes_take_a_small_part_of_the_time(disk: Disk) -> None:
    setup, saver = make_setup(disk), Saver(disk)  # type: ignore[arg-type]
    for epoch in range(1, 41):
        disk.now += 1.0
        setup.weights["w"].fill_(epoch)
        saver.keep_best(setup, {"epoch": epoch})
        saver.save_epoch(setup, epoch)
    assert disk.writes[:2] == ["best 1 1", "checkpoint 1"], "the first epoch is written at once"
    assert disk.writes[2:4] == ["best 8 8", "checkpoint 8"], "later, 0.2 s are 3 % of 6.7 s"
    assert 0.1 * (len(disk.writes) - 2) / 40 < MAX_SAVING_FRACTION
    saver.write_best(setup)
    assert disk.writes[-1] == "best 40 40"
    saver.write_best(setup)
    assert disk.writes.count("best 40 40") == 1
    saver.finish(setup, 99)
    assert disk.writes[-1] == "compact"


def test_a_checkpoint_follows_the_best_model_before_it(disk: Disk) -> None:
    setup, saver = make_setup(disk), Saver(disk)  # type: ignore[arg-type]
    saver.save_epoch(setup, 1)
    saver.keep_best(setup, {"epoch": 2})
    setup.weights["w"].fill_(7)  # the model trains on
    saver.save_epoch(setup, 2)
    disk.now += 60
    saver.save_epoch(setup, 3)
    assert disk.writes == ["checkpoint 1", "best 2 0", "checkpoint 3"]
