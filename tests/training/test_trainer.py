"""The training loop: the files it writes, the best model, seeds, that it learns, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import pixelwise as pw
from pixelwise.errors import (
    ConfigError,
    DataError,
    PixelwiseError,
    RunError,
    TrainingDivergedError,
    WeightsError,
)
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.inference.predictor import Predictor
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.metrics.confusion import Metrics
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks import Callback
from pixelwise.training.splits import make_train_val_split
from pixelwise.training.state import TrainState
from tests.training.conftest import FullRun
from tests.training.helpers import (
    SMALL,
    Interrupt,
    RecordWeights,
    equal_tensors,
    files_with_times,
    metrics_without_times,
    value,
)

pytestmark = pytest.mark.integration


class TestRunDirectory:
    def test_all_files(self, tiny_run: pw.Run) -> None:
        names = {
            path.relative_to(tiny_run.path).as_posix()
            for path in tiny_run.path.rglob("*")
            if path.is_file() and path.parent.name != "tensorboard"
        }
        assert names == {
            "config.yaml", "data.yaml", "split.csv", "metrics.csv", "history.png", "architecture.png", "samples.gif",
            "augmentations.jpg",
            "samples/epoch_000.png", "samples/epoch_001.png", "samples/epoch_002.png",
            "model.safetensors", "model.json",
            "last/model.safetensors", "last/optimizer.safetensors", "last/progress.json",
        }  # fmt: skip
        assert len(list((tiny_run.path / "tensorboard").iterdir())) == 1

    def test_settings_are_complete(self, tiny_run: pw.Run) -> None:
        config = pw.Run.open(tiny_run.path).config
        assert config == tiny_run.config
        assert (config.image_size, config.epochs, config.encoder_weights) == (64, 2, "none")
        assert config.encoder_training == "none"

    def test_sample_drawings_change_with_each_epoch(self, tiny_run: pw.Run) -> None:
        images = [np.array(Image.open(tiny_run.sample_image(epoch))) for epoch in range(3)]
        assert len({image.shape for image in images}) == 1
        assert not np.array_equal(images[0], images[1])
        assert not np.array_equal(images[1], images[2])

    def test_the_animation_has_a_frame_per_drawing(self, tiny_run: pw.Run) -> None:
        with Image.open(tiny_run.samples_animation) as animation:
            assert getattr(animation, "n_frames", 1) == 3

    def test_metrics(self, tiny_run: pw.Run, pets: pw.DatasetIndex) -> None:
        rows = tiny_run.read_metrics()
        train_records, _ = make_train_val_split(pets, tiny_run.config)
        assert [row["epoch"] for row in rows] == [1, 2]
        steps = value(rows[0], "step")
        assert steps in (len(train_records) // 4, -(-len(train_records) // 4))
        assert rows[1]["step"] == 2 * steps
        assert 0 < value(rows[0], "train_seconds") < value(rows[1], "train_seconds")
        for row in rows:
            present = [iou for iou in (row[f"iou_{name}"] for name in pets.classes) if iou is not None]
            assert row["val_miou"] == pytest.approx(np.mean(present))


class TestBestModel:
    def test_it_is_the_model_of_the_best_row(self, full_run: FullRun, pets: pw.DatasetIndex) -> None:
        run, models = full_run
        rows = run.read_metrics()
        scores = [row["val_miou"] or 0.0 for row in rows]
        best = scores.index(max(scores))
        assert equal_tensors(load_file(run.path / "model.safetensors"), models[best])
        predictor = Predictor.load_run(run.path)
        assert predictor.model.config.metrics["val_miou"] == pytest.approx(scores[best], abs=1e-8)
        assert predictor.model.config.metrics["epoch"] == best + 1
        # An evaluation of the same images at the same size gives the same metrics.
        _, val_records = make_train_val_split(pets, run.config)
        confusion = compute_confusion_matrix(predictor, val_records, pets.read_spec, resolution="model")
        metrics = Metrics.from_confusion(confusion, pets.classes, pets.read_spec.task, len(val_records), "32x32")
        assert metrics.mean_iou == pytest.approx(scores[best], abs=2e-3)
        assert metrics.accuracy == pytest.approx(rows[best]["val_accuracy"], abs=2e-3)

    def test_eval_scale_enlarges_whole_images(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        run = pw.train(pets, tmp_path / "run", **SMALL | {"epochs": 1, "eval_scale": 2.0})
        predictor = Predictor.load_run(run.path)
        assert (run.config.image_size, predictor.model.config.size) == (32, 64)
        _, val_records = make_train_val_split(pets, run.config)
        confusion = compute_confusion_matrix(predictor, val_records, pets.read_spec, resolution="model")
        (row,) = run.read_metrics()
        metrics = Metrics.from_confusion(confusion, pets.classes, pets.read_spec.task, len(val_records), "64x64")
        assert metrics.accuracy == pytest.approx(row["val_accuracy"], abs=2e-3)
        assert confusion.sum() == len(val_records) * 64 * 64

    def test_eval_scale_needs_an_encoder_for_several_sizes(self) -> None:
        config = pw.Config.from_preset(encoder="swin_tiny_patch4_window7_224", image_size=224, eval_scale=2.0)
        with pytest.raises(ConfigError, match=r"images of one size, .* 224 px .* 448 px; set `eval_scale` to 1"):
            config.create_model(("a",), ((0, 0, 0),))

    def test_a_worse_epoch_does_not_replace_it(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = iter([0.8, 0.7, 0.8])
        original = Metrics.from_confusion

        def decreasing(*args: Any) -> Metrics:
            return replace(original(*args), mean_iou=next(scores))

        monkeypatch.setattr("pixelwise.training.epoch.Metrics.from_confusion", decreasing)
        weights = RecordWeights()
        run = pw.train(pets, tmp_path / "run", callbacks=[weights], **SMALL | {"epochs": 3})
        assert equal_tensors(load_file(run.path / "model.safetensors"), weights.models[0])
        assert not equal_tensors(weights.models[0], weights.models[1])

    def test_epochs_without_a_validation_train_the_same_weights(
        self, full_run: FullRun, pets: pw.DatasetIndex, tmp_path: Path
    ) -> None:
        weights = RecordWeights()
        run = pw.train(pets, tmp_path / "run", callbacks=[weights], **SMALL | {"validate_every": 2})
        assert equal_tensors(weights.models[-1], full_run.models[-1])
        rows, full_rows = run.read_metrics(), full_run.run.read_metrics()
        assert [row["val_miou"] for row in rows] == [None, full_rows[1]["val_miou"], None, full_rows[3]["val_miou"]]
        assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in full_rows]
        best = max((1, 3), key=lambda index: full_rows[index]["val_miou"] or 0.0)
        assert equal_tensors(load_file(run.path / "model.safetensors"), full_run.models[best])

    def test_a_callback_cannot_change_which_model_is_kept(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        class ChangeScore(Callback):
            def on_epoch_end(self, state: TrainState) -> None:
                state.history[-1] = state.history[-1] | {"val_miou": 0.9 - 0.1 * state.epoch}

        run = pw.train(pets, tmp_path / "run", callbacks=[ChangeScore()], **SMALL | {"epochs": 1})
        assert Predictor.load_run(run.path).model.config.metrics["val_miou"] != 0.8


def test_each_epoch_uses_each_image_once_in_a_new_order(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def recorded(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        if logits.requires_grad:
            seen.extend(mask.clone())
        return cross_entropy(logits, mask, pixel_weights)

    run = pw.train(pets, tmp_path / "run", loss=recorded, **SMALL | {"augmentation": "none", "epochs": 2})
    train_records, _ = make_train_val_split(pets, run.config)
    assert len(seen) == 2 * len(train_records)
    images = [mask.numpy().tobytes() for mask in seen]
    first, second = images[: len(train_records)], images[len(train_records) :]
    assert sorted(first) == sorted(second) and len(set(first)) == len(train_records)
    assert first != second


class TestSeeds:
    def test_another_seed_gives_another_model(self, pets: pw.DatasetIndex, full_run: FullRun, tmp_path: Path) -> None:
        run = pw.train(pets, tmp_path / "run", **SMALL | {"seed": 1, "epochs": 1})
        assert not equal_tensors(load_file(run.path / "model.safetensors"), full_run.models[0])

    def test_worker_processes_do_not_change_the_result(
        self, pets: pw.DatasetIndex, full_run: FullRun, tmp_path: Path
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            pw.train(pets, tmp_path / "run", callbacks=[Interrupt(1)], **SMALL | {"num_workers": 1})
        assert metrics_without_times(Run.open(tmp_path / "run")) == metrics_without_times(full_run.run)[:1]


class TestTutorial:
    def test_training(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        class KeepState(Callback):
            def on_train_start(self, state: TrainState) -> None:
                states.append(state)

        states: list[TrainState] = []
        run = pw.train(
            pets, tmp_path / "run", preset="tutorial", encoder_weights="none", freeze_encoder=True, image_size=64,
            epochs=1, batch_size=8, callbacks=[KeepState()], defaults=False,
        )  # fmt: skip
        config = run.config
        assert (run.preset, config.encoder, config.decoder) == ("tutorial", "mobilenetv2_100", "pix2pix")
        assert (config.augmentation, config.loss) == ("flip", "cross_entropy")
        assert (config.lr_schedule, config.lr) == ("constant", 1e-3)
        assert sum(p.numel() for p in states[0].model.parameters() if p.requires_grad) == 4_660_323
        _, val_records = make_train_val_split(pets, config)
        assert set(val_records) < set(pets.test)
        assert set(states[0].sample_records) <= set(val_records)
        assert Predictor.load_run(run.path)(Path(str(pets.test[0].image))).mask.shape[0] > 0
        assert run.read_metrics()[0]["learning_rate"] == pytest.approx(1e-3)

    def test_settings(self) -> None:
        config = pw.Config.from_preset("tutorial")
        assert (config.image_size, config.batch_size, config.epochs, config.lr) == (128, 64, 20, 1e-3)
        assert (config.val_from, config.val_fraction) == ("test", 0.2)
        assert (config.normalization, config.encoder_padding) == ("unit", "same")
        assert config.encoder_training == "none"
        assert config.weight_decay == 0


class TestErrors:
    @pytest.mark.parametrize("bad_value", [float("nan"), float("inf")])
    def test_a_diverging_loss(self, pets: pw.DatasetIndex, tmp_path: Path, bad_value: float) -> None:
        calls = 0

        def diverging(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
            nonlocal calls
            calls += 1
            return cross_entropy(logits, mask, pixel_weights) * (bad_value if calls > 6 else 1.0)

        message = r"the loss became (nan|inf) in epoch \d, step \d, .*; lower `lr`, or set `precision` to 32-true"
        with pytest.raises(TrainingDivergedError, match=message) as caught:
            pw.train(pets, tmp_path / "run", loss=diverging, **SMALL)
        assert "\n" not in str(caught.value)
        for file in (tmp_path / "run").rglob("*.safetensors"):
            assert all(torch.isfinite(t).all() for t in load_file(file).values() if t.is_floating_point())

    @pytest.mark.parametrize(
        ("settings", "error", "message"),
        [
            ({"encoder": "resnet19"}, ConfigError, r"unknown encoder 'resnet19'.*resnet18"),
            ({"encoder_layers": ("blocks.99",)}, ConfigError, r"unknown layer 'blocks\.99'.*blocks\.1"),
            ({"encoder_weights": "gone.safetensors"}, WeightsError, r"gone\.safetensors: no such file"),
            ({"loss": "l2"}, ConfigError, r"unknown loss 'l2'.*cross_entropy"),
            ({"loss": "bce"}, ConfigError, r"'bce' is not for .*cross_entropy"),
            ({"decoder": "unet"}, ConfigError, r"unknown decoder 'unet'.*pix2pix"),
            ({"preset": "nnunet"}, ConfigError, r"unknown preset 'nnunet'.*default, fast, tutorial"),
            ({"batch_size": 1}, ConfigError, r"one image of 32 px .*raise `image_size` or `batch_size`"),
            ({"device": "tpu9"}, ConfigError, r"device 'tpu9' is not on this machine"),
            ({"device": "meta"}, ConfigError, r"device 'meta' is not on this machine"),
            ({"callbacks": ["early_stop"]}, ConfigError, r"`callbacks`: unknown callback .*'early_stopping'"),
            ({"loggers": [{"name": "csv", "a": 1}]}, ConfigError, r"`loggers`: logger 'csv' has no parameter 'a'"),
        ],
        ids=str,
    )
    def test_bad_settings_leave_no_directory(
        self,
        pets: pw.DatasetIndex,
        tmp_path: Path,
        settings: dict[str, Any],
        error: type[PixelwiseError],
        message: str,
    ) -> None:
        with pytest.raises(error, match=message) as caught:
            pw.train(pets, tmp_path / "run", **SMALL | settings)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()

    def test_an_unreadable_image_leaves_no_directory(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        # tests/integration/test_damaged_files.py has a file for each kind of damage.
        bad = replace(pets.train[3], mask=tmp_path / "missing.png")
        data = replace(pets, train=(*pets.train[:3], bad, *pets.train[4:]))
        with pytest.raises(DataError, match=r"missing\.png: no such file"):
            pw.train(data, tmp_path / "run", **SMALL)
        assert not (tmp_path / "run").exists()

    def test_a_run_is_never_overwritten(self, pets: pw.DatasetIndex, full_run: FullRun) -> None:
        before = files_with_times(full_run.run.path)
        with pytest.raises((RunError, pw.PixelwiseError), match=r"run"):
            pw.train(pets, full_run.run.path, **SMALL)
        assert before == files_with_times(full_run.run.path)

    def test_the_test_split_is_never_read(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        unreadable = tuple(pw.Record(tmp_path / f"{i}.jpg", tmp_path / f"{i}.png", "x") for i in range(10))
        data = replace(pets, test=unreadable)
        run = pw.train(data, tmp_path / "run", callbacks=["sample_predictions"], **SMALL | {"epochs": 1})
        assert (run.path / "samples.gif").is_file()
        with pytest.raises(DataError, match=r"no such file"):
            pw.train(data, tmp_path / "other", **SMALL | {"epochs": 1, "val_from": "test"})
        assert not (tmp_path / "other").exists()


class TestSettings:
    def test_a_config_object(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        fields = {name: SMALL[name] for name in pw.Config.model_fields if name in SMALL}
        run = pw.train(pets, tmp_path / "run", pw.Config(**fields | {"epochs": 1}), defaults=False, seed=5)
        assert (run.config.epochs, run.config.seed, run.config.encoder) == (1, 5, "test_efficientnet")
        assert Run.open(run.path).config == run.config

    def test_a_config_object_equals_its_settings(
        self, pets: pw.DatasetIndex, full_run: FullRun, tmp_path: Path
    ) -> None:
        run = pw.train(pets, tmp_path / "run", full_run.run.config.replace(epochs=4), defaults=False)
        assert metrics_without_times(run) == metrics_without_times(full_run.run)
