"""The list of runs: their data, scores, sizes and times, read from the files of a run directory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.runs.listing import list_runs
from pixelwise.runs.spread import Spread


def make_run(path: Path, val_miou: tuple[float, ...] = (0.5, 0.7, 0.6), seconds: float = 90, started: int = 0) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("format: 2\nencoder: resnet18\nimage_size: 96\n")
    (path / "data.yaml").write_text("root: /data/leaves\n")
    rows = [f"{i},{seconds * i / len(val_miou)},1,{value}" for i, value in enumerate(val_miou, start=1)]
    (path / "metrics.csv").write_text("\n".join(["epoch,seconds,train_seconds,val_miou", *rows]) + "\n")
    (path / "model.safetensors").write_bytes(bytes(3 * 2**19))
    os.utime(path / "data.yaml", (started, started))
    return path


def test_runs_are_listed_from_the_oldest_to_the_newest(tmp_path: Path) -> None:
    make_run(tmp_path / "new", started=2000)
    make_run(tmp_path / "deep" / "er" / "old", started=1000)
    (tmp_path / "no-run").mkdir()
    old, new = list_runs(tmp_path)
    assert (old.path.name, new.path.name) == ("old", "new")
    assert (new.kind, new.data, new.encoder, new.image_size) == ("run", "/data/leaves", "resnet18", 96)
    assert (new.epochs, new.best_epoch, new.val_miou, new.val_sd) == (3, 2, 0.7, None)
    assert (new.minutes, new.model_mib, new.test_miou) == (1.5, 1.5, None)


def test_the_minutes_of_a_run_of_version_0_1_are_those_of_its_steps(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "metrics.csv").write_text("epoch,train_seconds,val_miou\n1,120,0.5\n")
    assert [summary.minutes for summary in list_runs(tmp_path)] == [2]


def test_the_image_size_can_be_a_height_and_a_width(tmp_path: Path) -> None:
    config = make_run(tmp_path / "run") / "config.yaml"
    config.write_text(config.read_text().replace("image_size: 96", "image_size: 96x128"))
    (summary,) = list_runs(tmp_path)
    assert not summary.fault and str(summary.image_size) == "96x128"


def test_the_newest_test_evaluation_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for number, (name, miou) in enumerate({"evaluation-test-2.json": 0.8, "evaluation-test.json": 0.6}.items()):
        (run / name).write_text(json.dumps({"miou": miou}))
        os.utime(run / name, (number, number))
    (run / "evaluation-train.json").write_text(json.dumps({"miou": 0.9}))
    assert [summary.test_miou for summary in list_runs(run)] == [0.6]


def test_a_group_is_one_entry(tmp_path: Path) -> None:
    group = make_run(tmp_path / "cells")
    for name in ("metrics.csv", "model.safetensors"):
        (group / name).unlink()
    members = [{"name": f"fold-{i}", "metrics": {"miou": miou}} for i, miou in ((1, 0.7), (2, 0.8))]
    (group / "group.json").write_text(json.dumps({"kind": "folds", "members": members}))
    for member in members:
        make_run(group / str(member["name"]))
    (summary,) = list_runs(tmp_path)
    assert summary.kind == "2 folds" and summary.best_epoch is None
    assert summary.val_miou == pytest.approx(0.75) and summary.val_sd == pytest.approx(0.0707, abs=1e-4)
    assert (summary.minutes, summary.model_mib, summary.epochs) == (3, 3, 6)


def test_joined_data_sets_are_all_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "data.yaml").write_text("sets:\n  a: {root: /data/a}\n  b: {root: /data/b}\n")
    assert [summary.data for summary in list_runs(run)] == ["/data/a + /data/b"]


def test_damaged_and_unfinished_runs_are_listed(tmp_path: Path) -> None:
    make_run(tmp_path / "damaged")
    (tmp_path / "damaged" / "metrics.csv").write_text("epoch,val_miou\n1,high\n")
    started = make_run(tmp_path / "started", started=1)
    (started / "metrics.csv").unlink()
    (started / "model.safetensors").unlink()
    by_name = {summary.path.name: summary for summary in list_runs(tmp_path)}
    assert "cannot be read" in by_name["damaged"].fault
    assert (by_name["started"].val_miou, by_name["started"].model_mib, by_name["started"].fault) == (None, None, "")


def test_a_real_run_is_listed(tiny_run: pw.Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "tiny")
    (summary,) = list_runs(tmp_path)
    rows = tiny_run.read_metrics()
    assert summary.fault == "" and summary.epochs == len(rows) == 2
    assert summary.val_miou == max(row["val_miou"] or 0 for row in rows)
    assert summary.data.endswith("oxford-iiit-pet") and summary.image_size == 64


def test_links_are_not_followed(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "one")
    (tmp_path / "runs" / "again").symlink_to(tmp_path / "runs")
    assert len(list_runs(tmp_path / "runs")) == 1


def test_listing_does_not_import_torch() -> None:
    code = "import sys, pixelwise.cli.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("values", "text"), [((), "–"), ((None,), "–"), ((0.5,), "0.500"), ((0.5, 0.7), "0.600 ± 0.141")]
)
def test_the_spread_of_several_scores(values: tuple[float | None, ...], text: str) -> None:
    assert str(Spread.of(values)) == text
