"""`pixelwise tune` and `pixelwise find-lr`: their output, their files, and errors in one line."""

from pathlib import Path

import pytest

import pixelwise as pw
from tests.cli.helpers import FAST, RunCommand, assert_one_line_error


@pytest.mark.integration
def test_a_search_and_the_same_command_again(
    run_cli: RunCommand, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    out = tmp_path / "tune"
    command: tuple[str | Path, ...] = (
        "tune", pets_folder, "--out", out, "--trials", "1", "--search", "lr", "--device", "cpu", *FAST,
    )  # fmt: skip
    result = run_cli(*command)
    assert result.code == 0, result.err
    assert "trials: 1 complete" in result.out and "0 (before the search)" in result.out
    assert f"best settings: pixelwise train {pets_folder} --plan {out / 'best-plan.yaml'}" in result.out
    assert (out / "plan.yaml").exists() and (out / "trials.png").exists()
    assert pw.Run.open(out / "trial-000").config.encoder == "test_efficientnet"
    monkeypatch.setattr("pixelwise.tuning.study.train", None)  # a training would fail
    again = run_cli(*command)
    assert again.code == 0 and "trials: 1 complete" in again.out and "settings of the plan" not in again.out
    other = run_cli(*command, "--lr", "0.1")
    assert other.code == 2 and "the search there started with another --lr; choose another --out" in other.err


@pytest.mark.integration
def test_find_lr(run_cli: RunCommand, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.training.lr_finder.STEPS", 30)
    out = tmp_path / "lr"
    result = run_cli("find-lr", pets_folder, "--preset", "default", "--out", out, "--device", "cpu", *FAST)
    assert result.code == 0, result.err
    assert f"curve: {out / 'lr-finder.png'}" in result.out
    suggested = [line for line in result.out.splitlines() if line.startswith("suggested learning rate: ")]
    assert suggested and suggested[0].endswith("(now 0.003)")
    rate = suggested[0].split()[3]
    assert f"use it: pixelwise train {pets_folder} --preset default --lr {rate}" in result.out
    assert_one_line_error(run_cli("find-lr", pets_folder, "--out", out), f"{out}: exists and is not an empty directory")


@pytest.mark.parametrize("command", ["tune", "find-lr"])
def test_data_is_needed(command: str, run_cli: RunCommand) -> None:
    assert_one_line_error(run_cli(command), "DATA is missing")


def test_a_wrong_time(run_cli: RunCommand, pets_folder: Path, tmp_path: Path) -> None:
    result = run_cli("tune", pets_folder, "--out", tmp_path / "tune", "--max-time", "soon")
    assert_one_line_error(result, "--max-time: 'soon' is not a duration; write 90s, 5m or 1h30m")
