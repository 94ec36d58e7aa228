"""Settings that steer the optimizer: accumulated and clipped gradients, and trainings that repeat bit for bit."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

import pixelwise as pw
from pixelwise.data.samplers import EpochSampler
from pixelwise.errors import ConfigError
from pixelwise.training.epoch import update_weights
from pixelwise.training.repeatable import repeatable
from pixelwise.training.splits import make_train_val_split
from tests.training.helpers import SMALL, Interrupt, assert_same_run, value


class Observe(pw.Callback):
    """Records the learning rate and torch's mode at the end of each epoch."""

    def __init__(self) -> None:
        self.deterministic: list[bool] = []
        self.losses: list[float] = []

    def on_step_end(self, state: pw.TrainState) -> None:
        assert state.loss is not None
        self.losses.append(state.loss.item())

    def on_epoch_end(self, state: pw.TrainState) -> None:
        self.deterministic.append(torch.are_deterministic_algorithms_enabled())


@pytest.mark.integration
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_an_interrupted_training_repeats_bit_for_bit(pets: pw.DatasetIndex, tmp_path: Path, optimizer: str) -> None:
    settings: dict[str, Any] = SMALL | {
        "batch_size": 2, "epochs": 3, "accumulate": 2, "clip_gradients": 0.5, "deterministic": True,
        "optimizer": optimizer,
    }  # fmt: skip
    observed = Observe()
    whole = pw.train(pets, tmp_path / "whole", callbacks=[observed], **settings)
    with pytest.raises(KeyboardInterrupt):
        pw.train(pets, tmp_path / "resumed", callbacks=[Interrupt(2)], **settings)
    resumed = pw.train(pets, tmp_path / "resumed", resume=True, defaults=False)
    assert_same_run(whole, resumed)
    rows = whole.read_metrics()
    images, _ = make_train_val_split(pets, whole.config)
    first, *others = EpochSampler(len(images), 2, seed=0).global_sizes()
    assert len(others) == 2, "three batches make two steps of an epoch"
    assert [value(row, "step") for row in rows] == [2, 4, 6]
    assert len(observed.losses) == 6
    # The loss of an epoch is the mean over its images.
    sizes = torch.tensor([first + others[0], others[1]])
    mean = (sizes * torch.tensor(observed.losses[:2])).sum() / sizes.sum()
    assert value(rows[0], "train_loss") == pytest.approx(mean.item())
    assert observed.deterministic == [True] * 3 and not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(("limit", "step"), [(None, 5.0), (10.0, 5.0), (0.5, 0.5)])
def test_the_norm_of_a_step_is_limited(limit: float | None, step: float) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    weights = torch.nn.Linear(2, 1, bias=False)
    model, optimizer = fabric.setup(weights, torch.optim.SGD(weights.parameters(), lr=1.0))
    before = weights.weight.detach().clone()
    fabric.backward(model(torch.tensor([[3.0, 4.0]])).sum())
    setup: Any = SimpleNamespace(
        config=SimpleNamespace(clip_gradients=limit), fabric=fabric, ddp_model=model, optimizer=optimizer
    )
    update_weights(setup)
    change = before - weights.weight.detach()
    torch.testing.assert_close(change / change.norm(), torch.tensor([[0.6, 0.8]]))
    assert change.norm().item() == pytest.approx(step, rel=1e-4)
    assert weights.weight.grad is None


def test_a_repeatable_block_restores_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with pytest.raises(ValueError, match="inside"), repeatable(True, torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise ValueError("inside")
    assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with repeatable(False, torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_repeatable_block_can_remove_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable(True, torch.device("cpu")):
        del os.environ["CUBLAS_WORKSPACE_CONFIG"]
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_an_operation_that_cannot_be_repeated_is_named() -> None:
    message = r"`deterministic`: torch has no deterministic implementation of some_kernel on cpu; choose"
    with pytest.raises(ConfigError, match=message), repeatable(True, torch.device("cpu")):
        raise RuntimeError("some_kernel does not have a deterministic implementation, but you set 'torch.use…'")
    with pytest.raises(RuntimeError, match="shape mismatch"), repeatable(True, torch.device("cpu")):
        raise RuntimeError("shape mismatch")


def test_a_time_budget_cannot_be_repeated() -> None:
    with pytest.raises(ConfigError, match="`deterministic` needs a number of epochs"):
        pw.Config(deterministic=True, time_budget=60)
