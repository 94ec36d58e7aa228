"""Features that are kept while the encoder does not train: the losses of the loader's path, in less work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import pixelwise as pw
from pixelwise.data.samplers import EpochSampler
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.training.course import make_course
from pixelwise.training.epoch import training_steps
from pixelwise.training.kept_features import KeptFeatures
from pixelwise.training.passes import Batch
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.resume import create_run
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.state import TrainState
from pixelwise.training.trainer import prepare_training, seeded
from tests.training.helpers import SMALL, Interrupt, assert_same_run, train_epochs

PAUSED = 3
"""Epochs of `SETTINGS` in which only the decoder trains."""

SETTINGS: dict[str, Any] = SMALL | {
    "encoder_training": "decoder-first",
    "freeze_batchnorm": True,
    "kept_versions": 2,
    "augmentation": "crop",
    "epochs": 4 * PAUSED,
}


@pytest.fixture
def open_setup(pets: pw.DatasetIndex, tmp_path: Path) -> Callable[..., tuple[TrainingSetup, TrainState]]:
    """Return a function of settings. It returns a training before its first step."""

    def open_setup(**settings: Any) -> tuple[TrainingSetup, TrainState]:
        arguments = {name: value for name, value in (SETTINGS | settings).items() if name != "defaults"}
        run = create_run(tmp_path / "run", None, arguments, preset=None, plan=None)
        fabric = launch_fabric("cpu", run.config.precision)
        with seeded(0, fabric), TrainingProgress(False) as bars:
            return prepare_training(pets, run, fabric, None, make_course(run.config), bars)

    return open_setup


def batches_of(setup: TrainingSetup, epoch: int) -> list[Batch]:
    setup.model.train()
    setup.sampler.epoch = epoch
    setup.model.encoder.pause_gradients(setup.course.trains_decoder_only(epoch))
    return [batch for batches, _ in training_steps(setup) for batch in batches]


def count_encoded(setup: TrainingSetup, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the number of images of each call of the encoder."""
    counts: list[int] = []
    encode = setup.model.encode

    def counted(images: Tensor) -> list[Tensor]:
        counts.append(len(images))
        return encode(images)

    monkeypatch.setattr(setup.model, "encode", counted)
    return counts


def test_the_versions_of_an_image_are_drawn_in_turn() -> None:
    sampler = EpochSampler(7, 3, seed=0)
    sampler.versions = 2
    seeds: list[dict[int, int]] = []
    for sampler.epoch in range(4):
        seeds.append(dict(draw for batch in sampler.global_batches() for draw in batch))
    assert seeds[0] == seeds[2] and seeds[1] == seeds[3]
    assert len(set(seeds[0].values()) | set(seeds[1].values())) == 14


def test_losses_are_those_of_the_images(open_setup: Callable[..., tuple[TrainingSetup, TrainState]]) -> None:
    kept = train_epochs(*open_setup(), PAUSED + 1)
    setup, state = open_setup()
    assert setup.kept is not None and setup.kept.start_epoch()
    versions, setup.kept = setup.kept.versions, None
    setup.sampler.versions = versions
    losses = train_epochs(setup, state, PAUSED)
    setup.sampler.versions = 0
    assert kept == pytest.approx([*losses, *train_epochs(setup, state, 1)], rel=1e-4)


def test_the_encoder_runs_once_for_each_version(
    open_setup: Callable[..., tuple[TrainingSetup, TrainState]], monkeypatch: pytest.MonkeyPatch
) -> None:
    setup, state = open_setup()
    images = len(setup.datasets[0])
    counts = count_encoded(setup, monkeypatch)
    train_epochs(setup, state, 2)
    assert sum(counts) == 1 + 2 * images  # one image to measure the features
    train_epochs(setup, state, 1)
    assert sum(counts) == 1 + 2 * images
    assert setup.kept is not None and setup.feature_table is not None


def test_features_are_dropped_when_the_encoder_trains(
    open_setup: Callable[..., tuple[TrainingSetup, TrainState]],
) -> None:
    setup, _ = open_setup()
    first, again = (batches_of(setup, epoch)[0][0] for epoch in (0, 2))
    assert first.dtype == again.dtype == torch.int64
    assert batches_of(setup, PAUSED)[0][0].dtype == torch.uint8
    assert setup.feature_table is None and setup.sampler.versions == 0


def test_mosaics_begin_when_the_encoder_trains(
    open_setup: Callable[..., tuple[TrainingSetup, TrainState]], monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[float] = []

    def join(images: Tensor, masks: Tensor, fraction: float, _: torch.Generator) -> Batch:
        joined.append(fraction)
        return images, masks

    monkeypatch.setattr("pixelwise.training.epoch.join_batch", join)
    setup, _ = open_setup(mosaic=0.5)
    batches_of(setup, 0)
    assert joined == []
    batches_of(setup, PAUSED)
    assert joined and set(joined) == {0.5}


def test_a_limit_reduces_the_versions(open_setup: Callable[..., tuple[TrainingSetup, TrainState]]) -> None:
    setup, _ = open_setup()
    assert setup.kept is not None and setup.kept.start_epoch()
    table = setup.kept.table
    assert table is not None
    one_version = sum(level.nbytes for level in table.levels) // 2
    parts = setup.model, setup.config, setup.fabric, setup.course, setup.sampler
    smaller = KeptFeatures(*parts, limit=2 * one_version - 1)
    assert smaller.start_epoch() and smaller.versions == setup.sampler.versions == 1
    none = KeptFeatures(*parts, limit=one_version - 1)
    assert not none.start_epoch() and setup.sampler.versions == 0 and none.table is None


def test_images_of_another_size_have_other_features(
    open_setup: Callable[..., tuple[TrainingSetup, TrainState]],
) -> None:
    setup, state = open_setup(encoder_training="none", start_size=32, image_size=64, epochs=3, kept_versions=1)
    sizes = []
    for _ in range(3):
        train_epochs(setup, state, 1)
        assert setup.feature_table is not None
        sizes.append(setup.feature_table.size)
    assert sizes == [(32, 32), (32, 32), (64, 64)]


def test_an_interrupted_training_draws_the_same_versions(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    whole = pw.train(pets, tmp_path / "whole", **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        pw.train(pets, tmp_path / "parts", callbacks=[Interrupt(2)], **SETTINGS)
    assert_same_run(pw.train(pets, tmp_path / "parts", resume=True), whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"kept_versions": 0},
        {"encoder_training": "all"},
        {"freeze_batchnorm": False},
        {"view": "tiles", "eval_scale": 1.0},
        {"encoder_training": "none", "augmentation": "flip"},  # all versions are cached already
    ],
    ids=str,
)
def test_no_features_are_kept(
    open_setup: Callable[..., tuple[TrainingSetup, TrainState]], settings: dict[str, Any]
) -> None:
    setup, _ = open_setup(**settings)
    assert batches_of(setup, 0)[0][0].dtype == torch.uint8
    assert setup.sampler.versions == 0


def test_the_default_is_two_versions_on_a_cpu() -> None:
    config = pw.Config(encoder_weights="bundled")
    assert config.resolve_encoder_training("cpu").kept_versions == 2
    assert config.resolve_encoder_training("cuda").kept_versions == 0
    assert config.replace(encoder_training="all").resolve_encoder_training("cpu").kept_versions == 0
    assert config.replace(kept_versions=5).resolve_encoder_training("cuda").kept_versions == 5
