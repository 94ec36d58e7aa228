"""The data of `pixelwise train`: like that of a run that the training starts from, and the plan around its model."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.cli.train_source import load_new
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import ConfigError


@pytest.fixture(autouse=True)
def no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)


def draw(root: Path, values: tuple[int, ...]) -> Path:
    """Draw images and masks with stripes of these values. Nothing in the folder names the classes."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(8):
        mask = np.repeat(np.array(values, np.uint8), 24)[:, None].repeat(60, 1)
        image = generator.integers(0, 256, (*mask.shape, 3), np.uint8)
        Image.fromarray(image).save(root / "images" / f"{number}.png")
        Image.fromarray(np.roll(mask, number, axis=0)).save(root / "masks" / f"{number}.png")
    return root


def test_masks_with_the_values_of_the_run_have_its_classes(run_copy: Path, tmp_path: Path) -> None:
    folder = draw(tmp_path / "more", (1, 2, 3))  # the values of the run's masks
    source = load_new([str(folder)], None, None, LabelOptions(), {"start_from": str(run_copy), "epochs": 3})
    assert source.dataset.classes == ("pet", "background", "border")
    assert source.plan is not None
    settings, reasons = source.plan.settings, source.plan.reasons
    config = pw.Run.open(run_copy).config
    for name in ("encoder", "encoder_weights", "decoder", "image_size"):
        assert settings[name] == getattr(config, name) and reasons[name] == f"as in {run_copy}", name
    assert settings["epochs"] == 3 and reasons["epochs"].startswith("as given")


def test_other_masks_are_read_on_their_own(run_copy: Path, tmp_path: Path) -> None:
    names = tuple((str(value), name) for value, name in enumerate(("background", "pet", "cow")))
    folder = draw(tmp_path / "cows", (0, 1, 2))
    source = load_new([str(folder)], None, None, LabelOptions(label_map=names), {"start_from": str(run_copy)})
    assert source.dataset.classes == ("background", "pet", "cow")
    unnamed = load_new(
        [str(draw(tmp_path / "other", (0, 9)))], None, None, LabelOptions(), {"start_from": str(run_copy)}
    )
    assert set(unnamed.dataset.classes) != {"pet", "background", "border"}


def test_a_run_without_a_class_of_the_data_is_an_error_before_steps_are_timed(
    run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1 / 0)
    folder = draw(tmp_path / "other", (5, 9))
    with pytest.raises(ConfigError, match="name equal classes alike by `label_map`"):
        load_new([str(folder)], None, None, LabelOptions(), {"start_from": str(run_copy)})


def test_a_time_budget_needs_no_timing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> float:
        raise AssertionError("the steps are timed")

    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", fail)
    folder = draw(tmp_path / "data", (0, 255))
    source = load_new([str(folder)], None, None, LabelOptions(), {"time_budget": 60.0})
    assert source.plan is not None and source.plan.seconds is None
    # The size of the encoder depends on the measurement, and must be the same in several processes.
    monkeypatch.setenv("WORLD_SIZE", "2")
    load_new([str(folder)], None, None, LabelOptions(), {"time_budget": 900.0})
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(AssertionError, match="the steps are timed"):
        load_new([str(folder)], None, None, LabelOptions(), {"time_budget": 900.0})
    assert "epochs" not in source.plan.settings
