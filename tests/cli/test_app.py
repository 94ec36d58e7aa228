"""The command line: what it prints, what it exits with, and that each flag is read."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.cli import app as cli
from pixelwise.cli.app import main

SOURCES = Path(pw.__file__).parent


class Ran:
    """What a command left on its two streams, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    def run(*tokens: str | Path) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(token) for token in tokens])
        captured = capsys.readouterr()
        return Ran(caught.value.code, captured.out, captured.err)  # type: ignore[arg-type]

    return run


def listing(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def own_pets(pets_folder: Path, tmp_path: Path) -> Path:
    """A copy of the data set, to be broken."""
    return Path(shutil.copytree(pets_folder, tmp_path / "data" / "oxford-iiit-pet"))


@pytest.fixture
def own_run(tiny_run: pw.Run, tmp_path: Path) -> Path:
    """A copy of the finished run, to be written to."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "tiny"))


class TestHelp:
    def test_flags_stand_in_groups(self, run_cli: Callable[..., Ran]) -> None:
        ran = run_cli("train", "--help")
        assert ran.code == 0 and ran.err == ""
        found = [ran.out.index(f"─ {name} ─") for name in ("Data", "Model", "Training", "Machine")]
        assert found == sorted(found)
        for name in pw.Config.model_fields:
            assert f"--{name.replace('_', '-')}" in ran.out
        assert "--no-freeze-encoder" in ran.out
        # Under its own heading.
        assert found[1] < ran.out.index("--encoder ") < found[2] < ran.out.index("--lr ") < found[3]

    def test_every_command_is_listed(self, run_cli: Callable[..., Ran]) -> None:
        ran = run_cli("--help")
        assert ran.code == 0
        for name in ("train", "evaluate", "predict", "show", "--install-completion", "--version"):
            assert name in ran.out

    def test_version(self, run_cli: Callable[..., Ran]) -> None:
        ran = run_cli("--version")
        assert (ran.code, ran.out.strip()) == (0, pw.__version__)

    @pytest.mark.parametrize("command", ["train", "evaluate", "predict", "show", "demo"])
    def test_every_parameter_is_explained(self, run_cli: Callable[..., Ran], command: str) -> None:
        ran = run_cli(command, "--help")
        assert ran.code == 0
        assert "--out" in ran.out


# A value other than the default for every setting, as it is typed and as it arrives.
TYPED: dict[str, tuple[Sequence[str], object]] = {
    "size": (["--size", "96"], 96),
    "predict_scale": (["--predict-scale", "1.5"], 1.5),
    "augment": (["--augment", "flip"], "flip"),
    "cache": (["--no-cache"], False),
    "skip_bad": (["--skip-bad"], True),
    "validation_from": (["--validation-from", "test"], "test"),
    "validation_fraction": (["--validation-fraction", "0.3"], 0.3),
    "encoder": (["--encoder", "resnet18"], "resnet18"),
    "encoder_weights": (["--encoder-weights", "none"], "none"),
    "layers": (["--layers", "layer1", "layer2"], ("layer1", "layer2")),
    "padding": (["--padding", "same"], "same"),
    "pixels": (["--pixels", "unit"], "unit"),
    "freeze_encoder": (["--freeze-encoder"], True),
    "decoder": (["--decoder", "pix2pix"], "pix2pix"),
    "epochs": (["--epochs", "3"], 3),
    "batch_size": (["--batch-size", "5"], 5),
    "loss": (["--loss", "dice"], "dice"),
    "class_weights": (["--class-weights", "pet=2,border=1"], {"pet": 2.0, "border": 1.0}),
    "lr": (["--lr", "0.25"], 0.25),
    "encoder_lr_factor": (["--encoder-lr-factor", "0.75"], 0.75),
    "weight_decay": (["--weight-decay", "0.125"], 0.125),
    "schedule": (["--schedule", "constant"], "constant"),
    "seed": (["--seed", "42"], 42),
    "device": (["--device", "cpu"], "cpu"),
    "precision": (["--precision", "bf16"], "bf16"),
    "workers": (["--workers", "2"], 2),
    "samples": (["--samples", "7"], 7),
}


class TestFlags:
    @pytest.fixture
    def given(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        """What `train` is called with, instead of training."""
        seen: dict[str, Any] = {}

        def capture(data: pw.DatasetIndex, out: Path, **settings: Any) -> None:
            seen.update(settings, out=out, data=data)
            raise pw.PixelwiseError("far enough")

        monkeypatch.setattr(cli, "train", capture)
        return seen

    def config_of(self, given: dict[str, Any]) -> pw.Config:
        settings = {name: value for name, value in given.items() if name in pw.Config.model_fields}
        return pw.Config.from_preset(**settings | {"preset": given["preset"] or "default"})

    @pytest.mark.parametrize("name", [name for name in pw.Config.model_fields if name != "preset"])
    def test_every_setting_has_a_flag_that_reaches_the_config(
        self, name: str, run_cli: Callable[..., Ran], given: dict[str, Any], pets_folder: Path
    ) -> None:
        flags, value = TYPED[name]
        run_cli("train", pets_folder, "--out", "nowhere", "--preset", "default", *flags)
        assert getattr(self.config_of(given), name) == value
        assert value != pw.Config.model_fields[name].default or name == "freeze_encoder"
        # What was not typed is not given: a preset's own values stay.
        assert set(given) - {name} == {"out", "data", "preset", "resume", "plan"}

    def test_without_a_preset_flags_go_over_the_plan(
        self, run_cli: Callable[..., Ran], given: dict[str, Any], pets_folder: Path
    ) -> None:
        ran = run_cli("train", pets_folder, "--out", "nowhere", "--size", "64", "--lr", "0.25")
        assert {name: given[name] for name in given if name in pw.Config.model_fields} == {
            "size": 64, "lr": 0.25, "preset": None,
        }  # fmt: skip
        plan = given["plan"].settings
        assert (plan["size"], plan["lr"], plan["freeze_encoder"]) == (64, 0.25, True), "ten images: it stays frozen"
        assert "size: 64" in ran.out and "# as given" in ran.out
        for name in plan:
            assert f"\n  {name}: " in ran.out

    def test_every_setting_is_used(self) -> None:
        read = set()
        for file in SOURCES.rglob("*.py"):
            if file.name == "config.py":
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "config":
                    read.add(node.attr)
        # A property that is read elsewhere reads what it is made of.
        made_of = {name for name, value in vars(pw.Config).items() if isinstance(value, property)} & read
        for node in ast.walk(ast.parse((SOURCES / "config.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name in made_of:
                parts = [each for each in ast.walk(node) if isinstance(each, ast.Attribute)]
                read |= {each.attr for each in parts if ast.unparse(each.value) == "self"}
        assert set(pw.Config.model_fields) - {"preset"} <= read

    def test_presets_and_negations(self, run_cli: Callable[..., Ran], given: dict[str, Any], pets_folder: Path) -> None:
        run_cli("train", pets_folder, "--out", "x", "--preset", "tutorial", "--no-freeze-encoder", "--epochs=2")
        config = self.config_of(given)
        assert (config.preset, config.freeze_encoder, config.epochs, config.batch_size) == ("tutorial", False, 2, 64)
        assert given["resume"] is False
        assert given["plan"] is None

    def test_resuming_reads_masks_as_the_run_did(
        self, run_cli: Callable[..., Ran], given: dict[str, Any], own_run: Path, pets_folder: Path
    ) -> None:
        manifest = own_run / "data.yaml"
        manifest.write_text(manifest.read_text().replace("  border:", "  edge:"))
        run_cli("train", pets_folder, "--out", own_run, "--resume")
        assert given["resume"] is True and given["plan"] is None
        assert given["data"].classes == ("pet", "background", "edge")


def _no_mask(data: Path) -> Path:
    mask = sorted((data / "annotations" / "trimaps").glob("*.png"))[2]
    mask.unlink()
    return mask


def _listed(data: Path) -> tuple[Path, Path]:
    name = (data / "annotations" / "trainval.txt").read_text().splitlines()[4].split()[0]
    return data / "images" / f"{name}.jpg", data / "annotations" / "trimaps" / f"{name}.png"


def _other_size(data: Path) -> Path:
    image, mask = _listed(data)
    Image.new("L", (7, 9), 1).save(mask)
    return image


def _truncated(data: Path) -> Path:
    image, _ = _listed(data)
    image.write_bytes(image.read_bytes()[:900])
    return image


def _strange_value(data: Path) -> Path:
    _, mask = _listed(data)
    with Image.open(mask) as opened:
        values = np.array(opened)
    values[3, 4] = 77
    Image.fromarray(values).save(mask)
    return mask


BAD_DATA: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no mask": (_no_mask, "has no mask"),
    "sizes that differ": (_other_size, "must be of one size"),
    "a truncated image": (_truncated, "truncated or corrupt"),
    "a mask value outside the classes": (_strange_value, "mask value 77 is outside the classes"),
}

QUICK = ["--encoder", "test_efficientnet", "--encoder-weights", "none", "--size", "32", "--epochs", "1"]

BAD_FLAGS: dict[str, tuple[list[str], list[str]]] = {
    "encoder": (["--encoder", "resnet19"], ["unknown encoder 'resnet19'", "resnet18"]),
    "layer": (["--layers", "blocks.0", "blocks.77"], ["unknown layer 'blocks.77'", "blocks.3", "conv_stem"]),
    "loss": (["--loss", "l2"], ["unknown loss 'l2'", "cross_entropy", "dice", "focal"]),
    "decoder": (["--decoder", "unet"], ["unknown decoder 'unet'", "light", "pix2pix"]),
    "augment": (["--augment", "mixup"], ["unknown augment 'mixup'", "flip", "crop"]),
    "class name": (["--class-weights", "cat=2"], ["unknown class 'cat'", "pet, background, border"]),
    "class weights": (["--class-weights", "pet:2"], ["pet:2", "balanced", "pet=2,border=1"]),
    "no weight at all": (["--class-weights", "pet=0,background=0,border=0"], ["weights are all 0"]),
    "preset": (["--preset", "nnunet"], ["nnunet", "default", "tutorial"]),
    "size that is no number": (["--size", "large"], ["--size", "integer", "large"]),
    "size too small": (["--size", "8"], ["size", "32"]),
    "epochs": (["--epochs", "0"], ["epochs", "1"]),
    "weights file": (["--encoder-weights", "gone.safetensors"], ["gone.safetensors", "embedded, hub, none"]),
    "no weights embedded": (["--encoder-weights", "embedded"], ["no package embeds", "tf_efficientnet_lite0"]),
    "device": (["--device", "tpu7"], ["device 'tpu7' is not on this machine", "cpu"]),
    "unknown flag": (["--learning-rate", "1"], ["--learning-rate"]),
    "not a run to resume": (["--resume"], ["holds no run"]),
}


class TestBadInput:
    def assert_one_line(self, ran: Ran, *said: str | Path) -> None:
        assert ran.code == 2
        assert ran.out == ""
        lines = ran.err.splitlines()
        assert len(lines) == 1 and ran.err.endswith("\n"), ran.err
        assert lines[0].startswith("pixelwise: error: ")
        assert "Traceback" not in ran.err
        for part in said:
            assert str(part) in lines[0]

    @pytest.mark.parametrize("bad", BAD_DATA)
    def test_data(self, bad: str, run_cli: Callable[..., Ran], own_pets: Path, tmp_path: Path) -> None:
        breaking, said = BAD_DATA[bad]
        named = breaking(own_pets)
        before = listing(own_pets)
        ran = run_cli("train", own_pets, "--out", tmp_path / "run", *QUICK)
        self.assert_one_line(ran, said, named)
        assert not (tmp_path / "run").exists()
        assert listing(own_pets) == before

    @pytest.mark.parametrize("bad", BAD_FLAGS)
    def test_flags(self, bad: str, run_cli: Callable[..., Ran], pets_folder: Path, tmp_path: Path) -> None:
        flags, said = BAD_FLAGS[bad]
        kept = [pair for i in range(0, len(QUICK), 2) if QUICK[i] not in flags for pair in QUICK[i : i + 2]]
        ran = run_cli("train", pets_folder, "--out", tmp_path / "run", *kept, *flags)
        self.assert_one_line(ran, *said)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ["train", "evaluate", "show"])
    def test_no_such_folder(self, command: str, run_cli: Callable[..., Ran], own_run: Path, tmp_path: Path) -> None:
        gone = tmp_path / "gone"
        tokens = {"train": ["train", gone, "--out", tmp_path / "out"], "show": ["show", gone]}
        ran = run_cli(*tokens.get(command, [command, own_run, gone]))
        self.assert_one_line(ran, gone, "no such folder")
        assert not (tmp_path / "out").exists()

    def test_a_folder_of_no_known_format(self, run_cli: Callable[..., Ran], tmp_path: Path) -> None:
        (tmp_path / "stuff").mkdir()
        self.assert_one_line(run_cli("show", tmp_path / "stuff"), "not laid out as any format", "oxford-pets")

    def test_a_run_in_the_way(self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path) -> None:
        before = listing(own_run)
        ran = run_cli("train", pets_folder, "--out", own_run, *QUICK)
        self.assert_one_line(ran, own_run, "already holds a run", "--resume")
        assert listing(own_run) == before

    def test_resuming_with_other_settings(self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path) -> None:
        before = listing(own_run)
        ran = run_cli("train", pets_folder, "--out", own_run, "--resume", "--epochs", "5", "--lr", "7")
        self.assert_one_line(ran, "--resume cannot change lr")
        assert listing(own_run) == before

    def test_no_run(self, run_cli: Callable[..., Ran], pets_folder: Path, tmp_path: Path) -> None:
        gone, image = tmp_path / "gone", next((pets_folder / "images").iterdir())
        self.assert_one_line(run_cli("evaluate", gone, pets_folder), gone)
        self.assert_one_line(run_cli("predict", gone, image, "--out", tmp_path / "out"), gone)
        assert list(tmp_path.iterdir()) == []

    def test_a_broken_model(self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path) -> None:
        (own_run / "model.safetensors").write_bytes(b"half of it")
        self.assert_one_line(run_cli("evaluate", own_run, pets_folder), own_run, "cannot be read")

    @pytest.mark.parametrize("tokens", [["bogus"], ["train"], ["predict", "run"], ["show"]], ids=" ".join)
    def test_commands(self, tokens: list[str], run_cli: Callable[..., Ran]) -> None:
        self.assert_one_line(run_cli(*tokens))

    def test_a_stop_by_the_keyboard(
        self, run_cli: Callable[..., Ran], pets_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stopped(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli, "train", stopped)
        ran = run_cli("train", pets_folder, "--out", "x", "--preset", "default")
        assert ran.code == 130
        assert len(ran.err.splitlines()) == 1 and "--resume" in ran.err


class TestCommands:
    def test_evaluate(self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path) -> None:
        ran = run_cli("evaluate", own_run, pets_folder)
        assert ran.code == 0 and ran.err == ""
        stored = json.loads((own_run / "evaluation-test.json").read_text())
        for name, figures in stored["classes"].items():
            (row,) = [line for line in ran.out.splitlines() if f" {name} " in line]
            assert f"{figures['iou']:.1%}" in row
        assert f"accuracy {stored['accuracy']:.2%} · mean IoU {stored['miou']:.2%}" in ran.out

    def test_evaluate_into_a_file(
        self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "figures.json"
        assert run_cli("evaluate", own_run, pets_folder, "--out", out, "--resolution", "model").code == 0
        assert json.loads(out.read_text())["resolution"] == "64x64"
        before = listing(tmp_path)
        ran = run_cli("evaluate", own_run, pets_folder, "--out", out)
        TestBadInput().assert_one_line(ran, out, "is already there")
        assert listing(tmp_path) == before

    def test_predict_goes_on_past_a_file_that_is_no_image(
        self, run_cli: Callable[..., Ran], own_run: Path, own_pets: Path, tmp_path: Path
    ) -> None:
        (own_pets / "images" / "A_broken.jpg").write_bytes(b"no image")
        (own_pets / "notes.txt").write_text("no image either")
        out = tmp_path / "out"
        ran = run_cli("predict", own_run, own_pets / "images", own_pets / "notes.txt", "--out", out)
        assert ran.code == 1
        skipped = ran.err.splitlines()
        assert len(skipped) == 2 and "A_broken.jpg" in skipped[0] and "notes.txt" in skipped[1]
        assert "22 images predicted" in ran.out
        assert len(json.loads((out / "predictions.json").read_text())["photos"]) == 22
        assert len(list(out.glob("*_mask.png"))) == len(list(out.glob("*_overlay.png"))) == 22

    def test_predict_of_good_images_alone(
        self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path, tmp_path: Path
    ) -> None:
        images = sorted((pets_folder / "images").iterdir())[:2]
        ran = run_cli("predict", own_run, *images, "--out", tmp_path / "out")
        assert (ran.code, ran.err) == (0, "")
        assert len(list((tmp_path / "out").iterdir())) == 5
        before = listing(tmp_path / "out")
        ran = run_cli("predict", own_run, *images, "--out", tmp_path / "out")
        TestBadInput().assert_one_line(ran, "is already there")
        assert listing(tmp_path / "out") == before

    def test_show_writes_a_image_and_never_over_another(
        self, run_cli: Callable[..., Ran], pets_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        ran = run_cli("show", pets_folder)
        assert ran.code == 0 and "pet, background, border" in ran.out
        assert [path.name for path in tmp_path.iterdir()] == ["oxford-iiit-pet-train.png"]
        with Image.open("oxford-iiit-pet-train.png") as sheet:
            assert min(sheet.size) > 100
            assert len(sheet.convert("RGB").getcolors(1 << 24) or []) > 1000
        before = listing(tmp_path)
        assert "oxford-iiit-pet-train-2.png" in run_cli("show", pets_folder, "--count", "2").out
        assert "oxford-iiit-pet-test.png" in run_cli("show", pets_folder, "--split", "test", "--count", "99").out
        TestBadInput().assert_one_line(
            run_cli("show", pets_folder, "--out", "oxford-iiit-pet-train.png"), "is already there"
        )
        TestBadInput().assert_one_line(run_cli("show", pets_folder, "--count", "0"), "1 or more")
        TestBadInput().assert_one_line(run_cli("show", pets_folder, "--split", "val"), "'val'", "train, test")
        after = listing(tmp_path)
        assert len(after) == 3 and all(after[path] == content for path, content in before.items())

    def test_resume(self, run_cli: Callable[..., Ran], own_run: Path, pets_folder: Path) -> None:
        ran = run_cli("train", pets_folder, "--out", own_run, "--resume", "--epochs", "3")
        assert ran.code == 0
        assert "of 3" in ran.out and str(own_run) in ran.out
        rows = (own_run / "metrics.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]


def test_training_from_a_shell_says_a_line_an_epoch_into_a_file(pets_folder: Path, tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w") as out, (tmp_path / "err.txt").open("w") as err:
        command = [sys.executable, "-W", "error", "-m", "pixelwise", "train", pets_folder, "--out", tmp_path / "run"]
        command += ["--preset", "default"]
        done = subprocess.run(
            [*command, *QUICK[:-1], "2", "--batch-size", "2"],
            stdout=out,
            stderr=err,
            timeout=120,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
    printed, told = (tmp_path / "out.txt").read_text(), (tmp_path / "err.txt").read_text()
    assert done.returncode == 0, told
    assert told == ""
    lines = printed.splitlines()
    assert sum(line.startswith("epoch ") for line in lines) == 2
    assert len(lines) <= 8, "a line a step?"
    assert "\r" not in printed and "\x1b" not in printed
    steps = json.loads((tmp_path / "run" / "last" / "progress.json").read_text())["step"]
    assert steps >= 6
