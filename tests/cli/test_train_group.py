"""`train --folds`, `--seeds` and `--learning-curve`, and the list that `runs` prints."""

import json
from pathlib import Path

import pytest

from pixelwise.cli.train_group import Repeats, remaining_seconds
from pixelwise.runs.run_dir import Run
from tests.cli.helpers import FAST, RunCommand, assert_one_line_error

SETTINGS = ["--preset", "default", *FAST, "--encoder-training", "none", "--callbacks"]


def test_folds_are_trained_listed_resumed_and_predict_together(
    run_cli: RunCommand, pets_folder: Path, tmp_path: Path
) -> None:
    group = tmp_path / "runs" / "pets"
    result = run_cli("train", pets_folder, "--out", group, "--folds", "2", *SETTINGS)
    assert result.code == 0, result.err
    assert "fold-1" in result.out and "mean ± sd" in result.out and "mean IoU" in result.out
    assert "all 12 images together" in result.out and f"pixelwise predict {group} IMAGES" in result.out

    content = json.loads((group / "group.json").read_text())
    scores = [member["metrics"]["miou"] for member in content["members"]]
    listed = run_cli("runs", tmp_path / "runs")
    assert listed.code == 0 and "pets (2 folds)" in listed.out and "oxford-iiit-pet" in listed.out
    assert f"{sum(scores) / 2:.3f} ±" in listed.out

    content["members"][1]["metrics"] = None
    (group / "group.json").write_text(json.dumps(content))
    seconds = [Run.open(group / name).read_metrics()[-1]["seconds"] or 0.0 for name in ("fold-1", "fold-2")]
    assert remaining_seconds(group, 4) == pytest.approx(sum(seconds) / 2 * 3), "fold-1 is complete, fold-2 has an epoch"
    resumed = run_cli("train", "--resume", group)
    assert resumed.code == 0, resumed.err
    assert "time: about 1 s" in resumed.out, "only an evaluation is left"
    assert f"{scores[1]:.3f}" in resumed.out, "the trained model is evaluated again"
    assert json.loads((group / "group.json").read_text())["members"][1]["metrics"]["miou"] == scores[1]

    predicted = run_cli("predict", group, pets_folder / "images", "--out", tmp_path / "masks")
    assert predicted.code == 0, predicted.err
    assert len(list((tmp_path / "masks").glob("*_mask.png"))) == len(list((pets_folder / "images").glob("*.jpg")))


def test_a_learning_curve_follows_the_training(run_cli: RunCommand, pets_folder: Path, tmp_path: Path) -> None:
    result = run_cli("train", pets_folder, "--out", tmp_path / "run", "--learning-curve", *SETTINGS)
    assert result.code == 0, result.err
    assert "mIoU by training images: 2: " in result.out and "twice the images (14): about" in result.out
    assert (tmp_path / "run" / "learning-curve" / "learning-curve.png").is_file()
    assert run_cli("runs", tmp_path / "run").out.count("MiB") == 1, "the smaller runs are not listed"


@pytest.mark.parametrize("flags", [("--folds", "2", "--seeds", "2"), ("--seeds", "2", "--learning-curve")])
def test_the_flags_exclude_each_other(
    flags: tuple[str, ...], run_cli: RunCommand, pets_folder: Path, tmp_path: Path
) -> None:
    result = run_cli("train", pets_folder, "--out", tmp_path / "run", *flags)
    assert_one_line_error(result, "--folds, --seeds and --learning-curve exclude each other")
    assert not (tmp_path / "run").exists()


def test_one_fold_is_refused(run_cli: RunCommand, pets_folder: Path, tmp_path: Path) -> None:
    result = run_cli("train", pets_folder, "--out", tmp_path / "run", "--folds", "1", "--preset", "default")
    assert result.code == 2 and "--folds must be 2 to 100, not 1" in result.err
    assert not (tmp_path / "run").exists()


def test_a_single_run_is_no_group(tmp_path: Path) -> None:
    assert Repeats().group_size(tmp_path) is None and Repeats(seeds=3).group_size(None) == ("seeds", 3)


def test_a_directory_without_runs_says_how_to_train(run_cli: RunCommand, tmp_path: Path) -> None:
    result = run_cli("runs", tmp_path)
    assert result.code == 0 and "no runs; train one with pixelwise train DATA" in result.out
    assert_one_line_error(run_cli("runs", tmp_path / "missing"), "missing", "no such directory")
