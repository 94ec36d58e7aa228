"""`pixelwise inspect` always ends with a report, and names no command that fails."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.cli import main
from tests.data.analysis.helpers import noise, save_pair

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command without timing steps. Return its exit code, stdout and stderr."""
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)
    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: None)

    def run(*tokens: object) -> tuple[object, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            main([str(token) for token in tokens])
        captured = capsys.readouterr()
        return exit_info.value.code, captured.out, captured.err

    return run


def write_images(folder: Path, values: tuple[int, int] = (0, 1), split: str = "", count: int = 6) -> Path:
    for number in range(count):
        mask = np.full((20, 30), values[0], np.uint8)
        mask[: 5 + number] = values[1]
        save_pair(folder, f"{split}/p{number}" if split else f"p{number}", noise(number), mask)
    return folder


def test_ambiguous_masks_give_a_report_with_the_question_first(run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", (7, 255))
    code, out, err = run("inspect", data, "--out", tmp_path / "report")
    assert (code, err) == (1, "")
    assert "255 may be a class or pixels to ignore" in out and "set --label-map" in out and "`" not in out
    assert "no plan: " in out and "pixelwise train" not in out
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.json", "report.html"}
    stored = json.loads((tmp_path / "report/report.json").read_text())
    assert "255 may be a class" in stored["problems"][0]["what"] and stored["obstacle"]
    assert [entry["name"] for entry in stored["classes"]] == ["7", "255"]
    page = (tmp_path / "report/report.html").read_text()
    assert "Values in the masks" in page and page.count("<img ") == 12 and "plan.yaml" not in page
    assert run("inspect", data, "--out", tmp_path / "answered", "--label-map", "7=background", "255=thing")[0] == 0


def test_a_data_set_without_training_images_has_no_plan(run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", split="val")
    code, out, err = run("inspect", data, "--out", tmp_path / "report")
    assert (code, err) == (0, "")
    assert f"no plan: {data}: no 'train' split; splits with images: val" in out and "pixelwise train" not in out
    assert not (tmp_path / "report/plan.yaml").exists() and (tmp_path / "report/report.html").exists()
    code, out, err = run("train", data, "--out", tmp_path / "run")
    assert code == 2 and "no 'train' split; splits with images: val" in err and len(err.splitlines()) == 1


def test_damaged_files_are_listed_and_the_command_leaves_them_out(run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "my data")
    (data / "images/p0.png").write_bytes(b"damaged")
    (data / "masks/p1.png").write_bytes(b"")
    (data / "masks/p2.png").unlink()
    code, out, _ = run("inspect", data, "--out", tmp_path / "report")
    assert code == 1 and (tmp_path / "report/plan.yaml").exists()
    (command,) = [line.removeprefix("train:  ") for line in out.splitlines() if line.startswith("train:  ")]
    assert command == (f"pixelwise train '{data}' --plan {tmp_path / 'report/plan.yaml'} --skip-unreadable")
    flags = ["--epochs", "1", "--size", "32", "--encoder", "test_efficientnet", "--encoder-weights", "none"]
    words = shlex.split(command)[1:]
    assert run(*words, *flags, "--no-cache", "--out", tmp_path / "run")[0] == 1, "done, but for some files"
    assert (tmp_path / "run/model.safetensors").exists()


def test_every_damaged_image_is_listed(run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data")
    for path in (data / "images").iterdir():
        path.write_bytes(b"damaged")
    code, out, err = run("inspect", data, "--out", tmp_path / "report")
    assert (code, err) == (1, "") and "unreadable image: 6 files" in out and "no plan: " in out
    stored = json.loads((tmp_path / "report/report.json").read_text())
    assert stored["widths"] is None and len(stored["problems"]) == 7
    assert "No image can be read." in (tmp_path / "report/report.html").read_text()


@pytest.mark.parametrize("name", ["[/red]", "\\[/x]", "$x_$", "\x1b[2Jcat", "<script>alert(1)</script>"])
def test_class_names_are_printed_as_they_are(name: str, run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data")
    (data / "classes.txt").write_text(f"background\n{name}\n")
    code, out, err = run("inspect", data, "--out", tmp_path / "report")
    assert (code, err) == (0, "")
    assert name.replace("\x1b", "\\x1b") in out and "\x1b" not in out
    assert "<script>alert" not in (tmp_path / "report/report.html").read_text()


def test_columns_are_explained(run: Run, tmp_path: Path) -> None:
    out = run("inspect", write_images(tmp_path / "data"), "--out", tmp_path / "report")[1]
    assert all(f"\n  {column}: " in out for column in ("pixels", "images", "objects", "object size", "width"))


def test_a_question_about_the_files_gives_a_report_with_answers_that_work(run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "my data")
    for path in (data / "masks").iterdir():
        other = np.zeros((20, 30), np.uint8)
        other[:, 3 : 4 + int(path.stem[1:])] = 1
        (data / "lines").mkdir(exist_ok=True)
        Image.fromarray(other).save(data / "lines" / path.name)
    code, out, err = run("inspect", data, "--out", tmp_path / "report", "--unlabeled", "background")
    assert (code, err) == (1, "") and "both lines/ and masks/ have masks of the same images" in out
    assert "masks/ has 6 .png files (masks)" in out and "no plan: " in out
    stored = json.loads((tmp_path / "report/report.json").read_text())
    assert stored["photos"] == 6 and stored["widths"]["median"] == 30 and stored["classes"] == []
    assert stored["choices"] == [{"mask_files": "lines/*"}, {"mask_files": "masks/*"}]
    page = (tmp_path / "report/report.html").read_text()
    assert page.count("<img ") == 12 and "--mask-files" in page and "`" not in page.partition("</style>")[2]
    commands = [line.removeprefix("answer:") for line in out.splitlines() if line.startswith("answer:")]
    assert len(commands) == 2 and all(f"'{data}'" in command for command in commands)
    for number, command in enumerate(commands):
        code, out, err = run(*shlex.split(command)[1:], "--out", tmp_path / f"answer{number}")
        assert (code, err) == (0, "") and "6 train" in out
        assert f"mask_files: {('lines', 'masks')[number]}/*" in (tmp_path / f"answer{number}/plan.yaml").read_text()


def test_a_damaged_annotation_file_gives_a_report_on_the_images(run: Run, tmp_path: Path) -> None:
    data = write_images(tmp_path / "data")
    (data / "masks").rename(tmp_path / "masks")
    (data / "instances.json").write_text('{"images": [{"id": 1, "file_name": "p0.png"}], "annotations": [')
    code, out, err = run("inspect", data, "--out", tmp_path / "report")
    assert (code, err) == (1, "") and "instances.json" in out and "6 images" in out
    assert "Folders" in (tmp_path / "report/report.html").read_text()


@pytest.mark.parametrize("has_file", [False, True])
def test_a_folder_without_images_is_an_error(has_file: bool, run: Run, tmp_path: Path) -> None:
    if has_file:
        (tmp_path / "data").mkdir()
        (tmp_path / "data/notes.txt").write_text("nothing here")
    code, _, err = run("inspect", tmp_path / "data", "--out", tmp_path / "report")
    assert code == 2 and len(err.splitlines()) == 1 and not (tmp_path / "report").exists()
