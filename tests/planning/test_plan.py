"""plan.yaml: written with reasons, edited by people, read by a training."""

import html
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import pixelwise as pw
from pixelwise.data.joined_spec import with_roots
from pixelwise.data.spec import DatasetSpec
from pixelwise.planning.plan import Plan
from pixelwise.planning.rules import make_plan
from pixelwise.runs.split_file import data_roots
from pixelwise.runtime.yaml_text import yaml_text
from tests.planning.helpers import make_report


def test_a_plan_reads_back_and_can_be_edited(tmp_path: Path) -> None:
    given = {"loss": {"name": "focal", "gamma": 3.0}}
    plan = make_plan(make_report(names=("background", "it's: a #cat, [no]")), given, timed=False)
    path = tmp_path / "plan.yaml"
    plan.write(path)
    again = Plan.read(path)
    assert again.data == plan.data and again.settings == plan.settings
    text = path.read_text()
    assert yaml.safe_load(text)["format"] == 2
    for name, value in plan.settings.items():
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{name}:"))
        assert plan.reasons[name] in line and yaml.safe_load(line) == {name: value}
    path.write_text(text.replace("values: ['7']", "values: [7, 9]"))
    edited = Plan.read(path).data
    assert isinstance(edited, DatasetSpec) and list(edited.classes.values())[1].values == ("7", "9")


def test_a_plan_can_have_a_height_and_a_width(tmp_path: Path) -> None:
    square = make_plan(make_report(), {"image_size": 192}, timed=False)
    plan = make_plan(make_report(), {"image_size": "144x256"}, timed=False)
    assert plan.settings["batch_size"] == square.settings["batch_size"], "the images have as many pixels"
    path = tmp_path / "plan.yaml"
    plan.write(path)
    assert "  image_size: 144x256  " in path.read_text()
    again = Plan.read(path)
    assert again.settings == plan.settings
    config = pw.Config.from_preset(base=again.settings)
    assert config.image_size == (144, 256) and config.eval_size == (160, 320)


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("image_size:", "  image_size: 7", ": image_size: "),
        ("epochs:", "  epochs: many", ": epochs: "),
        ("image_size:", "  image_sise: 128", "unknown setting 'image_sise' (did you mean 'image_size'?)"),
        ("image_size:", "  size: 128", "size is now image_size"),
        ("loss:", "  loss: {name: focal, gama: 3}", "has no parameter 'gama'"),
        ("format: 2", "format: 3", ": format: "),
        ("settings:", "settings:\n - 3", "cannot be read as a plan"),
        ("settings:", "setting:", "unknown setting 'setting' (did you mean 'settings'?)"),
        ("  kind:", "  kind: shapely", "data.kind"),
        ("data:", "data: [", "cannot be read as a plan"),
        ("epochs:", "  epochs: 2024-13-45", "cannot be read as a plan (month must be in 1..12"),  # 3.14 adds the month
        ("epochs:", "  epochs: " + "[" * 10_000, "cannot be read as a plan (nested too deeply)"),
    ],
)
def test_a_wrong_line_is_named(line: str, wrong: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    make_plan(make_report(), timed=False).write(path)
    lines = path.read_text().splitlines()
    replaced = [wrong if each.strip().startswith(line.strip()) else each for each in lines]
    assert replaced != lines
    path.write_text("\n".join(replaced))
    with pytest.raises(pw.ConfigError) as error:
        Plan.read(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text and "`" not in text


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(pw.ConfigError, match="no such plan"):
        Plan.read(tmp_path / "plan.yaml")


def test_a_plan_of_version_0_1_is_translated(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    plan = make_plan(make_report(), timed=False)
    plan.write(path)
    data = yaml.safe_load(path.read_text())["data"]
    old = {
        "size": 128,
        "freeze_encoder": True,
        "augment": "crop-unmirrored",
        "loss": "sigmoid_dice",
        "decoder": "light",
    }
    path.write_text(yaml.safe_dump({"data": data, "settings": old}))
    assert Plan.read(path).settings == {
        "image_size": 128,
        "encoder_training": "none",
        "augmentation": "crop-noflip",
        "loss": "bce_dice",
        "decoder": "fpn",
    }


@pytest.mark.integration
def test_a_training_uses_the_plan_and_given_settings_replace_it(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"image_size": 64, "epochs": 3, "batch_size": 4}
    settings |= {"encoder": "test_efficientnet", "encoder_weights": "none"}
    plan = Plan(DatasetSpec.of(pets), settings)
    run = pw.train(pets, tmp_path / "run", plan=plan, epochs=1, defaults=False)
    assert (run.config.image_size, run.config.epochs, run.config.batch_size) == (64, 1, 4)
    assert Plan.read(run.plan_file).settings == settings
    assert run.read_dataset_spec() == with_roots(DatasetSpec.of(pets), data_roots(pets))


def test_a_notebook_shows_the_settings_with_their_reasons() -> None:
    plan = make_plan(make_report(names=("background", "<b>cat")), {"loss": "focal"}, timed=False)
    shown = plan._repr_html_()
    assert "\n" not in shown and "<b>cat" not in shown and "class &lt;b&gt;cat" in shown
    for name, value in plan.settings.items():
        assert f">{name}<" in shown and html.escape(yaml_text(value)) in shown
        assert html.escape(plan.reasons[name])[:80] in shown
    assert "estimated time" not in shown
    assert "estimated time of the training: 2 min" in replace(plan, seconds=120.0)._repr_html_()


def test_a_notebook_shows_a_limited_number_of_classes() -> None:
    reasons = {f"class {index}": "why" for index in range(100)}
    shown = replace(make_plan(make_report(), {}, timed=False), reasons=reasons)._repr_html_()
    assert "class 59<" in shown and "class 60<" not in shown and "and 40 more classes" in shown
