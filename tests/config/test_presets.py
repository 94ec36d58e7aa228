"""Presets and `Config.from_preset`."""

from typing import Any

import pytest

from pixelwise.config import PRESETS, Config
from pixelwise.errors import ConfigError


def test_the_tutorial_preset_equals_the_tutorial() -> None:
    """https://www.tensorflow.org/tutorials/images/segmentation, value for value."""
    config = Config.from_preset("tutorial")
    # Data: 128x128, a left-right flip, a fifth of the test split for validation (VAL_SUBSPLITS = 5).
    assert (config.image_size, config.augmentation) == (128, "flip")
    assert (config.val_from, config.val_fraction) == ("test", 1 / 5)
    # Encoder: MobileNetV2 with "same" padding, [0, 1] pixels, frozen, cut at block_1, 3, 6 and 13's expanded
    # activations and block_16's projection.
    assert (config.encoder, config.encoder_padding, config.normalization) == ("mobilenetv2_100", "same", "unit")
    assert config.encoder_training == "none" and config.encoder_weights == "hub"
    assert config.encoder_layers == (
        "blocks.1.0.bn1",
        "blocks.2.0.bn1",
        "blocks.3.0.bn1",
        "blocks.5.0.bn1",
        "blocks.6.0.conv_pwl",
    )
    assert config.decoder == "pix2pix"
    # Training: 20 epochs of batches of 64, sparse cross-entropy, Adam 1e-3.
    assert (config.epochs, config.batch_size, config.loss) == (20, 64, "cross_entropy")
    assert (config.optimizer, config.lr, config.weight_decay) == ("adamw", 1e-3, 0.0)
    assert config.lr_schedule == "constant"
    assert config.class_weights == "none"


def test_the_default_preset() -> None:
    config = Config.from_preset()
    assert config == Config() == Config.from_preset("default")
    assert (config.val_from, config.val_fraction) == ("train", 0.15)
    assert (config.encoder, config.encoder_weights) == ("tf_efficientnet_lite0", "bundled")
    assert (config.normalization, config.encoder_padding, config.encoder_layers) == ("encoder", "native", None)
    assert (config.decoder, config.augmentation, config.lr_schedule) == ("fpn", "crop", "onecycle")
    assert config.optimizer == "muon" and config.weight_decay > 0


@pytest.mark.parametrize("name", PRESETS)
def test_given_settings_replace_those_of_the_preset(name: str) -> None:
    assert set(PRESETS[name]) < set(Config.model_fields)
    base = Config.from_preset(name)
    assert all(getattr(base, key) == value for key, value in PRESETS[name].items())
    changed = Config.from_preset(name, epochs=7, lr=0.5, augmentation="none")
    assert changed == base.replace(epochs=7, lr=0.5, augmentation="none")


def test_a_plan_comes_between_the_preset_and_the_settings() -> None:
    config = Config.from_preset("tutorial", {"epochs": 5, "lr": 0.5}, lr=0.25)
    assert (config.batch_size, config.epochs, config.lr) == (64, 5, 0.25)


def test_the_default_view_keeps_the_scale_of_a_plan_without_a_view() -> None:
    assert Config.from_preset(base={"eval_scale": 1.25}, view="whole").eval_scale == 1.25


def test_an_unknown_preset_lists_the_choices() -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_preset("tutorail")
    assert (
        str(error.value) == "unknown preset 'tutorail' (did you mean 'tutorial'?); choose from: default, fast, tutorial"
    )


def test_another_encoder_gets_its_own_layers_and_weights() -> None:
    """The tutorial's layer names are MobileNetV2's, and a package has the weights of one encoder."""
    config = Config.from_preset("tutorial", encoder="resnet18")
    assert (config.encoder_layers, config.encoder_weights) == (None, "hub")
    assert (config.encoder_padding, config.decoder) == ("same", "pix2pix"), "all else is the preset's"
    assert Config.from_preset(encoder="resnet18").encoder_weights == "hub", "no package has them"
    lite = Config.from_preset("tutorial", encoder="tf_efficientnet_lite0")
    assert (lite.encoder_layers, lite.encoder_weights) == (None, "bundled")
    fast = Config.from_preset("fast", encoder="resnet18")
    assert (fast.encoder_layers, fast.decoder) == (None, "fpn"), "the widths of the decoder are those of the layers"
    stages = Config.from_preset(base={"decoder": {"name": "fpn", "stages": 5}}, encoder="resnet18")
    assert stages.decoder == {"name": "fpn", "stages": 5}, "a decoder of a plan stays"
    planned = Config.from_preset("tutorial", {"encoder": "tf_efficientnet_lite0"}, epochs=3)
    assert (planned.encoder_layers, planned.encoder_weights) == (None, "bundled"), "an encoder from a plan too"


def test_another_encoder_takes_given_layers_and_weights() -> None:
    config = Config.from_preset(
        "tutorial", encoder="resnet18", encoder_layers=["layer1", "layer2"], encoder_weights="none"
    )
    assert (config.encoder_layers, config.encoder_weights) == (("layer1", "layer2"), "none")


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_own_encoder_changes_nothing(name: str) -> None:
    base = Config.from_preset(name)
    assert Config.from_preset(name, encoder=base.encoder) == base


@pytest.mark.parametrize("name", PRESETS)
def test_a_random_encoder_trains_unless_the_settings_freeze_it(name: str) -> None:
    base = Config.from_preset(name)
    assert base.encoder_training == ("none" if name == "tutorial" else "auto")
    assert Config.from_preset(name, encoder_weights="none").encoder_training == "auto"
    frozen: dict[str, Any]
    for frozen in ({"freeze_encoder": True}, {"encoder_training": "none"}):
        assert Config.from_preset(name, encoder_weights="none", **frozen).encoder_training == "none"
    assert Config.from_preset(name, encoder_weights="hub").encoder_training == base.encoder_training
    trained = Config.from_preset(name, freeze_encoder=False)
    assert (trained.encoder_training, trained.encoder_weights) == ("auto", base.encoder_weights)
