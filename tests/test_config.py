"""Settings: presets, what they turn into, and one clear line for each that cannot work."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from pixelwise.config import PRESETS, Config
from pixelwise.data.augmentations import AUGMENTATIONS
from pixelwise.errors import ConfigError
from pixelwise.losses import LOSSES
from pixelwise.models.decoders import DECODERS


def refused(**settings: Any) -> str:
    """The one line that these settings get."""
    with pytest.raises(ConfigError) as error:
        Config.from_preset(**settings)
    text = str(error.value)
    assert "\n" not in text
    return text


# --- presets


def test_the_tutorials_preset_is_the_tutorial() -> None:
    """https://www.tensorflow.org/tutorials/images/segmentation, value for value."""
    config = Config.from_preset("tutorial")
    assert config.preset == "tutorial"
    # Data: 128x128, a left-right flip, a fifth of the test split for validation (VAL_SUBSPLITS = 5).
    assert (config.size, config.augment) == (128, "flip")
    assert (config.validation_from, config.validation_fraction) == ("test", 1 / 5)
    # Encoder: MobileNetV2 with "same" padding, [0, 1] pixels, frozen, cut at block_1, 3, 6 and 13's expanded
    # activations and block_16's projection.
    assert (config.encoder, config.padding, config.pixels) == ("mobilenetv2_100", "same", "unit")
    assert config.freeze_encoder is True and config.encoder_weights != "none"
    assert config.layers == (
        "blocks.1.0.bn1",
        "blocks.2.0.bn1",
        "blocks.3.0.bn1",
        "blocks.5.0.bn1",
        "blocks.6.0.conv_pwl",
    )
    assert config.decoder == "pix2pix"
    # Training: 20 epochs of batches of 64, sparse cross-entropy, Adam 1e-3.
    assert (config.epochs, config.batch_size, config.loss) == (20, 64, "cross_entropy")
    assert (config.lr, config.weight_decay, config.schedule) == (1e-3, 0.0, "constant")
    assert config.class_weights == "none"


def test_the_default_preset_is_ours() -> None:
    config = Config.from_preset()
    assert config == Config() == Config.from_preset("default")
    assert (config.validation_from, config.validation_fraction) == ("train", 0.15)
    assert (config.encoder, config.encoder_weights) == ("tf_efficientnet_lite0", "embedded")
    assert (config.pixels, config.padding, config.layers) == ("encoder", "native", None)
    assert (config.decoder, config.augment, config.schedule) == ("light", "crop", "one-cycle")
    assert config.weight_decay > 0, "AdamW"


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_settings_are_settings_and_given_ones_go_first(name: str) -> None:
    assert set(PRESETS[name]) < set(Config.model_fields)
    base = Config.from_preset(name)
    assert all(getattr(base, key) == value for key, value in PRESETS[name].items())
    changed = Config.from_preset(name, epochs=7, lr=0.5, augment="none")
    assert changed == base.model_copy(update={"epochs": 7, "lr": 0.5, "augment": "none"})


def test_an_unknown_preset_lists_the_choices() -> None:
    assert refused(preset="tutorail") == (
        "unknown preset 'tutorail' (did you mean 'tutorial'?); choose from: default, tutorial"
    )


# --- encoders


def test_another_encoder_starts_from_its_own_layers_and_weights() -> None:
    """The tutorial's layer names are MobileNetV2's, and a package's weights are one encoder's."""
    config = Config.from_preset("tutorial", encoder="resnet18")
    assert (config.layers, config.encoder_weights) == (None, "hub")
    assert (config.padding, config.decoder) == ("same", "pix2pix"), "all else is the preset's"
    assert Config.from_preset(encoder="resnet18").encoder_weights == "hub", "no package embeds it"
    lite = Config.from_preset("tutorial", encoder="tf_efficientnet_lite0")
    assert (lite.layers, lite.encoder_weights) == (None, "embedded")


