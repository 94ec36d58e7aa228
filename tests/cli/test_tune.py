"""`pixelwise tune` and `pixelwise find-lr`: their output, their files, and errors in one line."""

import shlex
from pathlib import Path

import pytest

import pixelwise as pw
from pixelwise.cli.app import app
from pixelwise.cli.tune import _load
from pixelwise.data.joined_spec import spec_of
from pixelwise.data.label_map.options import LabelOptions
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
    assert run_cli(*command, "--classes", "pet", "background", "border").code == 0, (
        "the classes are those of the search"
    )
    renamed = run_cli(*command, "--classes", "a", "b", "c")
    assert renamed.code == 2 and f"{out}: the search there started with other flags about masks" in renamed.err
    other = run_cli(*command, "--lr", "0.1")
    assert other.code == 2 and "the search there started with another --lr; choose another --out" in other.err


def test_a_search_with_a_preset_keeps_its_masks(
    pets_folder: Path, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "tune"
    (out / "trial-000").mkdir(parents=True)
    (out / "study.json").touch()
    (out / "trial-000" / "data.yaml").write_text(spec_of(pets).to_yaml(), encoding="utf-8")
    roots = (str(pets_folder),)
    same = LabelOptions(classes=pets.classes)
    assert _load(roots, out, None, "default", same, {}).dataset.classes == pets.classes
    for other in (LabelOptions(classes=("a", "b", "c")), LabelOptions(ignore_values=("border",))):
        with pytest.raises(pw.ConfigError, match="other flags about masks; choose another --out"):
            _load(roots, out, None, "default", other, {})


@pytest.mark.integration
def test_find_lr(run_cli: RunCommand, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.training.lr_finder.STEPS", 30)
    out = tmp_path / "lr"
    flags = ["--preset", "default", "--ignore-values", "border", "--no-cache"]
    flags += ["--loss", "focal", "--loss-args", "gamma=3"]
    result = run_cli("find-lr", pets_folder, *flags, "--lr", "0.003", "--out", out, "--device", "cpu", *FAST)
    assert result.code == 0, result.err
    assert f"curve: {out / 'lr-finder.png'}" in result.out
    suggested = [line for line in result.out.splitlines() if line.startswith("suggested learning rate: ")]
    assert suggested and suggested[0].endswith("(now 0.003)")
    use = next(line for line in result.out.splitlines() if line.startswith("use it: pixelwise train "))
    name, root, *words = shlex.split(use.removeprefix("use it: pixelwise "))
    assert (name, root) == ("train", str(pets_folder)) and words[-2:] == ["--lr", suggested[0].split()[3]]
    assert sorted(words[:-2]) == sorted([*flags, "--device", "cpu", *FAST])
    _, given, unused, *_ = app.parse_known_args([name, root, *words])
    assert not unused and given.arguments["settings"].loss_args == ("gamma=3",)
    assert_one_line_error(run_cli("find-lr", pets_folder, "--out", out), f"{out}: exists and is not an empty directory")


@pytest.mark.parametrize("command", ["tune", "find-lr"])
def test_data_is_needed(command: str, run_cli: RunCommand) -> None:
    assert_one_line_error(run_cli(command), "DATA is missing")


def test_a_wrong_time(run_cli: RunCommand, pets_folder: Path, tmp_path: Path) -> None:
    result = run_cli("tune", pets_folder, "--out", tmp_path / "tune", "--max-time", "soon")
    assert_one_line_error(result, "--max-time: 'soon' is not a duration; write 90s, 5m or 1h30m")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--trials", "0"), "--trials must be 1 or more, not 0"),
        (("--search", "lr", "rl"), "--search: unknown setting 'rl'"),
        ((), "a search needs optuna; run pip install 'pixelwise[tune]'"),
    ],
)
def test_wrong_arguments_are_found_before_the_data_are_inspected(
    flags: tuple[str, ...],
    message: str,
    run_cli: RunCommand,
    pets_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not flags:
        monkeypatch.setattr("pixelwise.tuning.study.find_spec", lambda name: None)
    result = run_cli("tune", pets_folder, "--out", tmp_path / "tune", *flags)
    assert_one_line_error(result, message)
    assert result.out == ""
