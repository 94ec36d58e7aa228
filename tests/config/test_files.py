"""Settings in YAML files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pixelwise.config import Config, config_to_yaml, read_config
from pixelwise.errors import ConfigError


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("default", {}),
        ("tutorial", {}),
        ("tutorial", {"encoder": "resnet18", "encoder_layers": ("layer1", "layer4.0"), "encoder_weights": "~/ä ü.st"}),
        ("default", {"lr": 1e-7, "weight_decay": 1e-300, "encoder_lr_factor": 0.1 + 0.2, "seed": 2**31 - 1}),
        ("default", {"class_weights": "pet=2,border=0.1,yes=1,1=3,null=0"}),
        ("default", {"class_weights": "balanced", "loss": {"name": "focal", "gamma": 3}, "device": "cuda:1"}),
        ("default", {"callbacks": ({"name": "early_stopping", "patience": 3},), "loggers": ("csv",)}),
    ],
    ids=["default", "tutorial", "encoder", "numbers", "weights", "parameters", "callbacks"],
)  # fmt: skip
def test_a_file_reads_back_to_equal_settings(preset: str, settings: dict[str, Any], tmp_path: Path) -> None:
    config = Config.from_preset(preset, **settings)
    path = tmp_path / "config.yaml"
    path.write_text(config_to_yaml(config, preset), encoding="utf-8")
    assert read_config(path) == (config, preset)
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(written) == ["format", "preset", *Config.model_fields], "every setting, in order"
    assert written["format"] == 2


def test_a_file_of_a_version_without_muon_has_adamw(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    written = yaml.safe_load(config_to_yaml(Config(epochs=3), "default"))
    del written["optimizer"]
    path.write_text(yaml.safe_dump(written), encoding="utf-8")
    assert read_config(path) == (Config(epochs=3, optimizer="adamw"), "default")


def test_a_file_without_a_preset_has_the_default_one(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(config_to_yaml(Config(epochs=3)), encoding="utf-8")
    assert "preset" not in yaml.safe_load(path.read_text(encoding="utf-8"))
    assert read_config(path) == (Config(epochs=3), "default")


def test_a_file_that_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("epochs: 3\nlr: 1e-4  # YAML 1.1 reads this as text\nclass_weights: pet=2, border=1\n")
    assert read_config(path)[0] == Config(epochs=3, lr=1e-4, class_weights={"pet": 2, "border": 1}, optimizer="adamw")


@pytest.mark.parametrize("text", ["288x384", "[288, 384]", "\n- 288\n- 384"])
def test_the_image_size_can_be_a_height_and_a_width(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"format: 2\nimage_size: {text}\n")
    config, _ = read_config(path)
    assert config.image_size == (288, 384)
    path.write_text(config_to_yaml(config))
    assert "\nimage_size: 288x384\n" in path.read_text() and read_config(path)[0] == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epoch: 3", "unknown setting 'epoch' (did you mean 'epochs'?)"),
        (b"epochs: 0", ": epochs: "),
        (b"loss: dise", "did you mean 'dice'?"),
        (b"preset: tutorail", "unknown preset 'tutorail'"),
        (b"preset: [3]", "unknown preset"),
        (b"format: 2\nsize: 64", ": size is now image_size"),
        (b"format: 3", "has format 3, which this version of pixelwise cannot read"),
        (b"epochs: [3", "cannot be read as settings"),
        (b"epochs: 3\n\tlr: 1", "cannot be read as settings"),
        (b"", "cannot be read as settings"),
        (b"- epochs", "cannot be read as settings"),
        (b"just text", "cannot be read as settings"),
        (b"1: 2", "cannot be read as settings"),
        (b"\xff\xfe\x00\xd8", "cannot be read as settings"),
        (b"device: '\x00'", "cannot be read as settings"),
        (b"epochs: 2024-13-45", "cannot be read as settings (month must be in 1..12"),  # 3.14 adds the month
        (b"epochs: " + b"9" * 5000, "cannot be read as settings"),
        (b"[" * 10_000, "cannot be read as settings (nested too deeply)"),
        (None, "cannot be read as settings"),
    ],
)
def test_a_broken_file_is_named_in_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text and "`" not in text