def test_another_encoder_takes_the_layers_and_weights_that_are_given() -> None:
    config = Config.from_preset(
        "tutorial", encoder="resnet18", layers=["layer1", "layer2"], encoder_weights="a.safetensors"
    )
    assert (config.layers, config.encoder_weights) == (("layer1", "layer2"), "a.safetensors")


def test_the_presets_own_encoder_named_again_changes_nothing() -> None:
    for name in PRESETS:
        base = Config.from_preset(name)
        assert Config.from_preset(name, encoder=base.encoder) == base


def test_an_encoder_that_starts_at_random_trains_unless_said() -> None:
    for name in PRESETS:
        assert Config.from_preset(name).freeze_encoder is (name == "tutorial"), "ours fine-tunes it"
        assert Config.from_preset(name, encoder_weights="none").freeze_encoder is False
        assert Config.from_preset(name, encoder_weights="none", freeze_encoder=True).freeze_encoder is True
        assert Config.from_preset(name, encoder_weights="hub").freeze_encoder is Config.from_preset(name).freeze_encoder
        assert (
            Config.from_preset(name, freeze_encoder=False).encoder_weights == Config.from_preset(name).encoder_weights
        )


# --- YAML


@pytest.mark.parametrize(
    "config",
    [
        Config.from_preset("default"),
        Config.from_preset("tutorial"),
        Config.from_preset(
            "tutorial", encoder="resnet18", layers=("layer1", "layer4.0"), encoder_weights="~/ä ü.safetensors"
        ),
        Config.from_preset(lr=1e-7, weight_decay=1e-300, encoder_lr_factor=0.1 + 0.2, seed=2**31 - 1),
        Config.from_preset(class_weights="pet=2,border=0.1,yes=1,1=3,null=0"),
        Config.from_preset(class_weights="balanced", loss="focal", device="cuda:1", freeze_encoder=False),
    ],
    ids=["default", "tutorial", "encoder", "numbers", "weights", "others"],
)
def test_yaml_reads_back_to_an_equal_config(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert Config.from_yaml(path) == config
    written = yaml.safe_load(config.to_yaml())
    assert list(written) == list(Config.model_fields), "every setting, as resolved, in order"


def test_yaml_that_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("epochs: 3\nlr: 1e-4  # YAML 1.1 reads this as text\nclass_weights: pet=2, border=1\n")
    assert Config.from_yaml(path) == Config(epochs=3, lr=1e-4, class_weights={"pet": 2, "border": 1})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"epoch: 3", "unknown setting 'epoch' (did you mean 'epochs'?)"),
        (b"epochs: 0", "epochs: "),
        (b"loss: dise", "did you mean 'dice'?"),
        (b"preset: tutorail", "'default' or 'tutorial'"),
        (b"epochs: [3", "cannot be read as settings"),
        (b"epochs: 3\n\tlr: 1", "cannot be read as settings"),
        (b"", "cannot be read as settings"),
        (b"- epochs", "cannot be read as settings"),
        (b"just text", "cannot be read as settings"),
        (b"1: 2", "cannot be read as settings"),
        (b"\xff\xfe\x00\xd8", "cannot be read as settings"),
        (b"device: '\x00'", "cannot be read as settings"),
        (None, "cannot be read as settings"),
    ],
)
def test_a_broken_file_is_named_in_one_line(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        Config.from_yaml(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and said in text and "\n" not in text


# --- settings that cannot work


def test_an_unknown_setting_gets_the_nearest_one() -> None:
    text = refused(batchsize=3)
    assert text.startswith("unknown setting 'batchsize' (did you mean 'batch_size'?); choose from: ")
    assert all(name in text for name in Config.model_fields)
    with pytest.raises(ValidationError, match="batchsize"):
        Config(batchsize=3)


@pytest.mark.parametrize(
    ("setting", "wrong", "meant", "choices"),
    [
        ("loss", "cross_entropi", "cross_entropy", LOSSES),
        ("decoder", "pix2px", "pix2pix", DECODERS),
        ("augment", "flips", "flip", AUGMENTATIONS),
    ],
)
def test_an_unknown_name_lists_the_choices(setting: str, wrong: str, meant: str, choices: dict[str, Any]) -> None:
    text = refused(**{setting: wrong})
    assert f"unknown {setting} '{wrong}' (did you mean '{meant}'?); choose from: {', '.join(choices)}" in text
    for name in choices:
        assert getattr(Config.from_preset(**{setting: name}), setting) == name


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("size", [31, 0, -128, 4097, 128.5, "large", None]),
        ("validation_fraction", [0, 1, -0.1, 1.5, "some", float("nan")]),
        ("epochs", [0, -1, 2.5, "many"]),
        ("batch_size", [0, -4]),
        ("lr", [0, -1e-3, "fast", float("nan")]),
        ("encoder_lr_factor", [0, -1]),
        ("weight_decay", [-1e-9]),
        ("seed", [-1, 2**31]),
        ("workers", [-1]),
        ("samples", [0]),
        ("encoder", [None, 3]),
        ("layers", [[1, 2], 5]),
        ("freeze_encoder", ["perhaps"]),
        ("validation_from", ["val", "valid"]),
        ("padding", ["valid"]),
        ("pixels", ["imagenet"]),
        ("schedule", ["cosine"]),
        ("precision", ["fp16", "int8"]),
        ("class_weights", [3, {"pet": "heavy"}, {"pet": -1}]),
    ],
)
def test_a_value_that_cannot_work_is_named_with_its_setting(setting: str, values: list[Any]) -> None:
    for value in values:
        assert refused(**{setting: value}).startswith(f"{setting}: ")


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = refused(epochs=0, loss="dise", sead=1)
    assert "epochs: " in text and "'dice'" in text and "'seed'" in text


