"""Fixtures of tests with damaged and unusual files."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pixelwise.cli import main
from tests.integration.helpers import TIME_LIMIT, CommandResult, RunCommand, write_data_set


@pytest.fixture
def time_limit() -> Iterator[None]:
    """Fail a test that hangs."""

    def fail(*args: object) -> None:
        pytest.fail(f"no end after {TIME_LIMIT} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(TIME_LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, time_limit: None) -> RunCommand:
    """Run the command line in this process, without drawings, timings and changes to the process."""
    monkeypatch.setattr("pixelwise.cli.app.configure", lambda: None)
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)
    monkeypatch.setattr("pixelwise.reporting.dataset_report.class_examples", lambda *args: [])
    monkeypatch.setattr("pixelwise.training.callbacks.DEFAULT_CALLBACKS", ())
    monkeypatch.setattr("pixelwise.cli.train_run.print_run", lambda *args: None)

    def run(*tokens: object) -> CommandResult:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(token) for token in tokens])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return CommandResult(caught.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """8 images with masks of 3 classes, in two folders."""
    return write_data_set(tmp_path / "data")
