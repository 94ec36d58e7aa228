"""Several data sets on the command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.cli.helpers import FAST, RunCommand, assert_one_line_error
from tests.data.joined import draw_shapes


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Draw two data sets with masks of 0 and 255 and without class names."""
    squares, discs = (draw_shapes(tmp_path / f"{name}s", [name], count=8) for name in ("square", "disc"))
    for folder in (squares, discs):
        (folder / "classes.txt").unlink()
        for path in (folder / "masks").iterdir():
            with Image.open(path) as image:
                mask = np.asarray(image) * np.uint8(255)
            Image.fromarray(mask).save(path)
    return squares, discs


LABELS = ["--label-map", "0=background", "squares:255=square", "discs:255=disc"]


def test_data_sets_are_trained_together_evaluated_and_resumed(
    folders: tuple[Path, Path], run_cli: RunCommand, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    result = run_cli("train", *folders, *LABELS, *FAST, "--preset", "default", "--out", run)
    assert result.code == 0, result.err
    assert "discs: has no 'square': a pixel of its 'background' may be 'square'" in result.out
    spec = yaml.safe_load((run / "data.yaml").read_text(encoding="utf-8"))
    assert {name: list(each["classes"]) for name, each in spec["sets"].items()} == {
        "squares": ["background", "square"],
        "discs": ["background", "disc"],
    }
    part = run_cli("evaluate", run, folders[1], "--split", "train", "--out", tmp_path / "part.json")
    assert part.code == 0 and "square" in part.out, part.err
    both = run_cli("evaluate", run, *folders, "--split", "train", "--out", tmp_path / "both.json")
    assert both.code == 0, both.err
    again = run_cli("train", *folders, "--out", run, "--resume", "--epochs", "2")
    assert again.code == 0, again.err
    assert len((run / "metrics.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_the_plan_is_made_from_all_data_sets(
    folders: tuple[Path, Path], run_cli: RunCommand, train_call: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)
    result = run_cli("train", *folders, *LABELS)
    assert result.err == "pixelwise: error: enough\n"
    assert train_call["data"].classes == ("background", "square", "disc") and len(train_call["data"].train) == 16
    assert "discs: has no 'square': a pixel of its 'background' may be 'square'" in result.out
    assert "14 training images" in train_call["plan"].reasons["epochs"]
    assert any("disc" in row and " 255 " in row for row in result.out.splitlines() if "│" in row)


def test_an_error_names_its_data_set(folders: tuple[Path, Path], run_cli: RunCommand, tmp_path: Path) -> None:
    command: list[str | Path] = ["train", *folders, "--preset", "default", "--out", tmp_path / "run"]
    assert_one_line_error(run_cli(*command, "--label-map", "0=background", "discs:255=disc"), folders[0])
    assert_one_line_error(run_cli(*command, "--ignore-values", "discs:7"), folders[1], "7")
    for path in (folders[1] / "images").iterdir():
        path.unlink()
    assert_one_line_error(run_cli(*command, *LABELS), folders[1])


def test_inspect_is_for_one_data_set(folders: tuple[Path, Path], run_cli: RunCommand) -> None:
    result = run_cli("inspect", *folders)
    assert_one_line_error(result, f"{folders[1]}: inspect reports on one data set", f"train {folders[0]} {folders[1]}")


def test_a_plan_is_made_for_joined_data_sets(folders: tuple[Path, Path], run_cli: RunCommand, tmp_path: Path) -> None:
    result = run_cli("train", *folders, *LABELS, *FAST, "--out", tmp_path / "run")
    assert result.code == 0, result.err
    assert "squares: has no 'disc': a pixel of its 'background' may be 'disc'" in result.out
    assert "time: about" in result.out
