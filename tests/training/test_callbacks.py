"""What happens around the loop: images in a notebook alone, and events that hold the rows."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pixelwise as pw
from pixelwise.runs.run_dir import Row
from pixelwise.runtime.notebook import show_in_notebook
from pixelwise.training.callbacks.checkpoint import ModelCheckpoint
from pixelwise.training.callbacks.tensorboard import TensorBoardLogger
from pixelwise.training.state import TrainState


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A stand-in for IPython: `shell` is what runs, `images` what was displayed."""
    found = SimpleNamespace(shell=None, images=[])
    display = ModuleType("IPython.display")
    display.Image = lambda filename: ("image", filename)  # type: ignore[attr-defined]
    display.display = found.images.append  # type: ignore[attr-defined]
    ipython = ModuleType("IPython")
    ipython.version_info = (9, 0)  # type: ignore[attr-defined]  # matplotlib asks
    ipython.display = display  # type: ignore[attr-defined]
    ipython.get_ipython = lambda: found.shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    yield found


class TestNotebook:
    def test_a_notebook_shows_the_image(self, shown: SimpleNamespace, tmp_path: Path) -> None:
        shown.shell = SimpleNamespace(config={"IPKernelApp": {}})
        show_in_notebook(tmp_path / "epoch_001.png")
        assert shown.images == [("image", str(tmp_path / "epoch_001.png"))]

    @pytest.mark.parametrize("shell", [None, SimpleNamespace(config={})], ids=["no shell", "a terminal"])
    def test_elsewhere_nothing_is_shown(
        self, shown: SimpleNamespace, shell: object, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown.shell = shell
        show_in_notebook(Path("epoch_001.png"))
        assert shown.images == []
        assert capsys.readouterr().out == ""

    def test_without_ipython_nothing_breaks(self, shown: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "IPython", None)
        show_in_notebook(Path("epoch_001.png"))
        assert shown.images == []

    def test_training_shows_each_epoch_and_the_loss_curve(
        self, shown: SimpleNamespace, pets: pw.DatasetIndex, tmp_path: Path
    ) -> None:
        shown.shell = SimpleNamespace(config={"IPKernelApp": {}})
        run = pw.train(
            pets, tmp_path / "run", encoder="test_efficientnet", encoder_weights="none", size=32, epochs=1,
            batch_size=4, samples=1,
        )  # fmt: skip
        names = [Path(name).name for _, name in shown.images]
        assert names == ["epoch_000.png", "epoch_001.png", run.history_image.name]


@pytest.fixture(scope="module")
def events(tiny_run: pw.Run) -> EventAccumulator:
    found = EventAccumulator(str(tiny_run.tensorboard_folder))
    found.Reload()
    return found


class TestTensorBoard:
    def test_it_holds_the_rows(self, events: EventAccumulator, tiny_run: pw.Run) -> None:
        rows = tiny_run.read_metrics()
        names = {name for name, value in rows[0].items() if value is not None} - {"epoch", "step"}
        assert set(events.Tags()["scalars"]) == names
        for name in names:
            series = [(event.step, event.value) for event in events.Scalars(name)]
            expected = [(int(row["epoch"] or 0), row[name]) for row in rows if row[name] is not None]
            assert [step for step, _ in series] == [step for step, _ in expected]
            assert [value for _, value in series] == pytest.approx([value for _, value in expected], rel=1e-6)

    def test_it_holds_the_sample_images(self, events: EventAccumulator, tiny_run: pw.Run, tmp_path: Path) -> None:
        images = events.Images("samples")
        assert [event.step for event in images] == [1, 2]
        (tmp_path / "stored.png").write_bytes(images[-1].encoded_image_string)
        with Image.open(tmp_path / "stored.png") as stored, Image.open(tiny_run.sample_image(2)) as drawn:
            assert np.array_equal(stored.convert("RGB"), drawn.convert("RGB"))

    def test_it_does_without_the_images(self, pets: pw.DatasetIndex, tmp_path: Path) -> None:
        run = pw.train(
            pets, tmp_path / "run", hooks=[TensorBoardLogger()], encoder="test_efficientnet", encoder_weights="none",
            size=32, epochs=1, batch_size=4,
        )  # fmt: skip
        found = EventAccumulator(str(run.tensorboard_folder))
        found.Reload()
        assert "val_loss" in found.Tags()["scalars"] and found.Tags()["images"] == []


def state_of(scores: list[float | None]) -> TrainState:
    rows: list[Row] = [{"val_miou": score} for score in scores]
    return TrainState(run=None, data=None, model=None, sample_records=[], history=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scores", "best"),
    [([], 0), ([0.1], 1), ([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([None, 0.0], 2), ([None], 1), ([0.0, None], 1)],
    ids=str,
)
def test_the_best_epoch_is_the_first_of_the_highest(scores: list[float | None], best: int) -> None:
    assert state_of(scores).best_epoch == best


def test_the_best_model_is_written_when_it_is_best_alone() -> None:
    written: list[int] = []
    run = SimpleNamespace(save_best_model=lambda model, row: written.append(row["epoch"]))
    state = state_of([])
    state.run = run  # type: ignore[assignment]
    for epoch, score in enumerate([0.2, 0.1, 0.4, 0.4, 0.5], start=1):
        state.history.append({"epoch": epoch, "val_miou": score})
        ModelCheckpoint().on_epoch(state)
    assert written == [1, 3, 5]
