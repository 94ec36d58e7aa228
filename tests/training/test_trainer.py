"""The training loop: what it leaves, that it resumes exactly, reads no test image, and learns."""

import shutil
import subprocess
import sys
from collections.abc import Callable
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
from pixelwise.config import Config
from pixelwise.data.demo.synthetic import draw_dataset
from pixelwise.data.io.mask import read_mask
from pixelwise.data.task import MULTICLASS
from pixelwise.errors import ConfigError, DataError, OutputExistsError, RunError, WeightsError
from pixelwise.evaluation.evaluator import compute_confusion_matrix
from pixelwise.inference.predictor import Predictor
from pixelwise.losses import LOSSES
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.metrics.confusion import Metrics
from pixelwise.runs.run_dir import Row, Run
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.callbacks.checkpoint import ModelCheckpoint
from pixelwise.training.state import TrainState
from pixelwise.training.trainer import make_train_val_split, train

SMALL = {
    "encoder": "test_efficientnet",  # timm's smallest, of 0.4 million parameters
    "encoder_weights": "none",
    "size": 32,
    "batch_size": 4,
    "epochs": 4,
    "precision": "float32",
    "device": "cpu",
}
TIMINGS = ("train_seconds", "images_per_second")


class Figures(Callback):
    """Writes metrics.csv, and no image: those take longer than a tiny training."""

    def on_epoch(self, state: TrainState) -> None:
        state.run.write_metrics(state.history)


def quick() -> list[Callback]:
    return [Figures(), ModelCheckpoint()]


def tensors(file: Path) -> dict[str, Tensor]:
    return load_file(file)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def figures(run: Run) -> list[Row]:
    """metrics.csv without what a clock decides."""
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in run.read_metrics()]


def assert_same_run(one: Run, other: Run) -> None:
    assert figures(one) == figures(other)
    for name in ("model.safetensors", "last/model.safetensors", "last/optimizer.safetensors"):
        assert equal(tensors(one.path / name), tensors(other.path / name)), name
    for name in ("model.json", "config.yaml"):
        if name == "config.yaml":
            assert (one.path / name).read_text() == (other.path / name).read_text()


