"""The learning-rate finder: its suggestion, its files, and that it leaves the training as it was."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.errors import OutputExistsError
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.runtime.progress import no_progress
from pixelwise.training.course import make_course
from pixelwise.training.lr_finder import MAX_LR, MIN_LR, STEPS, find_learning_rate, smooth, suggest_rate, sweep
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.trainer import prepare_training
from tests.training.helpers import SMALL, equal_tensors

SETTINGS = {name: value for name, value in SMALL.items() if name != "defaults"}


RATES = np.logspace(-5, 0, 100)


def valley(first: float, last: float, decades: float, noise: float = 0.0) -> list[float]:
    """Draw losses that fall from 2 to 1 in some decades up to the rate `first`, and rise from the rate `last` on."""
    falling = np.clip(np.log10(first / RATES) / decades, 0, 1)
    rising = np.clip(np.log10(RATES / last), 0, None)
    return (1 + falling + rising + np.random.default_rng(0).normal(0, noise, len(RATES))).tolist()


@pytest.mark.parametrize(
    ("first", "last", "decades", "noise"),
    [
        (1e-2, 1e-2, 0.2, 0.0),
        (1e-2, 1e-2, 2.0, 0.0),
        (1e-2, 0.5, 2.0, 0.0),
        (1e-3, 0.5, 1.0, 0.0),
        (1e-2, 0.5, 2.0, 0.02),
        (1e-3, 0.5, 1.0, 0.02),
        (0.1, 0.2, 3.0, 0.02),
    ],
    ids=["steep", "narrow", "flat", "long and flat", "flat with noise", "long and flat with noise", "late"],
)
def test_the_suggestion_is_below_the_start_of_the_valley(
    first: float, last: float, decades: float, noise: float
) -> None:
    suggestion = suggest_rate(RATES.tolist(), smooth(valley(first, last, decades, noise)), margin=4)
    assert suggestion is not None and 0.5 < 4 * suggestion / first < 1.5


def test_the_noise_of_a_flat_valley_does_not_move_the_suggestion() -> None:
    losses = valley(1e-3, 0.5, 1.0)
    rates = []
    for place in (45, 60, 85):  # the loss is smallest at 0.002, 0.01 and 0.2
        lowest = losses.copy()
        lowest[place] -= 0.05
        rates.append(suggest_rate(RATES.tolist(), smooth(lowest), margin=4))
    assert rates[0] == rates[1] == rates[2]


def test_no_suggestion_if_the_loss_does_not_fall() -> None:
    rates = np.logspace(-5, 0, 50).tolist()
    assert suggest_rate(rates, [1.0] * 50, 4) is None
    assert suggest_rate(rates, smooth([1.0, 1.2, 3.0, 40.0, math.inf]), 4) is None, "it diverges at once"
    assert suggest_rate(rates, smooth([1.0 + 0.1 * step for step in range(50)]), 4) is None
    assert suggest_rate(rates, smooth([math.nan]), 4) is None


def test_losses_from_the_first_that_is_not_finite_are_left_out() -> None:
    assert smooth([2.0, 2.0, math.inf, 1.0]) == [2.0, 2.0]


@pytest.fixture(scope="module")
def setup(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> TrainingSetup:
    run = pw.Run(
        tmp_path_factory.mktemp("lr"), pw.Config(**SETTINGS | {"encoder_training": "all", "optimizer": "muon"})
    )
    fabric = launch_fabric("cpu")
    with TrainingProgress(shown=False) as bars:
        return prepare_training(pets, run, fabric, None, make_course(run.config), bars)[0]


@pytest.mark.integration
def test_the_training_is_left_as_it_was(setup: TrainingSetup) -> None:
    weights = {name: tensor.clone() for name, tensor in setup.model.state_dict().items()}
    lrs = [group["lr"] for group in setup.optimizer.param_groups]
    state = torch.get_rng_state()
    seen: list[list[float]] = []

    def record(rates: object, total: int) -> object:
        for rate in no_progress(rates, total):  # type: ignore[arg-type]
            yield rate
            seen.append([group["lr"] for group in setup.optimizer.param_groups])

    losses = sweep(setup, [1e-4, 1e-3, 1e-2, 0.1, 1e9, 1e9, 1e9, 1e9, 1e9, 1e9], record)  # type: ignore[arg-type]
    assert seen[:3] == [pytest.approx([rate, rate, rate / 10]) for rate in (1e-4, 1e-3, 1e-2)]
    assert 5 < len(losses) < 10 or not all(map(math.isfinite, losses)), "a loss that grows ends the test"
    assert equal_tensors(setup.model.state_dict(), weights)
    assert [group["lr"] for group in setup.optimizer.param_groups] == lrs
    assert not setup.optimizer.state_dict()["state"] and setup.step == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in setup.model.parameters())


@pytest.mark.integration
def test_files(pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.training.lr_finder.STEPS", 12)
    curve = find_learning_rate(pets, tmp_path / "lr", **SETTINGS)
    assert curve.rates[0] == MIN_LR and curve.rates[-1] <= MAX_LR and len(curve.rates) <= 12 < STEPS
    with (curve.path / "lr-finder.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == list(curve.rates)
    assert [float(row["loss"]) for row in rows] == list(curve.losses)
    assert (curve.path / "lr-finder.png").stat().st_size > 5000
    with pytest.raises(OutputExistsError, match="not an empty directory"):
        find_learning_rate(pets, tmp_path / "lr", **SETTINGS)
