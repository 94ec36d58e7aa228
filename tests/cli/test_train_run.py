"""The steps of `pixelwise train`: the estimate of the time."""

from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.cli.train_group import Repeats
from pixelwise.cli.train_run import Request, _estimate_seconds, resolve_config
from pixelwise.cli.train_source import Source
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError
from pixelwise.training.resume import create_run
from pixelwise.training.splits import make_train_val_split
from tests.conftest import TINY


def make_config(**settings: Any) -> pw.Config:
    return pw.Config.from_preset("default", **TINY | settings)


def test_a_preset_is_timed_with_the_images_of_its_training(
    pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[tuple[int, int, int]] = []

    def record(data: pw.DatasetIndex, config: pw.Config, train_count: int, *_: object) -> float:
        counts.append((train_count, len(data.train), len(data.val)))
        return 7.0

    monkeypatch.setattr("pixelwise.cli.train_run.estimate_training_time", record)
    for config in (make_config(), make_config(val_from="test")):
        assert _estimate_seconds(Source(pets), config, ()) == 7.0
        train, val = make_train_val_split(pets, config)
        assert counts[-1] == (len(train), len(train), len(val))


def test_an_estimate_of_a_real_training(pets: pw.DatasetIndex) -> None:
    seconds = _estimate_seconds(Source(pets), make_config(), ())
    assert seconds is not None and 0.1 < seconds < 120


def test_nothing_is_timed_without_need(
    pets: pw.DatasetIndex, tiny_run: pw.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> float:
        raise AssertionError("timed")

    monkeypatch.setattr("pixelwise.cli.train_run.estimate_training_time", fail)
    plan = pw.Plan(tiny_run.read_dataset_spec(), {}, seconds=3.0)
    assert _estimate_seconds(Source(pets, plan), make_config(), ()) == 3.0
    timed = pw.Config.from_preset("default", time_budget=60, **{k: v for k, v in TINY.items() if k != "epochs"})
    assert _estimate_seconds(Source(pets), timed, ()) is None


def test_an_error_is_left_to_the_training(pets: pw.DatasetIndex) -> None:
    assert _estimate_seconds(Source(pets), make_config(encoder_weights="/no/such/weights.safetensors"), ()) is None


def test_several_trainings_take_several_times_as_long() -> None:
    assert Repeats().count(None) == 1 and Repeats(folds=5).count(("folds", 5)) == 5
    assert Repeats(learning_curve=True).count(None) == 3


def test_a_preset_with_another_run_has_the_model_of_the_run(
    pets: pw.DatasetIndex, tiny_run: pw.Run, tmp_path: Path
) -> None:
    def resolve(**settings: Any) -> pw.Config:
        settings = {"start_from": str(tiny_run.path)} | settings
        request = Request(("pets",), None, None, "tutorial", False, LabelOptions(), settings, Repeats())
        config = resolve_config(request, None, Source(pets))
        return create_run(tmp_path / "new", config, {}, preset="tutorial", plan=None).config

    old, new = tiny_run.config, resolve(lr=0.5)
    for name in ("encoder", "encoder_weights", "encoder_layers", "normalization", "decoder", "image_size"):
        assert getattr(new, name) == getattr(old, name), name
    assert (new.lr, new.epochs, new.batch_size, new.lr_schedule) == (0.5, 20, 64, "constant")
    with pytest.raises(ConfigError, match=r"`encoder` cannot change: the model of .* leave it out"):
        resolve(encoder="resnet18")
