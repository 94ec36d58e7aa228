"""`Config`: defaults that depend on other settings, components with parameters, one clear line for wrong values."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from torch import Tensor

from pixelwise.config import Config, registry_of
from pixelwise.data.augmentations import AUGMENTATIONS
from pixelwise.errors import ConfigError
from pixelwise.losses import LOSSES
from pixelwise.models.decoders import DECODERS
from pixelwise.registry import Params, Registry


def error_of(**settings: Any) -> str:
    """Return the one-line error of these settings. The constructor and `from_preset` raise the same."""
    with pytest.raises(ConfigError) as error:
        Config.from_preset(**settings)
    text = str(error.value)
    assert "\n" not in text
    if "preset" not in settings:
        with pytest.raises(ConfigError) as other:
            Config(**settings)
        assert str(other.value) == text
    return text


# --- defaults that depend on other settings


@pytest.mark.parametrize(
    ("encoder", "weights"), [("tf_efficientnet_lite0", "bundled"), ("resnet18", "hub"), ("mobilenetv2_100", "hub")]
)
def test_encoder_weights_default_to_those_of_the_encoder(encoder: str, weights: str) -> None:
    assert Config(encoder=encoder).encoder_weights == weights
    assert Config(encoder=encoder, encoder_weights=None).encoder_weights == weights
    assert Config(encoder=encoder, encoder_weights="none").encoder_weights == "none"


def test_a_path_is_a_weights_file() -> None:
    config = Config(encoder_weights="~/ä ü.safetensors")
    assert config.encoder_weights == {"name": "file", "path": "~/ä ü.safetensors"}
    assert Config(encoder_weights=config.encoder_weights) == config


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        ({}, "cpu", ("decoder-first", True, True)),
        ({}, "cuda", ("all", False, False)),
        ({}, "mps", ("all", False, False)),
        ({"encoder_training": "all"}, "cpu", ("all", True, True)),
        ({"encoder_training": "decoder-first"}, "cuda", ("decoder-first", False, False)),
        ({"freeze_depthwise": False}, "cpu", ("decoder-first", False, True)),
        ({"freeze_batchnorm": True}, "cuda", ("all", False, True)),
        ({"encoder_weights": "none"}, "cpu", ("all", False, False)),
        ({"encoder_weights": "none", "freeze_depthwise": True}, "cpu", ("all", True, False)),
    ],
)
def test_what_of_the_encoder_trains(settings: dict[str, Any], device: str, expected: tuple[str, bool, bool]) -> None:
    training = Config(**settings).resolve_encoder_training(device)
    assert (training.mode, training.freeze_depthwise, training.freeze_batchnorm) == expected


def test_freeze_encoder_is_short_for_encoder_training() -> None:
    shorthand: dict[str, Any] = {"freeze_encoder": True}
    assert Config(**shorthand).encoder_training == "none"
    assert Config(**{**shorthand, "freeze_encoder": False}) == Config()
    assert Config(**shorthand).resolve_encoder_training("cuda").mode == "none"
    assert error_of(freeze_encoder=True, encoder_training="all") == (
        "`freeze_encoder`: True contradicts `encoder_training` all; give one of them"
    )
    assert error_of(freeze_encoder="perhaps").startswith("`freeze_encoder`: ")


@pytest.mark.parametrize(
    ("image_size", "scale", "expected"),
    [
        (192, 1.25, 224),
        (384, 1.25, 480),
        (128, 1.25, 160),
        (160, 1.4, 224),
        (100, 1.0, 100),
        (100, 1.2, 100),
        (50, 1.1, 50),
        ("288x384", 1.25, (352, 480)),
        ("40x160", 1.25, (40, 192)),
        ("288x384", 1.0, (288, 384)),
    ],
)
def test_the_evaluation_size_is_a_multiple_of_32_and_at_least_the_image_size(
    image_size: Any, scale: float, expected: int | tuple[int, int]
) -> None:
    assert Config(image_size=image_size, eval_scale=scale).eval_size == expected


def test_windows_are_square() -> None:
    assert error_of(view="tiles", image_size="64x96") == "`image_size` 64x96 needs `view` whole; windows are square"


def test_settings_are_frozen_and_replace_checks_them_again() -> None:
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3
    assert config.replace(epochs=3, loss={"name": "focal", "gamma": 2}) == Config(epochs=3, loss="focal")
    with pytest.raises(ConfigError, match="`epochs`"):
        config.replace(epochs=0)
    assert config == Config()


# --- components


@pytest.mark.parametrize(
    ("setting", "wrong", "meant", "choices"),
    [
        ("loss", "cross_entropi", "cross_entropy", LOSSES),
        ("decoder", "pix2px", "pix2pix", DECODERS),
        ("augmentation", "flips", "flip", AUGMENTATIONS),
    ],
)
def test_an_unknown_component_lists_the_choices(setting: str, wrong: str, meant: str, choices: Registry[Any]) -> None:
    text = error_of(**{setting: wrong})
    assert f"unknown {setting} '{wrong}' (did you mean '{meant}'?); choose from: {', '.join(choices)}" in text
    assert text.startswith(f"`{setting}`: ")
    assert registry_of(setting) is choices
    names: list[str] = list(choices)
    for name in names:
        settings: dict[str, Any] = {setting: name}
        assert getattr(Config(**settings), setting) == name


def test_parameters_are_checked_and_defaults_left_out() -> None:
    assert Config(loss={"name": "focal", "gamma": "3"}).loss == {"name": "focal", "gamma": 3.0}
    assert Config(loss={"name": "focal"}).loss == "focal"
    assert Config(augmentation={"name": "flip", "probability": 0.25}).augmentation == {
        "name": "flip",
        "probability": 0.25,
    }
    assert "loss 'focal' has no parameter 'gama'; it has gamma" in error_of(loss={"name": "focal", "gama": 3})
    assert "loss 'focal': gamma: " in error_of(loss={"name": "focal", "gamma": -1})
    assert error_of(loss={"name": "focal", "gamma": -1}).endswith("greater than or equal to 0 (got -1)")
    assert "a loss needs a name" in error_of(loss={"gamma": 3})
    assert error_of(loss=3).startswith("`loss`: must be a name, or a mapping")


@pytest.fixture
def new_loss() -> Iterator[str]:
    class NewParams(Params):
        scale: float = 1.0

    def new(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return logits.sum() * scale

    LOSSES.register("new", new, params=NewParams, tasks=("multiclass",))
    yield "new"
    LOSSES.unregister("new")


def test_a_component_that_is_registered_later_is_a_choice(new_loss: str) -> None:
    assert list(LOSSES)[-1] == new_loss
    assert Config(loss={"name": new_loss, "scale": 2}).loss == {"name": new_loss, "scale": 2.0}
    assert new_loss in error_of(loss="newer")


def test_settings_without_components_have_no_registry() -> None:
    assert registry_of("epochs") is registry_of("device") is None


# --- settings that cannot work


def test_an_unknown_setting_gets_the_nearest_one() -> None:
    text = error_of(batchsize=3)
    assert text.startswith("unknown setting 'batchsize' (did you mean 'batch_size'?); choose from: ")
    assert all(name in text for name in Config.model_fields)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("image_size", [31, 0, -128, 4097, 128.5, "large", None, "31x64", "64x4097", "64x", [64, 64, 64]]),
        ("eval_scale", [0.9, 4.1, float("nan")]),
        ("val_fraction", [0, 1, -0.1, 1.5, "some", float("nan")]),
        ("epochs", [0, -1, 2.5, "many"]),
        ("batch_size", [0, -4]),
        ("lr", [0, -1e-3, "fast", float("nan")]),
        ("encoder_lr_factor", [0, -1]),
        ("weight_decay", [-1e-9]),
        ("seed", [-1, 2**31]),
        ("num_workers", [-1]),
        ("sample_predictions", [0]),
        ("encoder", [None, 3]),
        ("encoder_layers", [[1, 2], 5]),
        ("encoder_training", ["some", True]),
        ("freeze_depthwise", ["perhaps"]),
        ("val_from", ["val", "valid"]),
        ("encoder_padding", ["valid"]),
        ("normalization", ["imagenet"]),
        ("lr_schedule", ["cosine"]),
        ("precision", ["fp16", "int8"]),
        ("class_weights", [3, {"pet": "heavy"}, {"pet": -1}]),
    ],
)
def test_a_wrong_value_is_named_with_its_setting(setting: str, values: list[Any]) -> None:
    for value in values:
        assert error_of(**{setting: value}).startswith(f"`{setting}`: ")


def test_all_errors_are_reported_at_once() -> None:
    text = error_of(epochs=0, loss="dise", sead=1)
    assert "`epochs`: " in text and "'dice'" in text and "'seed'" in text


@pytest.mark.parametrize(
    ("setting", "lowest", "highest"),
    [
        ("image_size", 32, 4096),
        ("eval_scale", 1, 4),
        ("seed", 0, 2**31 - 1),
        ("epochs", 1, 10**6),
        ("num_workers", 0, 64),
        ("weight_decay", 0, 1),
    ],
)
def test_the_limits_of_a_range_are_allowed(setting: str, lowest: float, highest: float) -> None:
    for value in (lowest, highest):
        settings: dict[str, Any] = {setting: value}
        assert getattr(Config(**settings), setting) == value


# --- class weights


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("none", "none"),
        ("balanced", "balanced"),
        ("inverse_sqrt", "inverse_sqrt"),
        ("pet=2", {"pet": 2.0}),
        ("pet=2,border=1", {"pet": 2.0, "border": 1.0}),
        (" pet = 2 , border = .5 ", {"pet": 2.0, "border": 0.5}),
        ("traffic light=1e-1,sky=0", {"traffic light": 0.1, "sky": 0.0}),
        ({"pet": 2, "border": 1}, {"pet": 2.0, "border": 1.0}),
    ],
)
def test_class_weights_are_parsed(text: str | dict[str, float], weights: str | dict[str, float]) -> None:
    assert Config(class_weights=text).class_weights == weights


@pytest.mark.parametrize(
    "text",
    ["", "balance", "pet", "pet=", "pet=heavy", "pet=2,", "pet:2", "pet=2;border=1", "pet=-1", "pet=nan", "pet=inf",
     "pet=2,pet=3"],
)  # fmt: skip
def test_wrong_class_weights_are_shown(text: str) -> None:
    message = error_of(class_weights=text)
    assert message.startswith("`class_weights`: ") and f"(got '{text}')" in message


def test_a_model_is_built_with_the_settings(tmp_path: Path) -> None:
    build: Callable[..., Any] = Config(
        image_size=64, eval_scale=1.5, encoder="test_efficientnet", encoder_weights="none", encoder_padding="same",
        normalization="unit", decoder="pix2pix",
    ).create_model  # fmt: skip
    config = build(("cat", "dog")).config
    assert (config.classes, config.encoder, config.encoder_padding) == (("cat", "dog"), "test_efficientnet", "same")
    assert (config.mean, config.std) == ((0.0,) * 3, (255.0,) * 3)
    assert config.decoder == "pix2pix"


def test_images_at_the_start_are_smaller_and_whole() -> None:
    assert Config.from_preset(image_size=256, start_size="192x256").start_size == (192, 256)
    assert Config(image_size=256).smallest_size == 256
    assert Config(image_size=256, start_size=192).smallest_size == 192
    with pytest.raises(ConfigError, match="`start_size` 96x256 must not exceed `image_size` 128"):
        Config.from_preset(image_size=128, start_size="96x256")
    with pytest.raises(ConfigError, match="`start_size` 128 needs `view` whole"):
        Config(view="tiles", image_size=256, start_size=128)


def test_another_image_size_or_view_resets_settings_of_the_plan() -> None:
    plan = {"image_size": 256, "start_size": 192, "mosaic": 0.5}
    assert Config.from_preset(base=plan, epochs=3).start_size == 192
    assert Config.from_preset(base=plan, image_size=160).start_size is None
    assert Config.from_preset(base=plan, image_size=160, start_size=96).start_size == 96
    tiles = Config.from_preset(base=plan, view="tiles")
    assert (tiles.start_size, tiles.mosaic) == (None, 0)


def test_an_encoder_of_one_size_has_no_other_size_at_the_start() -> None:
    settings: dict[str, Any] = {
        "encoder": "vit_tiny_patch16_224",
        "encoder_weights": "none",
        "image_size": 224,
        "start_size": 160,
    }
    with pytest.raises(ConfigError, match="accepts images of one size, but `start_size` is 160 px"):
        Config.from_preset(**settings).create_model(["cat", "dog"])