class TestWhatItLeaves:
    def test_every_file(self, tiny_run: pw.Run) -> None:
        names = {
            path.relative_to(tiny_run.path).as_posix()
            for path in tiny_run.path.rglob("*")
            if path.is_file() and path.parent.name != "tensorboard"
        }
        assert names == {
            "config.yaml", "data.yaml", "metrics.csv", "history.png", "architecture.png", "samples.gif",
            "samples/epoch_000.png", "samples/epoch_001.png", "samples/epoch_002.png",
            "model.safetensors", "model.json",
            "last/model.safetensors", "last/optimizer.safetensors", "last/progress.json",
        }  # fmt: skip
        assert len(list((tiny_run.path / "tensorboard").iterdir())) == 1

    def test_the_settings_as_resolved(self, tiny_run: pw.Run) -> None:
        config = pw.Run.open(tiny_run.path).config
        assert config == tiny_run.config
        assert (config.size, config.epochs, config.encoder_weights) == (64, 2, "none")

    def test_sample_images_differ_from_epoch_to_epoch(self, tiny_run: pw.Run) -> None:
        images = [np.array(Image.open(tiny_run.sample_image(epoch))) for epoch in range(3)]
        assert len({image.shape for image in images}) == 1
        assert not np.array_equal(images[0], images[1])
        assert not np.array_equal(images[1], images[2])

    def test_the_animation_has_a_frame_a_image(self, tiny_run: pw.Run) -> None:
        with Image.open(tiny_run.samples_animation) as animation:
            assert animation.n_frames == 3  # type: ignore[attr-defined]
            assert animation.is_animated  # type: ignore[attr-defined]

    def test_figures_of_a_row(self, tiny_run: pw.Run, pets: pw.DatasetIndex) -> None:
        rows = tiny_run.read_metrics()
        train_records, _ = make_train_val_split(pets, tiny_run.config)
        assert [row["epoch"] for row in rows] == [1, 2]
        steps = rows[0]["step"]
        assert steps is not None and rows[1]["step"] == 2 * steps
        assert steps == round(len(train_records) / 4) or steps == -(-len(train_records) // 4)
        first, second = rows[0]["train_seconds"], rows[1]["train_seconds"]
        assert first is not None and second is not None and 0 < first < second
        for row in rows:
            ious = [row[f"iou_{name}"] for name in pets.classes]
            present = [iou for iou in ious if iou is not None]
            assert row["val_miou"] == pytest.approx(np.mean(present))


class Trace(Callback):
    """Keeps each epoch's weights."""

    def __init__(self) -> None:
        self.models: list[dict[str, Tensor]] = []

    def on_epoch(self, state: TrainState) -> None:
        self.models.append({name: tensor.clone() for name, tensor in state.model.state_dict().items()})


@pytest.fixture(scope="module")
def whole(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[dict[str, Tensor]]]:
    """An uninterrupted run of `SMALL`, and the weights after each of its epochs."""
    trace = Trace()
    run = train(pets, tmp_path_factory.mktemp("runs") / "whole", hooks=[*quick(), trace], **SMALL)
    return run, trace.models


def test_two_processes_do_not_train_one_run(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    class Other(Callback):
        """Another process that goes on with the run while it trains."""

        def on_epoch(self, state: TrainState) -> None:
            code = "import pathlib, sys, pixelwise as pw; pw.Run.open(pathlib.Path(sys.argv[1])).keep_others_out()"
            command = [sys.executable, "-c", code, str(state.run.path)]
            done.append(subprocess.run(command, capture_output=True, text=True, check=False))
            if len(done) == 1:
                with pytest.raises(RunError, match=r"run: another process is training this run"):
                    train(pets, state.run.path, resume=True, hooks=[])

    done: list[subprocess.CompletedProcess[str]] = []
    run = train(pets, tmp_path / "run", hooks=[*quick(), Other()], **(SMALL | {"epochs": 2}))
    assert len(done) == 2 and all("another process is training this run" in each.stderr for each in done)
    assert len(run.read_metrics()) == 2
    # It is free again afterwards.
    assert len(train(pets, run.path, resume=True, epochs=3, hooks=quick()).read_metrics()) == 3


class TestBestModel:
    def test_it_is_that_of_the_best_row(
        self, whole: tuple[Run, list[dict[str, Tensor]]], pets: pw.DatasetIndex
    ) -> None:
        run, models = whole
        rows = run.read_metrics()
        scores = [row["val_miou"] or 0.0 for row in rows]
        best = scores.index(max(scores))
        assert equal(tensors(run.path / "model.safetensors"), models[best])
        predictor = Predictor.load(run.path)
        assert predictor.model.config.metrics["val_miou"] == pytest.approx(scores[best], abs=1e-8)
        assert predictor.model.config.metrics["epoch"] == best + 1
        # And it does measure so, on the same images at the same size.
        _, held = make_train_val_split(pets, run.config)
        confusion = compute_confusion_matrix(predictor, held, pets.read_spec, resolution="model")
        measured = Metrics.from_confusion(confusion, pets.classes, MULTICLASS, len(held), "32x32")
        assert measured.mean_iou == pytest.approx(scores[best], abs=2e-3)
        assert measured.accuracy == pytest.approx(rows[best]["val_accuracy"], abs=2e-3)

    def test_whole_images_may_be_larger_than_the_crops_it_learns_from(
        self, pets: pw.DatasetIndex, tmp_path: Path
    ) -> None:
        run = train(pets, tmp_path / "run", hooks=quick(), **(SMALL | {"epochs": 1, "predict_scale": 2.0}))
        predictor = Predictor.load(run.path)
        assert (run.config.size, predictor.model.config.size) == (32, 64)
        _, held = make_train_val_split(pets, run.config)
        confusion = compute_confusion_matrix(predictor, held, pets.read_spec, resolution="model")
        (row,) = run.read_metrics()
        measured = Metrics.from_confusion(confusion, pets.classes, MULTICLASS, len(held), "64x64")
        assert measured.accuracy == pytest.approx(row["val_accuracy"], abs=2e-3)
        assert confusion.sum() == len(held) * 64 * 64
        with pytest.raises(ConfigError, match=r"takes images of one size, .* 224 px and predict at 448 px.*scale 1$"):
            Config.from_preset(encoder="swin_tiny_patch4_window7_224", size=224, predict_scale=2.0).create_model(
                ("a",), ()
            )

    def test_a_worse_epoch_does_not_replace_it(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        class Worse(Callback):
            """Makes the figures of every epoch after the first look worse than they are."""

            def on_epoch(self, state: TrainState) -> None:
                state.history[-1]["val_miou"] = 0.9 - 0.1 * state.epoch

        trace = Trace()
        run = train(pets, tmp_path / "run", hooks=[Worse(), *quick(), trace], **SMALL | {"epochs": 2})
        assert equal(tensors(run.path / "model.safetensors"), trace.models[0])
        assert not equal(trace.models[0], trace.models[1])


class Stop(Callback):
    """Stands for a kill: at the start, or after an epoch and before its checkpoint is written."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_start(self, state: TrainState) -> None:
        self._stop(state)

    def on_epoch(self, state: TrainState) -> None:
        self._stop(state)

    def _stop(self, state: TrainState) -> None:
        if state.epoch == self.epoch:
            raise KeyboardInterrupt


def noisy(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """A loss that draws from torch's own random numbers, as dropout would."""
    return cross_entropy(logits, mask, weights) * (0.5 + torch.rand(()))


class TestResume:
    @pytest.mark.parametrize("stopped_at", [0, 1, 3])
    @pytest.mark.parametrize("settings", [{"loss": "focal"}], ids=["one-cycle"])
    def test_is_the_run_that_was_never_stopped(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: int,
        settings: dict[str, object],
    ) -> None:  # fmt: skip
        monkeypatch.setitem(LOSSES, "focal", noisy)
        expected = train(pets, tmp_path / "whole", hooks=quick(), **SMALL | settings)
        with pytest.raises(KeyboardInterrupt):
            train(pets, tmp_path / "run", hooks=[*quick(), Stop(stopped_at)], **SMALL | settings)
        torch.manual_seed(99)  # whatever else went on in between
        run = train(pets, tmp_path / "run", hooks=quick(), resume=True)
        assert_same_run(run, expected)

    def test_raising_epochs_of_a_constant_rate(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        settings = SMALL | {"schedule": "constant"}
        expected = train(pets, tmp_path / "whole", hooks=quick(), **settings)
        train(pets, tmp_path / "run", hooks=quick(), **settings | {"epochs": 2})
        run = train(pets, tmp_path / "run", hooks=quick(), resume=True, epochs=4)
        assert_same_run(run, expected)
        assert Run.open(run.path).config.epochs == 4

    def test_raising_epochs_of_one_cycle_goes_on_along_the_longer_one(
        self, pets: pw.DatasetIndex, tmp_path: Path, whole: tuple[Run, list[dict[str, Tensor]]]
    ) -> None:
        train(pets, tmp_path / "run", hooks=quick(), **SMALL | {"epochs": 2})
        run = train(pets, tmp_path / "run", hooks=quick(), resume=True, epochs=4)
        rates = [row["learning_rate"] for row in run.read_metrics()]
        assert rates[2:] == [row["learning_rate"] for row in whole[0].read_metrics()][2:]

    def test_images_and_events_go_on(self, pets: pw.DatasetIndex, tiny_run: pw.Run, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        shutil.copytree(tiny_run.path, folder)
        before = {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
        run = train(pets, folder, resume=True, epochs=3)
        after = {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}
        assert set(after) == {*before, "epoch_003.png"}
        assert all(after[name] == content for name, content in before.items())
        with Image.open(run.samples_animation) as animation:
            assert animation.n_frames == 4  # type: ignore[attr-defined]
        assert [row["epoch"] for row in run.read_metrics()] == [1, 2, 3]
        assert run.read_metrics()[:2] == tiny_run.read_metrics()

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"lr": 0.5, "epochs": 9}, r"cannot change lr \(0\.\d+ in .*config\.yaml\)"),
            ({"seed": 3, "epochs": 9}, r"cannot change seed"),
            ({"encoder": "resnet18", "epochs": 9}, r"cannot change encoder"),
            ({"preset": "tutorial", "epochs": 9}, r"cannot change preset"),
            ({"size": 0}, r"size: .*greater than"),
            ({"sise": 64}, r"unknown setting 'sise'"),
            ({"epochs": 4}, r"has its 4 epochs already; raise --epochs"),
            ({"epochs": 2}, r"has its 4 epochs already; raise --epochs"),
            ({}, r"has its 4 epochs already; raise --epochs"),
        ],
        ids=str,
    )
    def test_what_it_refuses(
        self, pets: pw.DatasetIndex, whole: tuple[Run, list[dict[str, Tensor]]], change: dict[str, Any], said: str
    ) -> None:
        before = {path: path.stat().st_mtime_ns for path in whole[0].path.rglob("*")}
        with pytest.raises((ConfigError, RunError), match=said) as caught:
            train(pets, whole[0].path, resume=True, hooks=quick(), **change)
        assert "\n" not in str(caught.value)
        assert before == {path: path.stat().st_mtime_ns for path in whole[0].path.rglob("*")}

    def test_the_same_settings_said_again_are_fine(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        train(pets, tmp_path / "run", hooks=quick(), **SMALL | {"epochs": 1})
        run = train(pets, tmp_path / "run", preset="default", resume=True, hooks=quick(), **SMALL | {"epochs": 2})
        assert len(run.read_metrics()) == 2

    def test_no_run_to_resume(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"holds no run"):
            train(pets, tmp_path / "gone", resume=True)
        assert not (tmp_path / "gone").exists()

    def test_figures_that_were_lost_are_told(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        run = train(pets, tmp_path / "run", hooks=quick(), **SMALL | {"epochs": 2})
        (run.path / "metrics.csv").unlink()
        with pytest.raises(RunError, match=r"metrics\.csv"):
            train(pets, run.path, resume=True, epochs=3, hooks=quick())


def test_each_epoch_shows_each_image_once_in_an_order_of_its_own(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Tensor] = []

    def recorded(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
        if logits.requires_grad:
            shown.extend(mask.clone())
        return cross_entropy(logits, mask, weights)

    monkeypatch.setitem(LOSSES, "focal", recorded)
    run = train(pets, tmp_path / "run", hooks=[], **SMALL | {"loss": "focal", "augment": "none", "epochs": 2})
    kept, _ = make_train_val_split(pets, run.config)
    assert len(shown) == 2 * len(kept)
    images = [mask.numpy().tobytes() for mask in shown]
    first, second = images[: len(kept)], images[len(kept) :]
    assert sorted(first) == sorted(second) and len(set(first)) == len(kept)
    assert first != second


class TestSeeds:
    def test_another_seed_is_another_run(
        self, pets: pw.DatasetIndex, whole: tuple[Run, list[dict[str, Tensor]]], tmp_path: Path
    ) -> None:
        run = train(pets, tmp_path / "run", hooks=quick(), **SMALL | {"seed": 1})
        assert not equal(tensors(run.path / "model.safetensors"), tensors(whole[0].path / "model.safetensors"))

    def test_loading_processes_change_nothing(
        self, pets: pw.DatasetIndex, whole: tuple[Run, list[dict[str, Tensor]]], tmp_path: Path
    ) -> None:
        stop = Stop(1)
        with pytest.raises(KeyboardInterrupt):
            train(pets, tmp_path / "run", hooks=[*quick(), stop], **SMALL | {"workers": 1})
        assert figures(Run.open(tmp_path / "run")) == figures(whole[0])[:1]


class TestClassWeights:
    def once(
        self, pets: pw.DatasetIndex, out: Path, choice: object, **settings: object
    ) -> tuple[Run, dict[str, Tensor]]:
        run = train(pets, out, hooks=quick(), **SMALL | {"epochs": 1, "class_weights": choice} | settings)
        return run, tensors(run.path / "last" / "model.safetensors")

    def test_balanced_is_the_inverse_of_the_pixel_counts(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        # Without crops, images are kept at the size the model sees: the counts are those of their masks.
        _, plain = self.once(pets, tmp_path / "none", "none", augment="none")
        run, balanced = self.once(pets, tmp_path / "balanced", "balanced", augment="none")
        assert not equal(plain, balanced)
        kept, _ = make_train_val_split(pets, run.config)
        counts = np.zeros(3)
        for record in kept:
            assert record.mask is not None
            mask = Image.fromarray(read_mask(record.mask, pets.read_spec.label_map))
            counts += np.bincount(np.array(mask.resize((32, 32), Image.Resampling.NEAREST)).ravel(), minlength=3)
        by_hand = {name: float(1e4 / count) for name, count in zip(pets.classes, counts, strict=True)}
        _, explicit = self.once(pets, tmp_path / "explicit", by_hand, augment="none")
        for name, tensor in balanced.items():
            torch.testing.assert_close(tensor, explicit[name], rtol=1e-3, atol=1e-4)

    def test_a_class_that_alone_counts_is_all_that_is_learnt(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        run, _ = self.once(pets, tmp_path / "run", {"border": 1, "pet": 0, "background": 0}, epochs=8, lr=0.01)
        last = run.read_metrics()[-1]
        assert last["iou_background"] == pytest.approx(0, abs=0.05)
        assert last["iou_pet"] == pytest.approx(0, abs=0.05)
        assert (last["iou_border"] or 0) > 0.05

    def test_an_unknown_class_name(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"unknown class 'cat'.*pet, background, border"):
            self.once(pets, tmp_path / "run", {"cat": 2.0})
        assert not (tmp_path / "run").exists()


class TestTutorial:
    def test_end_to_end(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        state: list[TrainState] = []

        class Look(Callback):
            def on_start(self, seen: TrainState) -> None:
                state.append(seen)

        run = train(
            pets, tmp_path / "run", preset="tutorial", encoder_weights="none", freeze_encoder=True, size=64,
            epochs=1, batch_size=8, hooks=[*quick(), Look()],
        )  # fmt: skip
        config = run.config
        assert (config.preset, config.encoder, config.decoder) == ("tutorial", "mobilenetv2_100", "pix2pix")
        assert (config.augment, config.loss, config.schedule, config.lr) == (
            "flip",
            "cross_entropy",
            "constant",
            1e-3,
        )
        model = state[0].model
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 4_660_323
        _, held = make_train_val_split(pets, config)
        assert set(held) < set(pets.test)
        assert set(state[0].sample_records) <= set(held)
        assert Predictor.load(run.path)(pets.test[0].image).mask.shape[0] > 0
        assert run.read_metrics()[0]["learning_rate"] == pytest.approx(1e-3)

    def test_its_settings_are_the_tutorials(self) -> None:
        config = pw.Config.from_preset("tutorial")
        assert (config.size, config.batch_size, config.epochs, config.lr) == (128, 64, 20, 1e-3)
        assert (config.validation_from, config.validation_fraction) == ("test", 0.2)
        assert (config.pixels, config.padding, config.freeze_encoder) == ("unit", "same", True)
        assert config.weight_decay == 0


def many(count: int, split: str, groups: int = 4) -> tuple[pw.Record, ...]:
    return tuple(
        pw.Record(Path(f"{split}/{i}.jpg"), Path(f"{split}/{i}.png"), stratum=f"breed {i % groups}")
        for i in range(count)
    )


class TestSplits:
    def data(self, **splits: tuple[pw.Record, ...]) -> pw.DatasetIndex:
        return pw.DatasetIndex(Path("here"), "drawn", ("a", "b"), ((0, 0, 0), (9, 9, 9)), {0: 0, 1: 1}, **splits)

    def test_default_holds_back_15_percent_of_train_evenly_over_groups(self) -> None:
        data = self.data(train=many(400, "train"), test=many(100, "test"))
        kept, held = make_train_val_split(data, pw.Config())
        assert len(held) == 60 and len(kept) == 340
        assert [sum(r.stratum == f"breed {i}" for r in held) for i in range(4)] == [15] * 4
        assert {*kept, *held} == set(data.train) and not set(kept) & set(held)

    def test_it_is_drawn_by_the_seed(self) -> None:
        data = self.data(train=many(400, "train"))
        held = [make_train_val_split(data, pw.Config.from_preset(seed=seed))[1] for seed in (0, 0, 1)]
        assert held[0] == held[1] != held[2]

    def test_the_tutorial_looks_at_a_fifth_of_test(self) -> None:
        data = self.data(train=many(40, "train"), test=many(200, "test"))
        kept, held = make_train_val_split(data, pw.Config.from_preset("tutorial"))
        assert kept == list(data.train)
        assert len(held) == 40 and set(held) < set(data.test)

    @pytest.mark.parametrize("preset", ["default", "tutorial"])
    def test_a_val_split_of_the_data_sets_own_is_used_as_it_is(self, preset: str) -> None:
        data = self.data(train=many(40, "train"), val=many(7, "val"), test=many(10, "test"))
        assert make_train_val_split(data, pw.Config.from_preset(preset)) == (list(data.train), list(data.val))

    @pytest.mark.parametrize("preset", ["default", "tutorial"])
    def test_too_few_images_to_validate_on(self, preset: str) -> None:
        data = self.data(train=many(1, "train"), test=many(1, "test"))
        with pytest.raises(DataError, match=r"validation"):
            make_train_val_split(data, pw.Config.from_preset(preset))

    def test_no_training_images(self) -> None:
        with pytest.raises(DataError, match=r"no 'train' split"):
            make_train_val_split(self.data(test=many(9, "test")), pw.Config())

    def test_default_never_reads_a_test_image(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        unreadable = tuple(pw.Record(tmp_path / f"{i}.jpg", tmp_path / f"{i}.png", "x") for i in range(10))
        data = replace(pets, test=unreadable)
        run = train(data, tmp_path / "run", **SMALL | {"epochs": 1})
        assert (run.path / "samples.gif").is_file()
        with pytest.raises(DataError, match=r"no such file"):
            train(data, tmp_path / "other", **SMALL | {"epochs": 1, "validation_from": "test"})
        assert not (tmp_path / "other").exists()


class TestLearning:
    def test_the_default_preset_beats_the_largest_class_by_far(self, tmp_path: Path) -> None:
        data = pw.load_dataset(draw_dataset(tmp_path / "pets", train=48, test=24, size=(96, 72)))
        run = train(data, tmp_path / "run", epochs=8, size=64, batch_size=8, hooks=quick())
        assert run.config.encoder_weights == "embedded"
        metrics = pw.evaluate(run, data).metrics
        confusion = np.array(metrics.confusion)
        shares = confusion.sum(1) / confusion.sum()
        baseline = shares.max() / 3  # a mask of the largest class alone: its IoU, and 0 for the others
        assert metrics.mean_iou is not None and metrics.mean_iou > baseline + 0.15
        assert metrics.accuracy is not None and metrics.accuracy > shares.max() + 0.05
        losses = [row["train_loss"] or 9 for row in run.read_metrics()]
        assert losses[-1] < 0.75 * losses[0]

    def test_overfits_one_image(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        one = replace(pets, train=pets.train[:1] * 8, val=pets.train[:1])
        settings = {
            "augment": "none",
            "size": 64,
            "epochs": 30,
            "batch_size": 2,
            "lr": 0.01,
            "freeze_encoder": False,
        }
        run = train(one, tmp_path / "run", hooks=quick(), **SMALL | settings)
        last = run.read_metrics()[-1]
        assert (last["val_accuracy"] or 0) > 0.93
        assert (last["val_miou"] or 0) > 0.8
        assert (last["train_loss"] or 9) < 0.2

    @pytest.mark.parametrize("loss", LOSSES)
    def test_every_loss_goes_down(self, pets: pw.DatasetIndex, tmp_path: Path, loss: str) -> None:
        run = train(pets, tmp_path / "run", hooks=quick(), **SMALL | {"loss": loss, "epochs": 5, "lr": 0.01})
        losses = [row["train_loss"] or 9 for row in run.read_metrics()]
        assert losses[-1] < losses[0]


class TestErrors:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_loss_that_is_no_number(
        self, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
    ) -> None:
        calls = 0

        def breaks(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
            nonlocal calls
            calls += 1
            return cross_entropy(logits, mask, weights) * (value if calls > 6 else 1.0)

        monkeypatch.setitem(LOSSES, "focal", breaks)
        with pytest.raises(ConfigError, match=r"the loss became (nan|inf) in epoch \d; lower --lr") as caught:
            train(pets, tmp_path / "run", hooks=quick(), **SMALL | {"loss": "focal"})
        assert "\n" not in str(caught.value)
        for file in (tmp_path / "run").rglob("*.safetensors"):
            assert all(torch.isfinite(t).all() for t in load_file(file).values() if t.is_floating_point())

    @pytest.mark.parametrize(
        ("settings", "error", "said"),
        [
            ({"encoder": "resnet19"}, ConfigError, r"unknown encoder 'resnet19'.*resnet18"),
            ({"layers": ("blocks.99",)}, ConfigError, r"unknown layer 'blocks\.99'.*blocks\.1"),
            ({"encoder_weights": "gone.safetensors"}, WeightsError, r"gone\.safetensors: no such file"),
            ({"loss": "l2"}, ConfigError, r"unknown loss 'l2'.*cross_entropy"),
            ({"decoder": "unet"}, ConfigError, r"unknown decoder 'unet'.*pix2pix"),
            ({"preset": "nnunet"}, ConfigError, r"unknown preset 'nnunet'.*default, tutorial"),
            ({"batch_size": 1}, ConfigError, r"one image of 32 px .*raise --size or --batch-size"),
            ({"device": "tpu9"}, ConfigError, r"device 'tpu9' is not on this machine"),
            ({"device": "meta"}, ConfigError, r"device 'meta' is not on this machine"),
        ],
        ids=str,
    )
    def test_bad_settings_leave_nothing_behind(
        self, pets: pw.DatasetIndex, tmp_path: Path, settings: dict[str, Any], error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said) as caught:
            train(pets, tmp_path / "run", **{"encoder": "test_efficientnet", **SMALL, **settings})
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("breaking", "said"),
        [
            (lambda image, mask: mask.unlink(), r"no such file"),
            (lambda image, mask: image.write_bytes(image.read_bytes()[:500]), r"truncated or corrupt"),
            (lambda image, mask: Image.new("L", (5, 5), 1).save(mask), r"of one size"),
            (
                lambda image, mask: Image.fromarray(np.array(Image.open(mask)) + 7).save(mask),
                r"outside the classes",
            ),
        ],
        ids=["mask gone", "image truncated", "sizes differ", "strange value"],
    )
    def test_bad_images_leave_nothing_behind(
        self, pets_folder: Path, tmp_path: Path, breaking: Callable[[Path, Path], object], said: str
    ) -> None:
        shutil.copytree(pets_folder, tmp_path / "pets")
        data = pw.load_dataset(tmp_path / "pets")
        record = data.train[3]
        assert record.mask is not None
        breaking(record.image, record.mask)
        with pytest.raises(DataError, match=said) as caught:
            train(data, tmp_path / "run", **SMALL)
        assert record.image.stem in str(caught.value)
        assert not (tmp_path / "run").exists()

    def test_a_run_in_the_way(self, pets: pw.DatasetIndex, whole: tuple[Run, list[dict[str, Tensor]]]) -> None:
        before = {path: path.stat().st_mtime_ns for path in whole[0].path.rglob("*")}
        with pytest.raises(OutputExistsError, match="contains a run"):
            train(pets, whole[0].path, **SMALL)
        assert before == {path: path.stat().st_mtime_ns for path in whole[0].path.rglob("*")}
