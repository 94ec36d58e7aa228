"""Trainings that start from the model of another run, also with more classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise as pw
from pixelwise.config import Config
from pixelwise.data.join import join_datasets
from pixelwise.errors import ConfigError, RunError
from pixelwise.models.model import SegmentationModel, create_model
from pixelwise.training.repeats import train_folds, train_seeds
from pixelwise.training.resume import resolve_settings
from pixelwise.training.start_from import (
    inherit_settings,
    match_classes,
    merge_classes,
    start_model,
    transfer_weights,
)
from tests.training.helpers import SMALL, value

pytestmark = pytest.mark.integration

COLORS = {
    "sky": (40, 90, 200),
    "leaf": (60, 170, 40),
    "brick": (190, 60, 40),
    "cat": (10, 10, 10),
    "dog": (200, 200, 200),
}


def draw(root: Path, classes: tuple[str, ...], images: int = 16, seed: int = 0) -> pw.DatasetIndex:
    """Draw images with a rectangle of each class but the first, which is the rest of the image."""
    generator = np.random.default_rng(seed)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(images):
        mask = np.zeros((48, 48), np.uint8)
        for index in range(1, len(classes)):
            top, left = generator.integers(0, 24, 2)
            mask[top : top + 20, left : left + 20] = index
        image = np.array([COLORS[name] for name in classes])[mask] + generator.normal(0, 20, (48, 48, 3))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return pw.load_dataset(root, label_map={str(index): name for index, name in enumerate(classes)})


LEARNS: dict[str, Any] = SMALL | {"image_size": 48, "augmentation": "none", "epochs": 12, "lr": 0.01, "batch_size": 8}


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    """Train on "sky" and "leaf"."""
    folder = tmp_path_factory.mktemp("from")
    run = pw.train(draw(folder / "two", ("sky", "leaf")), folder / "run", **LEARNS)
    assert value(run.read_metrics()[-1], "val_miou") > 0.9
    return run


def ious(run: pw.Run, data: pw.DatasetIndex) -> dict[str, float]:
    """Return the IoU of each class on all images of a data set, which is not the one of the training."""
    data = join_datasets([data], SegmentationModel.load(run.path).config.classes)
    metrics = pw.evaluate(run, data, split="train", out=None).metrics
    return {name: each.iou or 0.0 for name, each in metrics.classes.items()}


class TestMoreClasses:
    def test_old_classes_are_not_forgotten(
        self, two_classes: pw.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        three = draw(tmp_path / "three", ("sky", "brick", "leaf"), seed=1)
        settings = {name: LEARNS[name] for name in ("epochs", "lr", "device", "precision", "defaults", "augmentation")}
        run = pw.train(three, tmp_path / "run", start_from=str(two_classes.path), batch_size=8, **settings)
        assert (run.config.encoder, run.config.image_size) == ("test_efficientnet", 48)
        assert run.config.start_from == str(two_classes.path)
        monkeypatch.chdir(two_classes.path.parent)
        relative = two_classes.path.name
        same: list[dict[str, Any]] = [
            {"start_from": relative},
            {"config": Config(start_from=relative, encoder_weights="none")},
        ]
        for change in same:
            assert pw.train(three, run.path, resume=True, **change).config == run.config
        with pytest.raises(ConfigError, match="cannot change `start_from`"):
            pw.train(three, run.path, resume=True, start_from="another-run")
        evaluation = pw.evaluate(run, out=None)
        assert (evaluation.split, tuple(evaluation.metrics.classes)) == ("val", ("sky", "leaf", "brick"))
        old = draw(tmp_path / "old", ("sky", "leaf"), seed=2)
        before, after = ious(two_classes, old), ious(run, old)
        for name in ("sky", "leaf"):
            assert after[name] > before[name] - 0.03, name
        assert ious(run, draw(tmp_path / "new", ("sky", "leaf", "brick"), seed=3))["brick"] > 0.7

    def test_classes_that_the_new_images_do_not_show_are_unknown_there(
        self, two_classes: pw.Run, tmp_path: Path
    ) -> None:
        # "leaf" is not labeled: its pixels are of the class "sky", which is no background.
        other = draw(tmp_path / "other", ("sky", "brick"))
        data = match_classes(other, Config(encoder_weights="none", start_from=str(two_classes.path)))
        assert data.classes == ("sky", "leaf", "brick")
        assert any("has no 'leaf'" in message for message in data.messages)
        _, mask = data.read(data.train[0])
        assert set(np.unique(mask)) == {0, 2}

    def test_the_first_epoch_begins_with_the_old_model(self, two_classes: pw.Run, tmp_path: Path) -> None:
        data = draw(tmp_path / "more", ("sky", "leaf"), seed=4)
        config = inherit_settings(Config(encoder_weights="none", start_from=str(two_classes.path)), {})
        model, old = start_model(match_classes(data, config), config), SegmentationModel.load(two_classes.path)
        assert model.training and model.config.classes == old.config.classes
        assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in old.state_dict().items())


class TestSettings:
    def test_those_of_the_model_come_from_the_run(self, two_classes: pw.Run) -> None:
        config = inherit_settings(Config(start_from=str(two_classes.path), epochs=3), {"epochs": 3})
        assert (config.encoder, config.encoder_weights, config.image_size) == ("test_efficientnet", "none", 48)
        assert (config.epochs, config.encoder_training) == (3, "all")
        given: dict[str, Any] = {"image_size": 96, "encoder_training": "none"}
        config = inherit_settings(Config(start_from=str(two_classes.path), **given), given)
        assert (config.image_size, config.encoder_training) == (96, "none")
        config = inherit_settings(
            Config(start_from=str(two_classes.path), encoder_training="auto"), ["encoder_training"]
        )
        assert config.encoder_training == "all", "the decoder is trained already"
        assert inherit_settings(Config(encoder_weights="none"), {}) == Config(encoder_weights="none")

    def test_another_model_is_refused(self, two_classes: pw.Run, tmp_path: Path) -> None:
        message = r"`encoder` cannot change: the model of .*run has 'test_efficientnet'; leave it out"
        with pytest.raises(ConfigError, match=message):
            inherit_settings(
                Config(start_from=str(two_classes.path), encoder="resnet18", encoder_weights="none"),
                {"encoder": "resnet18"},
            )
        with pytest.raises(RunError, match="not a run directory"):
            inherit_settings(Config(encoder_weights="none", start_from=str(tmp_path)), {})

    def test_data_of_another_kind_is_refused(self, two_classes: pw.Run, tmp_path: Path) -> None:
        config = Config(encoder_weights="none", start_from=str(two_classes.path))
        message = r"has the classes cat, dog, and the model of .* has sky, leaf; name equal classes alike"
        with pytest.raises(ConfigError, match=message):
            match_classes(draw(tmp_path / "pets", ("cat", "dog"), images=4), config)


class TestWeights:
    @pytest.mark.parametrize("decoder", ["fpn", "pix2pix"])
    def test_old_rows_are_kept_for_every_decoder(self, decoder: str) -> None:
        models = [
            create_model("test_efficientnet", decoder, count, encoder_weights="none", image_size=64).eval()
            for count in (2, 4)
        ]
        old, new = models
        new.load_state_dict(transfer_weights(old.state_dict(), new.state_dict(), 2))
        images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
        with torch.no_grad():
            torch.testing.assert_close(new(images)[:, :2], old(images))
            assert not torch.allclose(new(images)[:, 2], new(images)[:, 3]), "new rows are random"

    def test_class_names(self) -> None:
        assert merge_classes(("a", "b"), ("c", "b")) == ("a", "b", "c")
        assert merge_classes(("background", "cat"), ("other", "dog")) == ("background", "cat", "dog")
        assert merge_classes(("cat", "dog"), ("background", "dog")) == ("cat", "dog", "background")


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    """Write a run with an untrained model, whose encoder, view, scale and size are not the defaults."""
    config = Config(encoder="test_efficientnet", encoder_weights="none", view="tiles", scale=0.5, image_size=64)
    run = pw.Run(tmp_path_factory.mktemp("from") / "windows", config)
    run.start()
    config.create_model(("sky", "leaf")).save(run.path)
    return run


class TrainingStartError(Exception):
    """The settings with which a training would start."""


class TestFunctions:
    """All functions that train take the settings that are not given from the other run."""

    @pytest.mark.parametrize(
        ("function", "training"),
        [
            (pw.train, "training.trainer.prepare_training"),
            (train_folds, "training.repeats.train"),
            (train_seeds, "training.repeats.train"),
            (pw.tune, "tuning.study.train"),
            (pw.find_learning_rate, "training.lr_finder.prepare_training"),
        ],
    )
    def test_the_model_and_the_view_are_those_of_the_run(
        self,
        function: Callable[..., object],
        training: str,
        windows: pw.Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def stop(*arguments: object, **_: object) -> None:
            raise TrainingStartError(
                *(getattr(each, "config", each) for each in arguments if isinstance(each, Config | pw.Run))
            )

        if function is pw.tune:
            pytest.importorskip("optuna")
        monkeypatch.setattr(f"pixelwise.{training}", stop)
        data = draw(tmp_path / "data", ("sky", "leaf"), images=8)
        with pytest.raises(TrainingStartError) as reached:
            function(data, tmp_path / "out", start_from=str(windows.path), batch_size=2, device="cpu")
        (config,) = reached.value.args
        assert (config.encoder, config.encoder_weights, config.encoder_training) == ("test_efficientnet", "none", "all")
        assert (config.view, config.scale, config.image_size, config.batch_size) == ("tiles", 0.5, 64, 2)
        assert resolve_settings(config, {}, preset=None, plan=None) == config, "nothing is inherited twice"

    def test_the_short_name_of_an_encoder_is_refused_too(self, windows: pw.Run) -> None:
        settings = {"start_from": str(windows.path), "model_size": "m"}
        with pytest.raises(ConfigError, match="`encoder` cannot change"):
            resolve_settings(None, settings, preset=None, plan=None)
