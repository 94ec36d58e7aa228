"""The estimated duration of a training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.window_dataset import WindowDataset
from pixelwise.planning import step_timer, timing
from pixelwise.planning.rules import make_plan
from pixelwise.planning.step_timer import StepTimer
from pixelwise.planning.timing import estimate_training_time
from tests.planning.helpers import make_report

SETTINGS: dict[str, Any] = {
    "image_size": 32,
    "batch_size": 4,
    "encoder": "test_efficientnet",
    "encoder_weights": "none",
    "epochs": 3,
    "device": "cpu",
}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Steps take 1 s with gradients of the encoder and 0.5 s without, and validations 0.3 s. Nothing else takes time.

    Return the list of the steps that are measured: True if the encoder's gradients are paused.
    """
    calls: list[bool] = []

    def step(timer: object, batch: list[Tensor], paused: bool) -> float:
        assert batch[0].shape[0] == 4 and batch[0].shape[2:] == (32, 32)
        calls.append(paused)
        return 0.5 if paused else 1.0

    monkeypatch.setattr(StepTimer, "step", step)
    monkeypatch.setattr(StepTimer, "validation", lambda timer, batch: 0.3 * (batch[0].shape[-1] / 32) ** 2)
    monkeypatch.setattr("pixelwise.planning.timing.time.perf_counter", lambda: 0.0)
    monkeypatch.setattr(timing, "_DRAWING_SECONDS", 0.0)
    monkeypatch.setattr(timing, "_SAVING_FACTOR", 1.0)
    return calls


@pytest.mark.parametrize(
    ("training", "steps", "step_seconds"),
    [("none", [True], 0.5), ("all", [False], 1.0), ("decoder-first", [True, False], 0.25 * 0.5 + 0.75 * 1.0)],
)
def test_the_duration_is_that_of_all_steps(
    training: str, steps: list[bool], step_seconds: float, known: list[bool]
) -> None:
    data = make_report(images=40, val=20).data
    seconds = estimate_training_time(data, Config(**SETTINGS | {"encoder_training": training}), 40)
    assert known == steps
    # 3 epochs of 10 training steps and 5 validation batches.
    assert seconds == pytest.approx(3 * (10 * step_seconds + 5 * 0.3))


@pytest.mark.usefixtures("known")
def test_validation_takes_as_long_as_its_images_are_large() -> None:
    data = make_report(images=40, val=20).data
    settings = SETTINGS | {"encoder_training": "all", "eval_scale": 2.0}
    assert estimate_training_time(data, Config(**settings), 40) == pytest.approx(3 * (10 + 5 * 0.3 * 4))


@pytest.mark.parametrize(
    ("training", "step_seconds"),
    [
        ("none", 0.6 * 0.5 + 0.4 * 2.0),
        ("all", 0.6 * 1.0 + 0.4 * 4.0),
        ("decoder-first", 0.25 * 0.5 + 0.35 * 1.0 + 0.4 * 4.0),
    ],
)
def test_steps_are_faster_while_images_are_smaller(
    training: str, step_seconds: float, monkeypatch: pytest.MonkeyPatch, known: list[bool]
) -> None:
    def step(timer: object, batch: list[Tensor], paused: bool) -> float:
        assert batch[0].shape[2:] == batch[1].shape[1:]
        return (0.5 if paused else 1.0) * (batch[0].shape[-1] / 32) ** 2

    monkeypatch.setattr(StepTimer, "step", step)
    settings = SETTINGS | {"encoder_training": training, "image_size": 64, "start_size": 32}
    seconds = estimate_training_time(make_report(images=40, val=20).data, Config(**settings), 40)
    assert seconds == pytest.approx(3 * (10 * step_seconds + 5 * 0.3 * 4))


@pytest.mark.usefixtures("known")
def test_epochs_without_a_validation_are_shorter() -> None:
    data = make_report(images=40, val=20).data
    settings = SETTINGS | {"encoder_training": "all", "validate_every": 2}
    assert estimate_training_time(data, Config(**settings), 40) == pytest.approx(3 * 10 + 2 * 5 * 0.3)


