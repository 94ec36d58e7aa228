"""The estimated duration of a training."""

from typing import Any

import pytest
import torch

from pixelwise.config import Config
from pixelwise.models.encoder import Encoder
from pixelwise.planning.rules import make_plan
from pixelwise.planning.timing import estimate_training_time
from tests.planning.helpers import make_report

SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "batch_size": 4,
    "encoder": "test_efficientnet",
    "encoder_weights": "none",
    "epochs": 3,
}


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Record for each step if the encoder's gradients are paused. Steps take 1 s with gradients and 0.5 s without."""
    calls: list[bool] = []
    clock = [0.0]

    def pause_gradients(encoder: Encoder, pause: bool) -> None:
        calls.append(pause)

    def perf_counter() -> float:
        # Called at the start and at the end of a step.
        clock[0] += 0.25 if calls[-1] else 0.5
        clock.append(clock[0])
        return clock[0] * 2

    monkeypatch.setattr(Encoder, "pause_gradients", pause_gradients)
    monkeypatch.setattr("pixelwise.planning.timing.time.perf_counter", perf_counter)
    return calls


@pytest.mark.parametrize(
    ("training", "steps", "step_seconds"),
    [
        ("none", [True] * 3, 0.5),
        ("all", [False] * 3, 1.0),
        ("decoder-first", [True] * 3 + [False] * 3, 0.25 * 0.5 + 0.75 * 1.0),
    ],
)
def test_the_duration_is_that_of_all_steps(
    training: str, steps: list[bool], step_seconds: float, paused: list[bool]
) -> None:
    report = make_report(images=40, val=20)
    config = Config(**SETTINGS | {"encoder_training": training, "device": "cpu"})
    seconds = estimate_training_time(report, config, 40)
    assert paused == steps
    # 3 epochs of 10 training steps, and of 20 validation images that take 0.3 as long.
    assert seconds == pytest.approx(3 * step_seconds * (40 + 0.3 * 20) / 4)


@pytest.mark.usefixtures("paused")
def test_validation_takes_as_long_as_its_images_are_large() -> None:
    report = make_report(images=40, val=20)
    settings = SETTINGS | {"image_size": 64, "device": "cpu", "encoder_training": "all"}
    seconds = estimate_training_time(report, Config(**settings, eval_scale=1.5), 40)
    assert seconds == pytest.approx(3 * 1.0 * (40 + 0.3 * 20 * 1.5**2) / 4)


def test_a_plan_tells_the_duration_and_reports_progress() -> None:
    totals: list[int] = []

    def progress(items: Any, total: int) -> Any:
        totals.append(total)
        return items

    threads = torch.get_num_threads()
    plan = make_plan(make_report(images=40), SETTINGS, progress=progress)
    assert plan.reasons["epochs"].endswith("on this machine, estimated from a few steps")
    assert totals == [3], "a random encoder trains from the start"
    assert torch.get_num_threads() == threads
