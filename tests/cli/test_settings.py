"""Flags of settings: each reaches the library with its value, and a wrong one is named."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import pixelwise as pw
from pixelwise.cli.setting_flags import read_flags, read_names, settings_model
from pixelwise.cli.settings import config_flags
from pixelwise.config import PRESETS, Config
from pixelwise.data.formats.registry import FORMATS
from pixelwise.losses import LOSSES
from pixelwise.metrics import METRICS
from pixelwise.registry import Params
from tests.cli.helpers import FAST, RunCommand, assert_one_line_error

# A value other than the default for every setting, as flags and as it reaches the library.
TYPED: dict[str, tuple[Sequence[str], object]] = {
    "view": (["--view", "tiles"], "tiles"),
    "scale": (["--view", "tiles", "--scale", "0.5"], 0.5),
    "image_size": (["--size", "96"], 96),
    "start_size": (["--start-size", "64"], 64),
    "eval_scale": (["--eval-scale", "1.5"], 1.5),
    "augmentation": (["--augmentation", "flip"], "flip"),
    "mosaic": (["--mosaic", "0.5"], 0.5),
    "val_from": (["--val-from", "test"], "test"),
    "val_fraction": (["--val-fraction", "0.3"], 0.3),
    "cache_images": (["--no-cache"], False),
    "skip_unreadable": (["--skip-unreadable"], True),
    "encoder": (["--encoder", "resnet18"], "resnet18"),
    "encoder_weights": (["--encoder-weights", "none"], "none"),
    "accept_license": (["--accept-license", "cc-by-nc-4.0"], "cc-by-nc-4.0"),
    "encoder_layers": (["--encoder-layers", "layer1", "layer2"], ("layer1", "layer2")),
    "encoder_padding": (["--encoder-padding", "same"], "same"),
    "normalization": (["--normalization", "unit"], "unit"),
    "encoder_training": (["--encoder-training", "all"], "all"),
    "freeze_depthwise": (["--no-freeze-depthwise"], False),
    "freeze_batchnorm": (["--freeze-batchnorm"], True),
    "freeze_stride": (["--freeze-stride", "8"], 8),
    "kept_versions": (["--kept-versions", "3"], 3),
    "decoder": (["--decoder", "pix2pix"], "pix2pix"),
    "start_from": (["--from", "runs/pets"], "runs/pets"),
    "epochs": (["--epochs", "3"], 3),
    "time_budget": (["--time-budget", "1h30m"], 5400.0),
    "patience": (["--patience", "6"], 6),
    "validate_every": (["--validate-every", "2"], 2),
    "batch_size": (["--batch-size", "5"], 5),
    "accumulate": (["--accumulate", "4"], 4),
    "loss": (["--loss", "dice"], "dice"),
    "class_weights": (["--class-weights", "pet=2,border=1"], {"pet": 2.0, "border": 1.0}),
    "lr": (["--lr", "0.25"], 0.25),
    "encoder_lr_factor": (["--encoder-lr-factor", "0.75"], 0.75),
    "optimizer": (["--optimizer", "adamw"], "adamw"),
    "weight_decay": (["--weight-decay", "0.125"], 0.125),
    "pretrained_decay": (["--pretrained-decay", "0.25"], 0.25),
    "clip_gradients": (["--clip-gradients", "0.5"], 0.5),
    "lr_schedule": (["--lr-schedule", "constant"], "constant"),
    "seed": (["--seed", "42"], 42),
    "deterministic": (["--deterministic"], True),
    "callbacks": (["--callbacks", "early_stopping:patience=3"], ({"name": "early_stopping", "patience": 3},)),
    "device": (["--device", "cpu"], "cpu"),
    "precision": (["--precision", "bf16-mixed"], "bf16-mixed"),
    "num_workers": (["--workers", "2"], 2),
    "sample_predictions": (["--sample-predictions", "7"], 7),
    "loggers": (["--loggers", "csv"], ("csv",)),
}


class TestSettings:
    def test_every_setting_has_a_value_here(self) -> None:
        assert set(TYPED) == set(Config.model_fields)

    @pytest.mark.parametrize("name", [name for name in TYPED if name != "start_from"])
    def test_a_flag_reaches_the_settings(
        self, name: str, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path
    ) -> None:
        flags, value = TYPED[name]
        run_cli("train", pets_folder, "--out", "nowhere", "--preset", "default", *flags)
        given: dict[str, Any] = {name: value} | ({"view": "tiles"} if name == "scale" else {})
        assert getattr(train_call["config"], name) == value != getattr(Config(), name)
        assert train_call["config"] == Config.from_preset(**given), "settings without a flag are those of the preset"

    def test_the_run_to_start_from_reaches_the_settings_with_its_model(
        self, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path, tiny_run: pw.Run
    ) -> None:
        run_cli("train", pets_folder, "--out", "nowhere", "--preset", "default", "--from", tiny_run.path)
        config = train_call["config"]
        assert config.start_from == str(tiny_run.path)
        assert config.encoder_weights == tiny_run.config.encoder_weights != Config().encoder_weights

    @pytest.mark.parametrize(
        ("flags", "name", "value"),
        [
            (["--loss", "focal", "--loss-args", "gamma=3"], "loss", {"name": "focal", "gamma": 3.0}),
            (
                ["--loss", "tversky", "--loss-args", "alpha=0.2", "beta=0.8"], "loss",
                {"name": "tversky", "alpha": 0.2, "beta": 0.8},
            ),
            (["--decoder", "fpn", "--decoder-args", "widths=[64,32]"], "decoder", {"name": "fpn", "widths": [64, 32]}),
            (
                ["--augmentation", "flip", "--augmentation-args", "probability=0.25"], "augmentation",
                {"name": "flip", "probability": 0.25},
            ),
            (
                ["--encoder-weights", "file", "--encoder-weights-args", "path=a.safetensors"], "encoder_weights",
                {"name": "file", "path": "a.safetensors"},
            ),
            (["--freeze-encoder"], "encoder_training", "none"),
            (["--no-freeze-encoder"], "encoder_training", "auto"),
        ],
    )  # fmt: skip
    def test_parameters_and_short_forms(
        self, flags: list[str], name: str, value: object, run_cli: RunCommand, train_call: dict[str, Any],
        pets_folder: Path,
    ) -> None:  # fmt: skip
        run_cli("train", pets_folder, "--out", "nowhere", "--preset", "default", *flags)
        given: dict[str, Any] = {name: value}
        assert train_call["config"] == Config(**given)

    def test_presets_and_negative_flags(
        self, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path
    ) -> None:
        run_cli("train", pets_folder, "--out", "x", "--preset", "tutorial", "--no-freeze-encoder", "--epochs=2")
        assert (train_call["preset"], train_call["resume"], train_call["plan"]) == ("tutorial", False, None)
        config = train_call["config"]
        assert (config.encoder_training, config.epochs, config.batch_size) == ("auto", 2, 64)


WRONG_FLAGS: dict[str, tuple[list[str], list[str]]] = {
    "encoder": (["--encoder", "resnet19"], ["unknown encoder 'resnet19'", "resnet18"]),
    "layer": (["--encoder-layers", "blocks.0", "blocks.77"], ["unknown layer 'blocks.77'", "blocks.3", "conv_stem"]),
    "loss": (["--loss", "l2"], ["--loss: unknown loss 'l2'", "cross_entropy", "dice", "focal"]),
    "decoder": (["--decoder", "unet"], ["--decoder: unknown decoder 'unet'", "fpn", "pix2pix"]),
    "augmentation": (["--augmentation", "mixup"], ["unknown augmentation 'mixup'", "flip", "crop"]),
    "callback": (["--callbacks", "early"], ["--callbacks", "unknown callback 'early'", "early_stopping"]),
    "logger": (["--loggers", "neptune"], ["--loggers", "unknown logger 'neptune'", "tensorboard"]),
    "parameter": (["--loss", "focal", "--loss-args", "gama=3"], ["has no parameter 'gama'", "gamma"]),
    "parameter without a value": (["--loss", "focal", "--loss-args", "gamma"], ["--loss-args: 'gamma' is not"]),
    "parameter without a component": (["--loss-args", "gamma=3"], ["--loss-args needs --loss", "add --loss NAME"]),
    "class name": (["--class-weights", "cat=2"], ["unknown class 'cat'", "pet, background, border"]),
    "class weights": (["--class-weights", "pet:2"], ["--class-weights", "pet:2", "balanced", "pet=2,border=1"]),
    "all weights 0": (["--class-weights", "pet=0,background=0,border=0"], ["weights are all 0"]),
    "preset": (["--preset", "nnunet"], ["nnunet", *PRESETS]),
    "text for a number": (["--batch-size", "large"], ["--batch-size", "integer", "large"]),
    "text for a size": (["--size", "large"], ["--size: ", "HEIGHTxWIDTH", "large"]),
    "size too small": (["--size", "8"], ["--size: ", "32"]),
    "epochs": (["--epochs", "0"], ["--epochs: ", "1"]),
    "two lengths": (["--time-budget", "5m", "--epochs", "3"], ["--epochs and --time-budget are two ways"]),
    "no run to start from": (["--from", "missing-run"], ["missing-run: not a run directory"]),
    "weights file": (["--encoder-weights", "missing.safetensors"], ["missing.safetensors", "bundled, hub, none"]),
    "no bundled weights": (["--encoder-weights", "bundled"], ["no package", "tf_efficientnet_lite0"]),
    "device": (["--device", "tpu7"], ["tpu7", "cpu"]),
    "unknown flag": (["--learning-rate", "1"], ["--learning-rate"]),
    "two contradictory flags": (["--freeze-encoder", "--encoder-training", "all"], ["--freeze-encoder", "contradicts"]),
}


@pytest.mark.parametrize("case", WRONG_FLAGS)
def test_wrong_flags(case: str, run_cli: RunCommand, pets_folder: Path, tmp_path: Path) -> None:
    flags, parts = WRONG_FLAGS[case]
    others = [pair for i in range(0, len(FAST), 2) if FAST[i] not in flags for pair in FAST[i : i + 2]]
    result = run_cli("train", pets_folder, "--out", tmp_path / "run", *others, *flags)
    assert_one_line_error(result, *parts)
    assert list(tmp_path.iterdir()) == []


def test_a_time_that_is_none(run_cli: RunCommand, pets_folder: Path) -> None:
    result = run_cli("train", pets_folder, "--out", "nowhere", "--time-budget", "soon")
    assert_one_line_error(result, "--time-budget: 'soon' is not a duration; write 90s, 5m or 1h30m")


def test_the_stored_flags_are_those_of_the_settings() -> None:
    assert read_flags() == config_flags(), "run: python -m pixelwise.cli.settings"
    assert read_names("metrics") == tuple(METRICS), "run: python -m pixelwise.cli.settings"
    assert read_names("formats") == tuple(FORMATS), "run: python -m pixelwise.cli.settings"


class TestRegistries:
    @pytest.fixture
    def new_loss(self) -> Iterator[str]:
        class NewParams(Params):
            sharpness: float = 1.0

        def new(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, sharpness: float = 1.0) -> Tensor:
            return logits.sum() * sharpness

        LOSSES.register("new", new, params=NewParams, tasks=("multiclass",))
        yield "new"
        LOSSES.unregister("new")

    def test_help_lists_a_component_that_is_registered_later(self, new_loss: str) -> None:
        def help_of(name: str) -> str:
            return str(settings_model(config_flags()).model_fields[name].metadata[0].help)

        assert new_loss in help_of("loss") and "new (sharpness)" in help_of("loss_args")
        LOSSES.unregister(new_loss)
        assert new_loss not in help_of("loss")
        LOSSES.register(new_loss, lambda logits, mask, pixel_weights=None: logits.sum())
