"""The commands: what they print, write and exit with."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from tests.cli.helpers import FAST, RunCommand, assert_one_line_error, read_files

# --- train


def _remove_mask(data: Path) -> Path:
    mask = sorted((data / "annotations" / "trimaps").glob("*.png"))[2]
    mask.unlink()
    return mask


def _truncate_image(data: Path) -> Path:
    name = (data / "annotations" / "trainval.txt").read_text().splitlines()[4].split()[0]
    image = data / "images" / f"{name}.jpg"
    image.write_bytes(image.read_bytes()[:900])
    return image


class TestTrain:
    # One fault that is found by listing files and one that is found by reading them. The others are in
    # tests/integration/test_damaged_files.py.
    @pytest.mark.parametrize(
        ("damage", "message"), [(_remove_mask, "has no mask"), (_truncate_image, "truncated or corrupt")]
    )
    def test_damaged_data(
        self, damage: Callable[[Path], Path], message: str, run_cli: RunCommand, pets_copy: Path, tmp_path: Path
    ) -> None:
        file = damage(pets_copy)
        before = read_files(pets_copy)
        assert_one_line_error(run_cli("train", pets_copy, "--out", tmp_path / "run", *FAST), message, file)
        assert not (tmp_path / "run").exists()
        assert read_files(pets_copy) == before

    def test_without_a_preset_a_plan_is_made_around_the_flags(
        self, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path
    ) -> None:
        result = run_cli("train", pets_folder, "--out", "nowhere", "--size", "64", "--lr", "0.25")
        plan, config = train_call["plan"].settings, train_call["config"]
        assert {name: getattr(config, name) for name in plan} == plan
        assert (plan["image_size"], plan["lr"], plan["encoder_training"]) == (64, 0.25, "none"), "few images: frozen"
        assert "image_size: 64" in result.out and "# as given" in result.out
        for name in plan:
            assert f"\n  {name}: " in result.out

    def test_a_plan_sets_how_masks_are_read(
        self, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path, run_copy: Path, tmp_path: Path
    ) -> None:
        plan = tmp_path / "plan.yaml"
        spec = (run_copy / "data.yaml").read_text().replace("  border:", "  edge:")
        lines = "\n".join(f"  {line}" for line in spec.splitlines())
        plan.write_text(f"format: 2\ndata:\n{lines}\nsettings:\n  epochs: 3\n")
        run_cli("train", pets_folder, "--out", "x", "--plan", plan)
        assert train_call["data"].classes == ("pet", "background", "edge")
        assert train_call["plan"] == pw.Plan.read(plan)

    @pytest.mark.parametrize("source", ["preset", "plan"])
    def test_the_start_prints_an_estimate(
        self, source: str, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path, tiny_run: pw.Run,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        pw.Plan(tiny_run.read_dataset_spec(), {"epochs": 40}).write(tmp_path / "plan.yaml")
        flags = ["--preset", "default", "--epochs", "40"] if source == "preset" else ["--plan", tmp_path / "plan.yaml"]
        result = run_cli("train", pets_folder, "--out", tmp_path / "run", *flags)
        lines = result.out.splitlines()
        start = lines.index(f"run directory: {tmp_path / 'run'}")
        assert re.fullmatch(r"time: about 4 min, until .*; 40 epochs", lines[start + 1])
        assert lines[start + 2].startswith("stop: Ctrl-C")

    @pytest.mark.parametrize("flags", [["--preset", "default"], ["--classes", "pet"]], ids=" ".join)
    def test_a_plan_excludes_other_sources(self, flags: list[str], run_cli: RunCommand, tmp_path: Path) -> None:
        result = run_cli("train", tmp_path, "--out", "x", "--plan", "plan.yaml", *flags)
        assert_one_line_error(result, "--plan sets how masks are read", "remove --preset")

    def test_a_plan_can_be_given_again_to_resume(
        self, run_cli: RunCommand, train_call: dict[str, Any], pets_folder: Path, run_copy: Path, tmp_path: Path
    ) -> None:
        plan = pw.Plan(pw.Run.open(run_copy).read_dataset_spec(), {"epochs": 9, "lr": 0.003})
        plan.write(tmp_path / "plan.yaml")
        tokens: list[str | Path] = ["train", pets_folder, "--plan", tmp_path / "plan.yaml", "--resume", "--epochs", "7"]
        run_cli(*tokens, "--out", run_copy)
        assert train_call["plan"] is None and train_call["config"].model_fields_set == {"epochs", "lr"}
        assert (train_call["config"].epochs, train_call["config"].lr) == (7, 0.003)
        run_cli(*tokens, "--out", tmp_path / "new")
        assert train_call["plan"] == plan, "without a run, the plan starts one"

    def test_resuming_needs_a_run(self, run_cli: RunCommand, tmp_path: Path) -> None:
        assert_one_line_error(run_cli("train", tmp_path, "--resume"), "--resume needs the run directory to continue")
        assert_one_line_error(run_cli("train", "--resume", tmp_path / "x"), tmp_path / "x", "not a run directory")
        assert_one_line_error(run_cli("train"), "DATA is missing")

    @pytest.mark.parametrize("form", ["RUN", "DATA RUN", "RUN DATA", "OUT", "DATA OUT", "OUT DATA"])
    def test_forms_of_resume(
        self, form: str, run_cli: RunCommand, train_call: dict[str, Any], run_copy: Path, pets_copy: Path
    ) -> None:
        tokens: dict[str, list[str | Path]] = {
            "RUN": ["--resume", run_copy],
            "DATA RUN": [pets_copy, "--resume", run_copy],
            "RUN DATA": ["--resume", run_copy, pets_copy],
            "OUT": ["--resume", "--out", run_copy],
            "DATA OUT": [pets_copy, "--out", run_copy, "--resume"],
            "OUT DATA": ["--out", run_copy, "--resume", pets_copy],
        }
        result = run_cli("train", *tokens[form], "--epochs", "9")
        assert "enough" in result.err, "the training was called"
        assert (train_call["out"], train_call["resume"]) == (run_copy, True)
        stored = Path(pw.Run.open(run_copy).read_dataset_spec().root)  # type: ignore[union-attr,arg-type]
        assert train_call["data"].root == (pets_copy if "DATA" in form else stored)
        assert train_call["config"].model_fields_set == {"epochs"}

    def test_a_data_set_that_has_moved(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        spec = run_copy / "data.yaml"
        spec.write_text(spec.read_text().replace(str(pets_folder), "/gone"))
        result = run_cli("train", "--resume", run_copy, "--epochs", "9")
        assert_one_line_error(result, "/gone: the data set of", "is no longer there; give its new place as DATA")

    def test_an_interrupt_prints_the_command_that_continues(
        self, run_cli: RunCommand, tiny_run: pw.Run, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        run = Path(shutil.copytree(tiny_run.path, tmp_path / "my run; x"))
        monkeypatch.setattr("pixelwise.cli.train_run.train", interrupt)
        result = run_cli("train", "--resume", run, "--epochs", "9", "--allow-outside")
        assert result.code == 130
        assert result.err.startswith(f"pixelwise: stopped; best model so far: {run}/model.safetensors (epoch ")
        command = shlex.split(result.err.rpartition("continue with: ")[2])
        assert command == ["pixelwise", "train", "--resume", str(run), "--allow-outside", "--epochs", "9"]
        assert "; the next epoch is 3; continue with: " in result.err and "epochs 3 to 9" in result.out
        (run / "model.safetensors").unlink()
        result = run_cli("train", "--resume", run, "--epochs", "9")
        assert "stopped; no epoch is complete, so there is no model yet; continue with" in result.err

    def test_resuming_reads_masks_as_the_run_did(
        self, run_cli: RunCommand, train_call: dict[str, Any], run_copy: Path, pets_folder: Path
    ) -> None:
        spec = run_copy / "data.yaml"
        spec.write_text(spec.read_text().replace("  border:", "  edge:"))
        run_cli("train", pets_folder, "--out", run_copy, "--resume")
        assert train_call["resume"] is True and train_call["plan"] is None
        assert train_call["data"].classes == ("pet", "background", "edge")

    def test_resuming_skips_files_if_the_run_did(
        self, run_cli: RunCommand, train_call: dict[str, Any], run_copy: Path, pets_copy: Path
    ) -> None:
        _remove_mask(pets_copy)
        assert_one_line_error(run_cli("train", pets_copy, "--out", run_copy, "--resume"), "has no mask")
        config = run_copy / "config.yaml"
        config.write_text(config.read_text().replace("skip_unreadable: false", "skip_unreadable: true"))
        run_cli("train", pets_copy, "--out", run_copy, "--resume")
        assert len(train_call["data"].train) + len(train_call["data"].test) == 21

    def test_resuming_with_other_settings(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        before = read_files(run_copy)
        result = run_cli("train", pets_folder, "--out", run_copy, "--resume", "--epochs", "5", "--lr", "7")
        assert_one_line_error(result, "--resume", "--lr")
        assert read_files(run_copy) == before

    @pytest.mark.integration
    def test_resume(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        result = run_cli("train", pets_folder, "--out", run_copy, "--resume", "--epochs", "3")
        assert result.code == 0
        assert "of 3" in result.out and str(run_copy) in result.out
        assert f"next:   pixelwise evaluate {run_copy}" in result.out
        rows = (run_copy / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]

    @pytest.mark.integration
    def test_resuming_a_complete_run_says_so_and_changes_nothing(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = read_files(run_copy)
        caplog.set_level("INFO", "pixelwise")
        result = run_cli("train", pets_folder, "--out", run_copy, "--resume")
        assert result.code == 0 and f"{run_copy}/model.safetensors" in result.out
        assert f"{run_copy}: all 2 epochs are done; raise --epochs to train further" in result.out + result.err
        assert "stop:" not in result.out, "there is nothing to stop"
        assert read_files(run_copy) == before

    @pytest.mark.integration
    def test_a_training_prints_one_line_per_epoch_into_a_file(self, pets_folder: Path, tmp_path: Path) -> None:
        with (tmp_path / "out.txt").open("w") as out, (tmp_path / "err.txt").open("w") as err:
            command: list[str | Path] = [sys.executable, "-W", "error", "-m", "pixelwise", "train", pets_folder]
            command += ["--out", tmp_path / "run", "--preset", "default", *FAST[:-1], "2", "--batch-size", "2"]
            env = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, stdout=out, stderr=err, timeout=300, check=False, env=env)
        printed, log = (tmp_path / "out.txt").read_text(), (tmp_path / "err.txt").read_text()
        assert done.returncode == 0, log
        lines = (printed + log).splitlines()
        assert sum(line.startswith("epoch ") for line in lines) == 2
        assert len(lines) <= 14, "not one line per step"
        assert not any(character in printed + log for character in "\r\x1b")
        steps = json.loads((tmp_path / "run" / "last" / "progress.json").read_text())["step"]
        assert steps >= 6


# --- evaluate


class TestEvaluate:
    def test_it_prints_and_writes_the_metrics(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        result = run_cli("evaluate", run_copy, pets_folder)
        assert (result.code, result.err) == (0, "")
        stored = json.loads((run_copy / "evaluation-test.json").read_text())
        for name, metrics in stored["classes"].items():
            (row,) = [line for line in result.out.splitlines() if f" {name} " in line]
            assert f"{metrics['iou']:.1%}" in row
        assert f"accuracy {stored['accuracy']:.2%} · mean IoU {stored['miou']:.2%}" in result.out
        assert f"evaluation: {run_copy / 'evaluation-test.json'}" in result.out

    def test_it_needs_only_the_run(self, run_cli: RunCommand, run_copy: Path) -> None:
        result = run_cli("evaluate", run_copy)
        assert (result.code, result.err) == (0, "")
        lines = result.out.splitlines()
        model = f"model: {run_copy} (torch, float32)"
        assert lines[:3] == [model, "evaluated on the test split of the data set", "view whole"]
        assert any(
            line.startswith("mIoU 0.") and line.endswith("more images would halve the interval") for line in lines
        )
        assert f"page:       {run_copy / 'evaluation-test.html'}" in lines
        assert (run_copy / "evaluation-test.html").exists() and (run_copy / "evaluation-test.csv").exists()

    def test_images_that_were_trained_on_give_a_warning(self, run_cli: RunCommand, run_copy: Path) -> None:
        result = run_cli("evaluate", run_copy, "--split", "train")
        assert result.code == 0 and result.err.startswith("WARNING: the model was trained on ")
        result = run_cli("evaluate", run_copy, "--split", "val")
        assert (result.code, result.err) == (0, "")
        assert "evaluated on the images that the training held out for validation" in result.out
        assert "note: the best epoch was chosen on these images" in result.out

    def test_data_that_is_gone_is_one_line_with_the_flag(self, run_cli: RunCommand, run_copy: Path) -> None:
        file = run_copy / "data.yaml"
        lines = file.read_text().splitlines(True)
        file.write_text("".join("root: /gone/pets\n" if line.startswith("root:") else line for line in lines))
        assert_one_line_error(run_cli("evaluate", run_copy), "/gone/pets: the data set of", "is no longer there")

    def test_into_a_file_that_must_not_exist(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "metrics.json"
        assert run_cli("evaluate", run_copy, pets_folder, "--out", out, "--resolution", "model").code == 0
        assert json.loads(out.read_text())["resolution"] == "64x64"
        windows = run_cli("evaluate", run_copy, "--view", "tiles", "--scale", "0.5", "--out", tmp_path / "tiles.json")
        assert windows.code == 0 and windows.out.splitlines()[2] == "view tiles at scale 0.5"
        error = run_cli("evaluate", run_copy, "--scale", "0.5", "--out", tmp_path / "whole.json")
        assert_one_line_error(error, "--scale has no effect on whole images; set --view to tiles")
        before = read_files(tmp_path)
        assert_one_line_error(run_cli("evaluate", run_copy, pets_folder, "--out", out), f"{out}: exists already")
        assert read_files(tmp_path) == before

    def test_metrics_on_request_are_printed_and_written(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path
    ) -> None:
        result = run_cli("evaluate", run_copy, pets_folder, "--metrics", "boundary_iou:width=0.1", "image_iou")
        assert (result.code, result.err) == (0, "")
        extra = json.loads((run_copy / "evaluation-test.json").read_text())["extra"]
        assert {"boundary_iou", "image_iou_pet"} <= set(extra)
        for name in ("boundary_iou", "image_iou"):
            assert f"{name}: {extra[name]:.4f}" in result.out.splitlines()
        assert_one_line_error(run_cli("evaluate", run_copy, pets_folder, "--metrics", "f1"), "unknown metric 'f1'")

    def test_the_table_is_printed_even_if_the_file_cannot_be_written(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object) -> None:
            raise pw.OutputError("evaluation-test.json: no space left on device; free space, then try again")

        monkeypatch.setattr("pixelwise.evaluation.write.write_evaluation", fail)
        result = run_cli("evaluate", run_copy, pets_folder)
        assert result.code == 2 and "mean IoU" in result.out
        assert result.err.startswith("pixelwise: error: evaluation-test.json: no space left on device")

    def test_skipped_files_are_listed(self, run_cli: RunCommand, run_copy: Path, pets_copy: Path) -> None:
        name = (pets_copy / "annotations" / "test.txt").read_text().split()[0]
        image = pets_copy / "images" / f"{name}.jpg"
        image.write_bytes(b"no image")
        assert_one_line_error(run_cli("evaluate", run_copy, pets_copy), image)
        result = run_cli("evaluate", run_copy, pets_copy, "--skip-unreadable")
        assert result.code == 1
        assert [line for line in result.err.splitlines() if line.startswith(f"skipped: {image}")]
        assert json.loads((run_copy / "evaluation-test.json").read_text())["left_out"] == 1


# --- predict


class TestPredict:
    def test_a_file_that_is_no_image_is_skipped(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        images = tmp_path / "images"
        images.mkdir()
        for image in sorted((pets_folder / "images").iterdir())[:3]:
            shutil.copy(image, images)
        (images / "A_broken.jpg").write_bytes(b"no image")
        (tmp_path / "notes.txt").write_text("no image either")
        out = tmp_path / "out"
        result = run_cli("predict", run_copy, images, tmp_path / "notes.txt", "--out", out)
        assert result.code == 1
        skipped = result.err.splitlines()
        assert len(skipped) == 2 and "A_broken.jpg" in skipped[0] and "notes.txt" in skipped[1]
        assert "3 images predicted" in result.out
        assert len(json.loads((out / "predictions.json").read_text())["photos"]) == 3
        assert len(list(out.glob("*_mask.png"))) == len(list(out.glob("*_overlay.jpg"))) == 3

    def test_the_url_of_a_website_is_no_output(self, run_cli: RunCommand, run_copy: Path, pets_folder: Path) -> None:
        result = run_cli("predict", run_copy, pets_folder / "images", "--out", "https://localhost/x")
        assert_one_line_error(result, "cannot be written file by file", "s3://bucket/masks")

    def test_nothing_is_overwritten(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        images = sorted((pets_folder / "images").iterdir())[:2]
        result = run_cli("predict", run_copy, *images, "--out", tmp_path / "out")
        assert (result.code, result.err) == (0, "")
        assert len(list((tmp_path / "out").iterdir())) == 7
        before = read_files(tmp_path / "out")
        repeated = run_cli("predict", run_copy, *images, "--out", tmp_path / "out")
        assert_one_line_error(repeated, "choose another --out, continue with --resume, or replace it with --overwrite")
        assert read_files(tmp_path / "out") == before

    def test_the_advice_for_existing_files_works(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        images = sorted((pets_folder / "images").iterdir())[:3]
        out = tmp_path / "out"
        assert run_cli("predict", run_copy, *images[:2], "--out", out).code == 0
        result = run_cli("predict", run_copy, *images, "--out", out, "--resume")
        assert (result.code, result.err) == (0, "")
        assert "3 images predicted (2 of them earlier)" in result.out
        complete = {path.name: path.read_bytes() for path in out.iterdir()}
        next(out.glob("*_mask.png")).write_bytes(b"damaged")
        refused = run_cli("predict", run_copy, *images, "--out", out, "--resume")
        assert_one_line_error(refused, "replace it with --overwrite")
        assert run_cli("predict", run_copy, *images, "--out", out, "--overwrite").code == 0
        assert {path.name: path.read_bytes() for path in out.iterdir()} == complete
        both = run_cli("predict", run_copy, *images, "--out", out, "--overwrite", "--resume")
        assert_one_line_error(both, "--overwrite and --resume exclude each other")

    def test_what_is_passed_over_is_named(
        self, run_cli: RunCommand, run_copy: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        images = tmp_path / "images"
        images.mkdir()
        shutil.copy(min((pets_folder / "images").iterdir()), images / "a.jfif")
        (images / "notes\n.txt").touch()
        result = run_cli("predict", run_copy, images, "--out", tmp_path / "out")
        assert (result.code, result.err) == (0, f"{images}: left out: 1 .txt\n")
        os.mkfifo(images / "pipe\n")
        (images / "photo.nef").touch()
        result = run_cli("predict", run_copy, images, "--out", tmp_path / "out", "--resume")
        assert result.code == 1
        assert [line for line in result.err.splitlines() if line.startswith("skipped: ")] == [
            f"skipped: {images}/pipe\\x0a: not a file; replace or remove it",
            f"skipped: {images}: 1 .nef (photo.nef: convert them to TIFF or PNG), 1 .txt",
        ]


# --- preview, inspect, pack, demo


def test_preview_writes_a_new_image_each_time(
    run_cli: RunCommand, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_cli("preview", pets_folder)
    assert result.code == 0 and "pet, background, border" in result.out
    assert [path.name for path in tmp_path.iterdir()] == ["oxford-iiit-pet-train.png"]
    with Image.open("oxford-iiit-pet-train.png") as grid:
        assert min(grid.size) > 100
        assert len(np.unique(np.asarray(grid.convert("RGB")).reshape(-1, 3), axis=0)) > 1000
    before = read_files(tmp_path)
    assert "oxford-iiit-pet-train-2.png" in run_cli("preview", pets_folder, "--count", "2").out
    assert "oxford-iiit-pet-test.png" in run_cli("preview", pets_folder, "--split", "test", "--count", "99").out
    assert_one_line_error(run_cli("preview", pets_folder, "--out", "oxford-iiit-pet-train.png"), "exists already")
    assert_one_line_error(run_cli("preview", pets_folder, "--count", "0"), "--count", "1")
    assert_one_line_error(run_cli("preview", pets_folder, "--split", "val"), "'val'", "train, test")
    after = read_files(tmp_path)
    assert len(after) == 3 and all(after[path] == content for path, content in before.items())


def test_inspect_writes_a_report_and_a_plan(
    run_cli: RunCommand, pets_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.planning.rules.estimate_training_time", lambda *args, **kwargs: 1.0)
    out = tmp_path / "report"
    result = run_cli("inspect", pets_copy, "--out", out)
    assert result.code == 0
    assert f"train:  pixelwise train {pets_copy} --plan {out / 'plan.yaml'}" in result.out
    assert list(pw.Plan.read(out / "plan.yaml").data.model_dump()["classes"]) == ["pet", "background", "border"]
    _truncate_image(pets_copy)
    assert run_cli("inspect", pets_copy, "--out", tmp_path / "second").code == 1
    assert_one_line_error(run_cli("inspect", pets_copy, "--out", out), f"{out}: exists already; choose another --out")


def test_pack_writes_shards_that_load(run_cli: RunCommand, pets_copy: Path, tmp_path: Path) -> None:
    _truncate_image(pets_copy)
    out = tmp_path / "shards"
    assert_one_line_error(run_cli("pack", pets_copy, out), "truncated")
    result = run_cli("pack", pets_copy, out, "--size", "48", "--skip-unreadable")
    assert result.code == 1, "done, but for one file"
    assert "21 images" in result.out
    assert len([line for line in result.err.splitlines() if line.startswith("skipped: ")]) == 1
    data = pw.load_dataset(out)
    assert data.classes == ("pet", "background", "border") and len(data.train) + len(data.test) == 21


@pytest.mark.integration
def test_demo_trains_evaluates_and_predicts(
    run_cli: RunCommand, pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixelwise.training.trainer import train

    monkeypatch.setattr(
        "pixelwise.data.demo.download.find_oxford_pets", lambda progress: (pets_folder, "a tiny data set")
    )
    monkeypatch.setattr(
        "pixelwise.training.trainer.train",
        lambda data, out, **settings: train(
            data, out, **settings | {"epochs": 1, "image_size": 32, "encoder": "test_efficientnet",
                                     "encoder_weights": "none"},
        ),
    )  # fmt: skip
    result = run_cli("demo", "--out", tmp_path / "demo")
    assert result.code == 0, result.err
    assert "a tiny data set" in result.out and "mean IoU" in result.out
    assert len(list((tmp_path / "demo" / "predictions").glob("*_overlay.jpg"))) == 8
    assert (tmp_path / "demo" / "evaluation-test.json").exists()
    assert "a real cat, predicted by the model for pets in the package: " in result.out
    assert (tmp_path / "demo" / "cat" / "chelsea_mask.png").exists()