@pytest.mark.parametrize(
    ("setting", "lowest", "highest"),
    [
        ("size", 32, 4096),
        ("seed", 0, 2**31 - 1),
        ("epochs", 1, 10**6),
        ("workers", 0, 64),
        ("weight_decay", 0, 1),
    ],
)
def test_the_ends_of_a_range_are_in_it(setting: str, lowest: float, highest: float) -> None:
    for value in (lowest, highest):
        assert getattr(Config.from_preset(**{setting: value}), setting) == value


def test_settings_are_frozen() -> None:
    config = Config.from_preset()
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]
    assert config.epochs == Config.from_preset().epochs


# --- class weights


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("none", "none"),
        ("balanced", "balanced"),
        ("tempered", "tempered"),
        ("pet=2", {"pet": 2.0}),
        ("pet=2,border=1", {"pet": 2.0, "border": 1.0}),
        (" pet = 2 , border = .5 ", {"pet": 2.0, "border": 0.5}),
        ("traffic light=1e-1,sky=0", {"traffic light": 0.1, "sky": 0.0}),
        ({"pet": 2, "border": 1}, {"pet": 2.0, "border": 1.0}),
    ],
)
def test_class_weights_are_read(text: str | dict[str, float], weights: str | dict[str, float]) -> None:
    assert Config.from_preset(class_weights=text).class_weights == weights


@pytest.mark.parametrize(
    "text",
    ["", "balance", "pet", "pet=", "pet=heavy", "pet=2,", "pet:2", "pet=2;border=1", "pet=-1", "pet=nan", "pet=inf",
     "pet=2,pet=3"],
)  # fmt: skip
def test_class_weights_that_cannot_be_read_are_shown(text: str) -> None:
    message = refused(class_weights=text)
    assert message.startswith("class_weights: ") and f"(got '{text}')" in message


@pytest.mark.parametrize(
    ("size", "scale", "whole"),
    [
        (192, 1.25, 224),
        (384, 1.25, 480),
        (128, 1.25, 160),
        (160, 1.4, 224),
        (100, 1.0, 100),
        (100, 1.2, 100),
        (50, 1.1, 50),
    ],
)
def test_whole_images_have_a_multiple_of_32_and_never_less_than_crops(size: int, scale: float, whole: int) -> None:
    assert Config.from_preset(size=size, predict_scale=scale).eval_size == whole
