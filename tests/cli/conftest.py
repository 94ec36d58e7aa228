"""Fixtures of the command line's tests."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import pixelwise as pw
from pixelwise.cli import main
from tests.cli.helpers import CommandResult, RunCommand


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> RunCommand:
    """Run the command line in this process, without its changes to the process."""
    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: None)
    monkeypatch.setattr("pixelwise.cli.train_run.estimate_training_time", lambda *_: 240.0)  # it trains for seconds

    def run(*tokens: str | Path) -> CommandResult:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(token) for token in tokens])
        captured = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return CommandResult(caught.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def pets_copy(pets_folder: Path, tmp_path: Path) -> Path:
    """Copy the data set, to be damaged."""
    return Path(shutil.copytree(pets_folder, tmp_path / "data" / "oxford-iiit-pet"))


@pytest.fixture
def run_copy(tiny_run: pw.Run, tmp_path: Path) -> Path:
    """Copy the finished run, to be changed."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "tiny"))


@pytest.fixture
def train_call(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Record the arguments of `train` instead of training."""
    arguments: dict[str, Any] = {}

    def record(data: pw.DatasetIndex, out: Path, config: pw.Config, **others: Any) -> None:
        arguments.update(others, data=data, out=out, config=config)
        raise pw.PixelwiseError("enough")

    monkeypatch.setattr("pixelwise.cli.train_run.train", record)
    return arguments