@pytest.mark.usefixtures("known")
def test_without_a_val_split_some_images_validate() -> None:
    data = make_report(images=40).data
    assert estimate_training_time(data, Config(**SETTINGS | {"encoder_training": "all"}), 32) == pytest.approx(
        3 * (8 + 2 * 0.3)
    )


def test_the_steps_are_those_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have the images and masks of the data set, and the weights do not change."""
    seen: list[Tensor] = []
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        pixels = np.full((40, 40), number % 2, np.uint8)
        Image.fromarray(pixels * 200).convert("RGB").save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{number}.png")
    data = pw.load_dataset(tmp_path)
    step = StepTimer.step

    def recorded(timer: Any, batch: list[Tensor], paused: bool) -> float:
        seen.extend(batch)
        before = [parameter.clone() for parameter in timer.model.parameters()]
        assert step(timer, batch, paused) > 0
        assert all(torch.equal(one, other) for one, other in zip(before, timer.model.parameters(), strict=True))
        return 0.1

    monkeypatch.setattr(StepTimer, "step", recorded)
    monkeypatch.setattr(step_timer, "_MIN_SECONDS", 0.0)
    config = Config(**SETTINGS | {"augmentation": "none"})
    assert estimate_training_time(data, config, 5) > 0
    images, masks = seen
    assert images.amax((1, 2, 3)).tolist() == [0, 200, 0, 200] and masks.amax((1, 2)).tolist() == [0, 1, 0, 1]
    slow = replace(data, train=data.train * 5000)
    assert estimate_training_time(slow, config, 5000) > 50 * estimate_training_time(data, config, 5)


@pytest.mark.usefixtures("known")
def test_tiles_without_the_cache_are_decoded_in_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        pixels = np.full((70, 70), number % 2, np.uint8)
        Image.fromarray(pixels * 200).convert("RGB").save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{number}.png")
    data = pw.load_dataset(tmp_path)
    reads: list[int] = []
    read = WindowDataset.read

    def slow_read(images: WindowDataset, index: int) -> Any:
        reads.append(index)
        return read(images, index)

    monkeypatch.setattr(WindowDataset, "read", slow_read)
    monkeypatch.setattr("pixelwise.planning.timing.time.perf_counter", lambda: float(len(reads)))  # a read takes 1 s

    def seconds(**settings: Any) -> float:
        reads.clear()
        tiles = {"view": "tiles", "augmentation": "none", "encoder_training": "all"}
        return estimate_training_time(data, Config(**SETTINGS | tiles | settings), 5)

    cached = seconds()
    assert seconds(cache_images=False) == pytest.approx(cached), "all images fit into memory"
    monkeypatch.setattr(WindowDataset, "images_in_memory", 4)
    # 3 epochs decode 5 training images. The cache decodes 6 images once.
    assert seconds(cache_images=False) == pytest.approx(cached - 6 + 3 * 5)
    assert seconds() == pytest.approx(cached)


def test_a_plan_tells_the_duration_and_reports_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    totals: list[int] = []

    def progress(items: Any, total: int) -> Any:
        totals.append(total)
        return items

    monkeypatch.setattr(step_timer, "_MIN_SECONDS", 0.0)
    threads = torch.get_num_threads()
    plan = make_plan(make_report(images=40), SETTINGS, progress=progress)
    assert plan.reasons["epochs"].endswith("on this machine, estimated from a few steps")
    assert plan.seconds is not None and plan.seconds > 0
    assert totals == [2], "a random encoder trains from the start; and the validation"
    assert torch.get_num_threads() == threads


def test_a_batch_that_memory_does_not_hold_is_timed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def work(images: Tensor, masks: Tensor) -> None:
        assert len(images) == len(masks)
        counts.append(len(images))
        if len(images) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    def run(work: Any) -> float:
        work()
        return 2.0

    monkeypatch.setattr(step_timer, "_median_seconds", run)
    assert step_timer._seconds_in_parts(work, torch.zeros(10, 3), torch.zeros(10)) == 4 * 2.0
    assert counts == [10, 5, 3]

    def fail(images: Tensor, masks: Tensor) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        step_timer._seconds_in_parts(fail, torch.zeros(10, 3), torch.zeros(10))
