"""What `pixelwise train` prints if it stops early."""

from pathlib import Path

import pytest

from pixelwise.errors import OutputError
from pixelwise.training.saving import Saver
from tests.cli.helpers import FAST, RunCommand


@pytest.mark.parametrize("flags", [(), ("--seeds", "2")])
def test_a_full_disk_prints_the_command_that_continues(
    flags: tuple[str, ...], run_cli: RunCommand, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutputError("model.safetensors: no space left on device; free space, then try again")

    settings = ("--preset", "default", *FAST, "--encoder-training", "none", "--callbacks")
    run = tmp_path / "my run"
    with monkeypatch.context() as patch:
        patch.setattr(Saver, "save_epoch", fail)
        patch.setattr(Saver, "write_last", fail)
        result = run_cli("train", pets_folder, "--out", run, *flags, *settings)
    command = f"then try again with --resume: pixelwise train --resume '{run}'"
    assert result.code == 2
    last = result.err.splitlines()[-1]
    assert last == f"pixelwise: error: model.safetensors: no space left on device; free space, {command}"
    resumed = run_cli("train", "--resume", run)
    assert resumed.code == 0 and "error" not in resumed.err
