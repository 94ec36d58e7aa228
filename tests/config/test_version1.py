"""Names of version 0.1: translated in files, refused with the new name elsewhere."""

from pathlib import Path
from typing import Any

import pytest

from pixelwise.config import Config, read_config
from pixelwise.config.version1 import RENAMED_SETTINGS, RENAMED_VALUES, translate
from pixelwise.errors import ConfigError

OLD_SETTINGS: dict[str, Any] = {
    "size": 64,
    "predict_scale": 1.5,
    "augment": "flip",
    "validation_from": "test",
    "validation_fraction": 0.25,
    "cache": False,
    "skip_bad": True,
    "layers": ["layer1", "layer2"],
    "padding": "same",
    "pixels": "unit",
    "schedule": "constant",
    "workers": 2,
    "samples": 3,
}
"""Every renamed setting with a value other than the default."""

OLD_VALUES = [(name, old, new) for name, values in RENAMED_VALUES.items() for old, new in values.items()]


def test_every_renamed_setting_is_tested() -> None:
    assert set(OLD_SETTINGS) == set(RENAMED_SETTINGS)
    assert set(RENAMED_SETTINGS.values()) <= set(Config.model_fields)
    assert not set(RENAMED_SETTINGS) & set(Config.model_fields)


@pytest.mark.parametrize("name", RENAMED_SETTINGS)
def test_an_old_setting_is_refused_with_its_new_name(name: str) -> None:
    for build in (Config, Config.from_preset, Config().replace):
        with pytest.raises(ConfigError) as error:
            build(**{name: OLD_SETTINGS[name]})
        assert str(error.value) == f"`{name}` is now `{RENAMED_SETTINGS[name]}`"


@pytest.mark.parametrize(("name", "old", "new"), OLD_VALUES)
def test_an_old_value_is_refused_with_the_new_one(name: str, old: str, new: str) -> None:
    old_setting: dict[str, Any] = {name: old}
    new_setting: dict[str, Any] = {name: new}
    with pytest.raises(ConfigError) as error:
        Config(**old_setting)
    assert str(error.value) == f"`{name}`: '{old}' is now '{new}'"
    assert getattr(Config(**new_setting), name) == new


def test_an_old_setting_with_an_old_value_names_both() -> None:
    with pytest.raises(ConfigError) as error:
        Config.from_preset(augment="crop-unmirrored")
    assert str(error.value) == "`augment` is now `augmentation`; `augment`: 'crop-unmirrored' is now 'crop-noflip'"


@pytest.mark.parametrize("name", RENAMED_SETTINGS)
def test_an_old_file_is_translated(name: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{name}: {str(OLD_SETTINGS[name]).lower()}\n")
    config, _ = read_config(path)
    value = OLD_SETTINGS[name]
    assert getattr(config, RENAMED_SETTINGS[name]) == (tuple(value) if isinstance(value, list) else value)
    assert value != Config.model_fields[RENAMED_SETTINGS[name]].default


@pytest.mark.parametrize(("name", "old", "new"), OLD_VALUES)
def test_old_values_in_a_file_are_translated(name: str, old: str, new: str, tmp_path: Path) -> None:
    old_names = {new_name: old_name for old_name, new_name in RENAMED_SETTINGS.items()}
    path = tmp_path / "config.yaml"
    path.write_text(f"preset: tutorial\n{old_names.get(name, name)}: {old}\n")
    config, preset = read_config(path)
    assert getattr(config, name) == new and preset == "tutorial"


@pytest.mark.parametrize(("frozen", "training"), [("true", "none"), ("false", "auto")])
def test_freeze_encoder_in_an_old_file(frozen: str, training: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"freeze_encoder: {frozen}\nencoder_weights: /weights/a.safetensors\n")
    config, _ = read_config(path)
    assert config.encoder_training == training
    assert config.encoder_weights == {"name": "file", "path": "/weights/a.safetensors"}


def test_new_names_stay() -> None:
    settings = Config().model_dump()
    assert translate(settings) == settings
