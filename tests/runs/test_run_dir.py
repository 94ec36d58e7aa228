"""The run directory: files read back equal, nothing is half written or overwritten, nothing is a pickle."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file

import pixelwise as pw
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, OutputExistsError, RunError
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import lock_file
from tests.runs.helpers import kill_after

fcntl = pytest.importorskip("fcntl")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Start a run."""
    run = Run(tmp_path / "run", pw.Config(epochs=5))
    run.start()
    return run


class TestDirectory:
    def test_a_started_run_can_be_opened(self, run: Run) -> None:
        assert Run.open(run.path) == Run.open(str(run.path)) == run
        written = yaml.safe_load((run.path / "config.yaml").read_text())
        assert written == {"format": 2, "preset": "default", **run.config.model_dump(mode="json")}

    def test_settings_and_preset_read_back_equal(self, tmp_path: Path) -> None:
        config = pw.Config.from_preset(
            "tutorial", class_weights="pet=2,border=0.5", seed=7, loss={"name": "focal", "gamma": 3}
        )
        run = Run(tmp_path / "run", config, "tutorial")
        run.start()
        assert Run.open(run.path) == run and Run.open(run.path).preset == "tutorial"

    def test_an_empty_directory_can_be_used(self, tmp_path: Path) -> None:
        Run.ensure_empty(tmp_path)
        Run.ensure_empty(tmp_path / "new")
        Run(tmp_path, pw.Config()).start()
        assert Run.open(tmp_path) == Run(tmp_path, pw.Config())

    def test_a_run_is_not_overwritten(self, run: Run) -> None:
        before = (run.path / "config.yaml").read_bytes()
        for start in (lambda: Run.ensure_empty(run.path), lambda: Run(run.path, pw.Config(epochs=9)).start()):
            with pytest.raises(
                OutputExistsError, match=r"contains a run; set `resume` to continue it, or choose another `out`"
            ):
                start()
        assert (run.path / "config.yaml").read_bytes() == before

    def test_other_files_are_not_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("mine")
        for path in (tmp_path, tmp_path / "notes.txt"):
            with pytest.raises(OutputExistsError, match=r"not an empty directory; choose another `out`"):
                Run.ensure_empty(path)
        with pytest.raises(RunError, match=r"cannot be created"):
            Run(tmp_path / "notes.txt" / "run", pw.Config()).start()
        assert (tmp_path / "notes.txt").read_text() == "mine"

    def test_a_directory_without_a_run(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"missing: not a run directory \(no config\.yaml\); create one"):
            Run.open(tmp_path / "missing")
        (tmp_path / "model.onnx").write_bytes(b"")
        with pytest.raises(RunError, match=r"model\.onnx: is a file, not a run directory; name the directory"):
            Run.open(tmp_path / "model.onnx")

    @pytest.mark.parametrize("text", [b"", b"epochs: [", b"epochs: 0\n", b"epoch: 3\n", b"\xff\xfe\x81", b"- 1\n"])
    def test_broken_settings_are_named_in_one_line(self, run: Run, text: bytes) -> None:
        (run.path / "config.yaml").write_bytes(text)
        with pytest.raises(ConfigError, match=r"config\.yaml") as error:
            Run.open(run.path)
        assert "\n" not in str(error.value)

    def test_two_trainings_cannot_use_one_directory(self, run: Run) -> None:
        with run.lock(), pytest.raises(RunError, match="another process is training in this directory"):
            run.lock()
        run.lock().close()

    def test_a_file_that_another_process_just_replaced_is_not_locked(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def replace(path: Path, exclusive: bool) -> object:
            file = lock_file(path, exclusive)
            run.write_config()
            return file

        monkeypatch.setattr("pixelwise.runs.run_dir.lock_file", replace)
        with pytest.raises(RunError, match="another process is training in this directory"):
            run.lock()

    @pytest.mark.parametrize("calls", range(5))
    def test_a_start_that_is_killed_can_be_repeated(
        self, calls: int, pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path, spec = tmp_path / "run", DatasetSpec.of(pets)
        plan = pw.Plan(spec, {"epochs": 3})
        with monkeypatch.context() as patch:
            kill_after(patch, "pathlib.Path.replace", calls)
            with suppress(KeyboardInterrupt):
                Run(path, pw.Config()).start(spec, plan)
        assert Run.exists(path) == (calls >= 3), "config.yaml is the last one of three files"
        if not Run.exists(path):
            Run.ensure_empty(path)
            Run(path, pw.Config()).start(spec, plan)
        assert {entry.name for entry in path.iterdir()} == {"config.yaml", "data.yaml", "plan.yaml", "samples"}
        assert Run.open(path).read_dataset_spec() == spec and pw.Plan.read(path / "plan.yaml") == plan

    def test_two_processes_cannot_start_one_run(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "run", pw.Config())
        run.path.mkdir()
        mark = run.path / ".pixelwise-start"
        mark.touch()
        with mark.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(RunError, match="another process is training in this directory"):
                run.start()
        run.start()
        assert Run.open(run.path) == run

    def test_what_killed_processes_left_is_removed(self, run: Run) -> None:
        for name in (".pixelwise-0123456789ab/metrics.csv", "samples/.pixelwise-0123456789ab/x.png", "last.part/x"):
            (run.path / name).parent.mkdir(parents=True)
            (run.path / name).touch()
        (run.path / ".pixelwise-start").touch()
        run.remove_leftovers()
        assert {path.name for path in run.path.rglob("*")} == {"config.yaml", "samples"}

    def test_an_animation_older_than_the_last_image_is_incomplete(self, run: Run) -> None:
        assert not run.lacks_animation(1), "no images were drawn"
        run.sample_image(1).touch()
        assert run.lacks_animation(1)
        run.samples_animation.touch()
        assert not run.lacks_animation(1)
        os.utime(run.samples_animation, (1000, 1000))
        assert run.lacks_animation(1)

    def test_sample_images_are_listed_in_order(self, run: Run) -> None:
        for epoch in (10, 2, 0):
            run.sample_image(epoch).touch()
        assert run.sample_images(9) == [run.sample_image(0), run.sample_image(2)]


class TestMetrics:
    ROWS: tuple[dict[str, float | None], ...] = (
        {"epoch": 1, "train_loss": 0.1 + 0.2, "val_miou": None},
        {"epoch": 2, "train_loss": 1e-9, "val_miou": 2 / 3},
    )

    def test_rows_read_back_equal(self, run: Run) -> None:
        assert run.read_metrics() == [], "before the first epoch"
        run.write_metrics(self.ROWS)
        assert run.read_metrics() == list(self.ROWS)
        header, first, _ = (run.path / "metrics.csv").read_text().splitlines()
        assert header == "epoch,train_loss,val_miou"
        assert first == "1,0.30000000000000004,"

    @pytest.mark.parametrize(
        "content",
        [
            b"epoch,val_miou\n1,high\n",
            b"epoch,train_loss\n1,0.5\n",
            b"epoch,val_miou\n1\n",
            b"epoch,val_miou\n1,0.5,7\n",
            b"epoch,val_miou\n2,0.5\n",
            b"epoch,val_miou\n,0.5\n",
            b"\xff\x00\x81\n\x00",
        ],
        ids=["text", "columns", "short", "long", "number", "no number", "binary"],
    )
    def test_a_damaged_file_is_named_in_one_line(self, run: Run, content: bytes) -> None:
        (run.path / "metrics.csv").write_bytes(content)
        with pytest.raises(RunError, match=r"metrics\.csv: cannot be read \(.*\); restore it") as error:
            run.read_metrics()
        assert "\n" not in str(error.value)

    def test_a_kill_leaves_the_old_file(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        run.write_metrics(self.ROWS[:1])
        with monkeypatch.context() as patch:
            kill_after(patch, "pathlib.Path.write_text", 0)
            with pytest.raises(KeyboardInterrupt):
                run.write_metrics(self.ROWS)
        assert run.read_metrics() == list(self.ROWS[:1])
        assert {path.name for path in run.path.iterdir()} == {"config.yaml", "samples", "metrics.csv"}


def test_the_columns_of_metrics_csv(tiny_run: pw.Run) -> None:
    with (tiny_run.path / "metrics.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == [
        "epoch", "step", "seconds", "train_seconds", "train_loss", "val_loss", "val_accuracy", "val_miou",
        "iou_pet", "iou_background", "iou_border", "images_per_second", "learning_rate",
    ]  # fmt: skip
    assert [int(row[0]) for row in rows] == [1, 2]


def _opens_as_events(path: Path) -> bool:
    """Return True for a complete TFRecord file: records of length, checksum, event and checksum, to the last byte."""
    data, position = path.read_bytes(), 0
    while position < len(data):
        position += 8 + 4 + int.from_bytes(data[position : position + 8], "little") + 4
    return position == len(data) > 0


def _opens_as_image(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
        return image.format == Image.registered_extensions()[path.suffix]


OPEN: dict[str, Callable[[Path], object]] = {
    ".safetensors": load_file,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".yaml": lambda path: yaml.safe_load(path.read_text(encoding="utf-8")),
    ".csv": lambda path: list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())),
    ".html": lambda path: path.read_text(encoding="utf-8").startswith("<!doctype html>"),
    ".png": _opens_as_image,
    ".jpg": _opens_as_image,
    ".gif": _opens_as_image,
}
"""Suffix → a function that raises an error, or returns False, if a file is not what its suffix says."""


def test_no_file_of_a_run_is_a_pickle(tiny_run: pw.Run, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.path, folder)
    assert pw.evaluate(folder, pets, out="auto").path == folder / "evaluation-test.json"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        if path.parent.name == "tensorboard":
            assert path.name.startswith("events.out.tfevents.") and _opens_as_events(path), path
        else:
            assert OPEN[path.suffix](path), path
        # A pickle begins with its protocol, a zip of pickles with PK.
        assert path.read_bytes()[:2] not in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"), path
