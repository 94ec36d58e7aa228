"""Data in shards from the command line: packed, looked at, trained on and evaluated, from a folder and from S3."""

import dataclasses
import json
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.cli.app import main
from pixelwise.data.io.tar_shard import STORE

QUICK = [
    *("--encoder", "test_efficientnet", "--encoder-weights", "none", "--size", "32", "--epochs", "2"),
    *("--batch-size", "4", "--samples", "2"),
]


def run(*tokens: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(token) for token in tokens])
    return ended.value.code  # type: ignore[return-value]


def rows(folder: Path) -> list[dict[str, float | None]]:
    """The figures of each epoch, without those that depend on the clock."""
    slow = ("train_seconds", "images_per_second")
    return [
        {name: value for name, value in row.items() if name not in slow} for row in pw.Run.open(folder).read_metrics()
    ]


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("s3") if request.param == "s3" else f"file://{tmp_path}/packed"


def test_the_whole_way(url: str, pets_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("pack", pets_folder, url) == 0
    assert "22 images in 2 shards" in capsys.readouterr().out
    STORE.clear()
    for name, how in {"kept": "--cache", "streamed": "--no-cache"}.items():
        assert run("train", url, "--out", tmp_path / name, how, *QUICK) == 0
        # No sample is lost or shown twice: nine images are left to train on, two steps of four and more an epoch.
        assert json.loads((tmp_path / name / "last" / "progress.json").read_text())["step"] == 2 * 2
    out = capsys.readouterr().out
    assert "shards, 22 images and 22 masks; usable pairs: 12 train, 10 test" in out
    assert run("evaluate", tmp_path / "streamed", url) == 0
    of_shards = json.loads((tmp_path / "streamed" / "evaluation-test.json").read_text())
    assert run("evaluate", tmp_path / "streamed", pets_folder, "--out", tmp_path / "files.json") == 0
    assert of_shards["classes"] == json.loads((tmp_path / "files.json").read_text())["classes"]
    assert run("inspect", url, "--out", tmp_path / "look") == 0
    assert json.loads((tmp_path / "look" / "report.json").read_text())["photos"] == 22


def test_the_same_images_are_trained_on_from_shards_and_from_files(pets_folder: Path, tmp_path: Path) -> None:
    assert run("pack", pets_folder, tmp_path / "packed") == 0
    found = pw.load_dataset(tmp_path / "packed")
    # In shards images lie shuffled: in the files' order the training is the same, figure for figure.
    files = pw.load_dataset(pets_folder)
    place = {record.image.name: index for index, record in enumerate(files.train)}
    ordered = sorted(found.train, key=lambda record: place[record.image.name.partition("-")[2]])
    tiny = {"encoder": "test_efficientnet", "encoder_weights": "none", "size": 32, "epochs": 2, "batch_size": 4}
    pw.train(files, tmp_path / "a", **tiny)
    pw.train(dataclasses.replace(found, train=tuple(ordered)), tmp_path / "b", **tiny)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


def test_an_address_that_leads_nowhere_is_told(s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for address in (s3, "s3://no-such-bucket/pets", "nonsense://x/y", f"file://{tmp_path}/gone"):
        assert run("train", address, "--out", tmp_path / "run", *QUICK) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert address in line and line.startswith("pixelwise: error: ")
    assert not (tmp_path / "run").exists()
