"""The search space: which settings are searched, with which values, and how values become settings."""

import pytest

from pixelwise.config import Config
from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.errors import ConfigError
from pixelwise.tuning.space import SPACE, Choice, Range, search_space, values_of, with_values

CONFIG = Config(lr=0.01, image_size=128, encoder_weights="none")


def test_the_values_surround_the_settings_before_the_search() -> None:
    space = search_space(CONFIG, MULTICLASS)
    assert list(space) == list(SPACE)
    assert space["lr"] == Range(0.001, 0.05, log=True)
    assert space["image_size"] == Choice((96, 128, 160))
    assert space["loss"] == Choice(("cross_entropy", "cross_entropy_dice", "focal"))
    assert values_of(CONFIG, space) == {
        "lr": 0.01, "encoder_lr_factor": 0.1, "weight_decay": 0.01, "image_size": 128, "loss": "cross_entropy",
        "class_weights": "none", "augmentation.min_scale": 0.6, "augmentation.color": 0.3,
    }  # fmt: skip


def test_a_height_and_a_width_are_searched_as_text() -> None:
    """The database of a search stores numbers and text only."""
    config = CONFIG.replace(image_size="96x128")
    space = search_space(config, MULTICLASS)
    assert space["image_size"] == Choice(("64x96", "96x128", "128x160"))
    values = values_of(config, space)
    assert values["image_size"] == "96x128"
    assert with_values(config, values) == config
    assert with_values(config, {"image_size": "64x96"}).image_size == (64, 96)


def test_trial_zero_has_the_settings_before_the_search() -> None:
    space = search_space(CONFIG, MULTICLASS)
    assert with_values(CONFIG, values_of(CONFIG, space)) == CONFIG


def test_a_range_includes_the_value_before_the_search() -> None:
    config = CONFIG.replace(
        weight_decay=0, encoder_lr_factor=2, augmentation={"name": "crop", "min_scale": 0.1, "color": 0.8}
    )
    space = search_space(config, MULTICLASS)
    assert space["weight_decay"] == Range(0, 0.3), "0 has no logarithm"
    assert space["encoder_lr_factor"] == Range(0.02, 2, log=True)
    assert space["augmentation.min_scale"] == Range(0.1, 1)
    assert space["augmentation.color"] == Range(0, 0.8)
    assert with_values(config, values_of(config, space)) == config
    assert Choice(("a", "b")).including("c") == Choice(("c", "a", "b"))


def test_settings_without_an_effect_are_left_out() -> None:
    frozen = Config(encoder_training="none", augmentation="flip", loss={"name": "focal", "gamma": 3})
    assert list(search_space(frozen, MULTICLASS)) == ["lr", "weight_decay", "image_size", "class_weights"]
    vit = Config(encoder="vit_tiny_patch16_224", encoder_weights="none", image_size=224)
    assert "image_size" not in search_space(vit, MULTICLASS)
    losses = search_space(Config(loss="bce"), MULTILABEL)["loss"]
    assert isinstance(losses, Choice) and {"bce", "bce_dice"} <= set(losses.values) and losses.values[0] == "bce"
    assert "cross_entropy" not in losses.values


def test_given_settings_are_not_searched() -> None:
    space = search_space(CONFIG, MULTICLASS, fixed={"lr", "augmentation", "epochs"})
    assert list(space) == ["encoder_lr_factor", "weight_decay", "image_size", "loss", "class_weights"]
    assert list(search_space(CONFIG, MULTICLASS, names=["weight_decay", "lr"], fixed={"lr"})) == ["weight_decay", "lr"]


@pytest.mark.parametrize(
    ("names", "fixed", "message"),
    [
        (["lrr"], (), "`search`: unknown setting 'lrr'.*lr"),
        (["augmentation.color"], (), "'augmentation.color' has no effect"),
        (None, {name.partition(".")[0] for name in SPACE}, "nothing to search"),
    ],
)
def test_refused(names: list[str] | None, fixed: set[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search_space(CONFIG.replace(augmentation="none"), MULTICLASS, names, fixed)


def test_parameters_of_a_component_are_combined() -> None:
    config = with_values(
        CONFIG, {"augmentation.color": 0.5, "augmentation.min_scale": 0.25, "loss": "focal", "image_size": 96}
    )
    assert config.augmentation == {"name": "crop", "min_scale": 0.25, "color": 0.5}
    assert (config.loss, config.image_size) == ("focal", 96)
