"""What is printed before and after a training."""

import shlex
import time
from dataclasses import replace
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.reporting.training_text import (
    describe_best_epoch,
    describe_time,
    next_commands,
    print_run,
    print_start,
    resume_command,
)


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the clock to 12:00 on a Monday, in local time."""
    noon = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
    monkeypatch.setattr("pixelwise.reporting.training_text.time.time", lambda: noon)


@pytest.mark.usefixtures("at_noon")
class TestStart:
    def test_the_time_has_a_clock_time(self) -> None:
        assert describe_time(None) == ""
        assert describe_time(45) == "about 45 s, until 12:00; "
        assert describe_time(600) == "about 10 min, until 12:10; "
        assert describe_time(20 * 3600) == "about 20.0 h, until Tue 08:00; "

    @pytest.mark.parametrize(
        ("settings", "seconds", "done", "line"),
        [
            ({}, 600.0, 0, "time: about 10 min, until 12:10; 40 epochs"),
            ({}, None, 0, "time: 40 epochs"),
            ({}, 300.0, 12, "time: about 5 min, until 12:05; epochs 13 to 40"),
            ({"epochs": 1}, None, 0, "time: 1 epoch"),
            ({}, None, 39, "time: epoch 40"),
            ({"patience": 7}, None, 0, "time: 40 epochs, fewer if 7 bring no better validation mIoU"),
            ({"time_budget": 300}, 290.0, 0, "time: about 5 min, until 12:04; as many epochs as fit"),
        ],
    )
    def test_the_lines(
        self, settings: dict[str, float], seconds: float | None, done: int, line: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        config = pw.Config(encoder_weights="none", epochs=40).replace(**settings)
        print_start(Path("runs/my\npets"), config, seconds, done)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "run directory: runs/my\\x0apets"
        assert lines[1] == line
        assert lines[2].startswith("stop: Ctrl-C ends the training with the best model so far")


def test_the_end(tiny_run: pw.Run, pets: pw.DatasetIndex, capsys: pytest.CaptureFixture[str]) -> None:
    print_run(tiny_run)
    rows = tiny_run.read_metrics()
    best = max(rows, key=lambda row: row["val_miou"] or 0)
    out = capsys.readouterr().out
    assert f"best: epoch {best['epoch']:.0f} of {len(rows)}, validation mIoU {best['val_miou']:.3f}" in out
    assert f"{tiny_run.path}/model.safetensors" in out and "next:" not in out
    print_run(tiny_run, pets)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        f"next:   pixelwise evaluate {tiny_run.path}",
        f"        pixelwise predict {tiny_run.path} {pets.root}/images",
    ]


def test_an_miou_that_was_not_measured_is_left_out() -> None:
    rows: list[dict[str, float | None]] = [{"epoch": 1, "val_miou": None}, {"epoch": 2, "val_miou": None}]
    assert describe_best_epoch(rows) == "epoch 1 of 2"
    assert describe_best_epoch([*rows, {"epoch": 3, "val_miou": 0.0}]) == "epoch 3 of 3, validation mIoU 0.000"


def test_the_end_without_a_measured_miou(
    tiny_run: pw.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"val_miou": None} for row in tiny_run.read_metrics()]
    monkeypatch.setattr(pw.Run, "read_metrics", lambda run: rows)
    print_run(tiny_run)
    assert capsys.readouterr().out.startswith(f"best: epoch 1 of {len(rows)} (trained ")


def test_commands_are_quoted_for_the_shell(pets: pw.DatasetIndex) -> None:
    run, images = Path("runs/my pets; rm -rf x"), Path("data/it's/1.jpg")
    data = replace(pets, train=(pw.Record(images, None),), val=(), test=())
    evaluate, predict = next_commands(run, data)
    assert shlex.split(evaluate) == ["pixelwise", "evaluate", str(run)]
    assert shlex.split(predict) == ["pixelwise", "predict", str(run), "data/it's"]
    assert shlex.split(resume_command(run, ["--allow-outside"])) == [
        "pixelwise", "train", "--resume", str(run), "--allow-outside",
    ]  # fmt: skip
    assert resume_command(Path("a"), processes=2) == "torchrun --nproc-per-node 2 -m pixelwise train --resume a"
