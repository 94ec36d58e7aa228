"""Shards from the command line: packed, inspected, trained on and evaluated, from a folder and from S3."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.data.io.tar_shard import SHARDS

pytestmark = pytest.mark.integration

FLAGS = [
    *("--encoder", "test_efficientnet", "--encoder-weights", "none", "--size", "32", "--epochs", "2"),
    *("--batch-size", "4", "--sample-predictions", "2"),
]


@pytest.fixture(autouse=True)
def keep_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands without their changes to the process and without drawings."""
    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: None)
    monkeypatch.setattr("pixelwise.training.callbacks.DEFAULT_CALLBACKS", ())
    monkeypatch.setattr("pixelwise.reporting.dataset_report.class_examples", lambda *args: [])
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)


def run(*tokens: object) -> int:
    """Run a command and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(token) for token in tokens])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def read_metrics(folder: Path) -> list[dict[str, float | None]]:
    """Read the metrics of each epoch, without those that depend on the time."""
    timings = ("seconds", "train_seconds", "images_per_second")
    return [
        {name: value for name, value in row.items() if name not in timings}
        for row in pw.Run.open(folder).read_metrics()
    ]


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("s3")) if request.param == "s3" else f"file://{tmp_path}/packed"


def test_shards_are_packed_trained_on_evaluated_and_inspected(
    url: str, pets_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pack", pets_folder, url) == 0
    assert "22 images in 2 shards" in capsys.readouterr().out
    SHARDS.clear()
    for name, flag in {"cached": "--cache", "streamed": "--no-cache"}.items():
        assert run("train", url, "--out", tmp_path / name, flag, *FLAGS) == 0
        # No sample is lost or repeated: of nine training images, an epoch has two steps of four and more.
        assert json.loads((tmp_path / name / "last" / "progress.json").read_text())["step"] == 2 * 2
    assert "shards, 22 images and 22 masks; usable pairs: 12 train, 10 test" in capsys.readouterr().out
    assert run("evaluate", tmp_path / "streamed", url) == 0
    from_shards = json.loads((tmp_path / "streamed" / "evaluation-test.json").read_text())
    assert run("evaluate", tmp_path / "streamed", pets_folder, "--out", tmp_path / "files.json") == 0
    assert from_shards["classes"] == json.loads((tmp_path / "files.json").read_text())["classes"]
    assert run("inspect", url, "--out", tmp_path / "report") == 0
    assert json.loads((tmp_path / "report" / "report.json").read_text())["photos"] == 22


def test_training_on_shards_and_on_files_gives_the_same_metrics(pets_folder: Path, tmp_path: Path) -> None:
    assert run("pack", pets_folder, tmp_path / "packed") == 0
    shards, files = pw.load_dataset(tmp_path / "packed"), pw.load_dataset(pets_folder)
    # Images are shuffled in shards. In the order of the files, the training is the same.
    order = {record.image.name: index for index, record in enumerate(files.train)}
    records = sorted(shards.train, key=lambda record: order[record.image.name.partition("-")[2]])
    settings: dict[str, Any] = {
        "encoder": "test_efficientnet", "encoder_weights": "none", "image_size": 32, "epochs": 2, "batch_size": 4,
    }  # fmt: skip
    pw.train(files, tmp_path / "a", **settings)
    pw.train(dataclasses.replace(shards, train=tuple(records)), tmp_path / "b", **settings)
    assert read_metrics(tmp_path / "a") == read_metrics(tmp_path / "b")


def test_a_url_without_a_data_set_is_an_error_in_one_line(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url in (s3, "s3://no-such-bucket/pets", "nonsense://x/y", f"file://{tmp_path}/missing"):
        assert run("train", url, "--out", tmp_path / "run", *FLAGS) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert url.removeprefix("file://") in line and line.startswith("pixelwise: error: ")
    assert not (tmp_path / "run").exists()
