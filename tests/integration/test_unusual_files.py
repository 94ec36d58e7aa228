"""Unusual but valid files train: names in any script, odd sizes, links; and their names are printed safely."""

import html
import io
import json
import os
import sys
import unicodedata
from pathlib import Path

import pytest
import torch

from pixelwise.cli import main
from pixelwise.data.task import MULTICLASS
from pixelwise.metrics.confusion import Metrics
from pixelwise.reporting.console import print_metrics
from tests.integration.helpers import (
    FAST,
    CommandResult,
    RunCommand,
    add_pair,
    assert_one_line_error,
    snapshot,
    write_data_set,
)

pytestmark = pytest.mark.integration

NAMES = [
    "UPPER.JPG",
    "Mixed.JpEg",
    "two  spaces and one at the end .png",
    "a narrow space\u202fas on a Mac.png",
    "100 % [bold] {x} $HOME & 'quotes' \"two\" <b>.png",
    "-starts-with-a-dash.png",
    "猫と犬.png",
    "صورة كلب.png",
    "😀 👩‍👩‍👧.png",
    unicodedata.normalize("NFD", "Äpfel é ñ.png"),
    "кошка и собака.WEBP",
    "two\nlines.png",
    "tab\tand bell\a.png",
    "\x1b]0;a title\a\x1b[2J.png",
    "n" * 240 + ".png",
    os.fsdecode(b"caf\xe9 as old archives have it.png"),
]


def as_text(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def as_printed(path: Path) -> str:
    """Return a path as in an error message: on one line, with codes in place of control characters."""
    text = as_text(path)
    return "".join(rf"\x{ord(each):02x}" if each in "\t\a\x1b\n" else each for each in text)


def test_names_in_any_script_train(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    for name in NAMES:
        add_pair(data, name)
    before = snapshot(data)
    inspected = run_cli("inspect", data, "--out", tmp_path / "report")
    count = 8 + len(NAMES)
    assert inspected.code == 0 and f"{count} images and {count} masks" in inspected.out
    assert run_cli("train", data, "--out", tmp_path / "run", *FAST).code == 0
    assert snapshot(data) == before


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_the_error_names_a_damaged_file_of_any_name(name: str, run_cli: RunCommand, tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "data", 2)
    add_pair(data, name)
    (data / "images" / name).write_bytes(b"damaged")
    result = run_cli("train", data, "--out", tmp_path / "run", *FAST)
    assert_one_line_error(result, as_printed(data / "images" / name))


def test_reports_name_damaged_files_of_any_name(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    bad = [data / "images" / name for name in NAMES]
    for path in bad:
        add_pair(data, path.name)
        path.write_bytes(b"damaged")
    inspected = run_cli("inspect", data, "--out", tmp_path / "report")
    assert inspected.code == 1 and not set("\t\a\x1b") & set(inspected.out + inspected.err)
    issues = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["problems"]
    assert {issue["file"] for issue in issues} == {str(path) for path in bad}
    page = html.unescape((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert all(as_text(path) in page for path in bad)


def test_a_terminal_that_shows_ascii_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time_limit: None) -> None:
    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: None)
    stderr = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stderr", stderr)
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(tmp_path / "猫")])
    assert isinstance(stderr.buffer, io.BytesIO)
    printed = stderr.buffer.getvalue().decode("ascii")
    assert_one_line_error(CommandResult(ended.value.code, "", printed), r"\u732b: ")


@pytest.mark.parametrize("folder", ["ordner mit ä", "资料 夹", "data.v2 [old]", "two\nlines"])
def test_reports_of_folders_in_any_script(
    folder: str, run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data_set(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    assert run_cli("inspect", data).code == 0
    (report,) = tmp_path.glob("*/report.html")
    assert (report.parent / "plan.yaml").is_file()


def test_a_folder_with_an_unusual_name_trains_by_its_plan(
    run_cli: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_data_set(tmp_path / "data ä.v2 [old]\n资料 夹")
    monkeypatch.chdir(tmp_path)
    assert run_cli("inspect", data).code == 0
    (plan,) = tmp_path.glob("*/plan.yaml")
    assert run_cli("train", data, "--plan", plan, *FAST).code == 0
    assert len(list(tmp_path.glob("runs/*/model.safetensors"))) == 1


def test_odd_sizes_train(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    sizes = [(10, 20_000), (20_000, 10), (1, 1), (1, 50), (2, 2)]
    for number, size in enumerate(sizes):
        add_pair(data, f"odd {number}.png", size=size)
    before = snapshot(data)
    inspected = run_cli("inspect", data, "--out", tmp_path / "report")
    assert inspected.code == 0, inspected
    plan = tmp_path / "report" / "plan.yaml"
    assert run_cli("train", data, "--plan", plan, "--out", tmp_path / "run", *FAST).code == 0
    assert snapshot(data) == before


def test_a_folder_named_like_an_image(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    bad = data / "images" / "no 3.png"
    bad.unlink()
    bad.mkdir()
    before = snapshot(data)
    mask = data / "masks" / "no 3.png"
    assert_one_line_error(run_cli("train", data, "--out", tmp_path / "run", *FAST), mask)
    assert run_cli("inspect", data, "--out", tmp_path / "report").code == 1
    assert snapshot(data) == before


def test_links_in_a_circle(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    (data / "images" / "up").symlink_to(data)
    (data / "round").symlink_to(data / "round")
    (data / "masks" / "again").symlink_to(data / "masks")
    before = snapshot(data)
    inspected = run_cli("inspect", data, "--out", tmp_path / "report")
    assert (inspected.code, inspected.err) == (0, "")
    assert "8 images and 8 masks" in inspected.out
    assert json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["problems"] == []
    assert snapshot(data) == before


def test_class_names_with_markup_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[bold]cat", "dog [/]", "[/red]"]
    print_metrics(Metrics.from_confusion(torch.eye(3, dtype=torch.int64), names, MULTICLASS, 3, "64"), "test")
    out = capsys.readouterr().out
    assert all(name in out for name in names)
