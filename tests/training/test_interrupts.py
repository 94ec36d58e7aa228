"""Interrupts at many points of a training: no complete epoch is lost, and the result does not change."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import pixelwise as pw
from pixelwise.errors import TrainingDivergedError
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.models.tensor_files import write_tensors
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks import Callback
from pixelwise.training.loggers.csv import CSVLogger
from pixelwise.training.recording import Recorder, _save_despite_interrupts
from pixelwise.training.state import TrainState
from tests.training.helpers import SMALL, assert_same_run
from tests.training.test_resume import noisy_loss

EPOCHS = 10


class Point(NamedTuple):
    """A point at which a training is interrupted.

    Attributes:
        target: a function, "MODULE:NAME" or "MODULE:CLASS.NAME".
        call: the number of its call that is interrupted, from 1.
        is_after: True to interrupt when the function has done its work, False before.
        epochs: number of epochs that this training completes.
    """

    target: str
    call: int
    is_after: bool
    epochs: int


POINTS = (
    Point("pixelwise.training.epoch:update_weights", 2, True, 0),
    Point("pixelwise.training.epoch:Metrics.from_confusion", 1, False, 0),  # validation of the first epoch
    Point("pixelwise.training.progress:TrainingProgress.epoch", 1, True, 1),  # the line has been printed
    Point("pixelwise.training.loggers.csv:CSVLogger.log_metrics", 1, False, 1),
    Point("pixelwise.training.loggers.csv:CSVLogger.log_metrics", 1, True, 1),
    Point("pixelwise.training.saving:Saver.save_epoch", 1, False, 1),
    Point("pixelwise.runs.checkpoint:write_tensors", 2, False, 1),  # the second file of the first checkpoint
    Point("pixelwise.runs.checkpoint:Checkpoint.copy", 1, False, 2),
    Point("pixelwise.training.epoch:update_weights", 5, True, 2),  # the checkpoint is in memory only
    Point("pixelwise.training.epoch:Metrics.from_confusion", 1, True, 0),
    Point("pixelwise.training.trainer:store_temperature", 1, False, 1),  # all epochs are complete
    Point("pixelwise.training.saving:Saver.finish", 1, False, 0),
)


def interrupt(patch: pytest.MonkeyPatch, point: Point) -> None:
    """Let one call of a function raise KeyboardInterrupt. Later calls succeed."""
    module, _, path = point.target.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    original, calls = getattr(owner, name), 0

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != point.call:
            return original(*args, **kwargs)
        if point.is_after:
            original(*args, **kwargs)
        raise KeyboardInterrupt

    is_static = isinstance(vars(owner).get(name), staticmethod)
    patch.setattr(owner, name, staticmethod(interrupted) if is_static else interrupted)


def completed_epochs(run: Path) -> int:
    checkpoint = Run.open(run).load_checkpoint()
    return 0 if checkpoint is None else checkpoint.epoch


@pytest.mark.integration
def test_no_interrupt_loses_an_epoch(pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = SMALL | {"epochs": EPOCHS, "loss": noisy_loss}
    whole = pw.train(pets, tmp_path / "whole", **settings)
    assert whole.read_metrics()[0]["step"] == 2, "`POINTS` counts two steps per epoch"
    run, done = tmp_path / "run", 0
    for point in POINTS:
        with monkeypatch.context() as patch:
            interrupt(patch, point)
            with pytest.raises(KeyboardInterrupt):
                pw.train(pets, run, resume=True, **settings)
        done += point.epochs
        assert completed_epochs(run) == len(Run.open(run).read_metrics()) == done, point
        assert not [path for path in run.rglob("*") if path.name.endswith((".part", ".old"))], point
        torch.manual_seed(99)  # other code draws random numbers in between
    assert done == EPOCHS
    assert_same_run(pw.train(pets, run, resume=True, **settings), whole)


class InterruptStep(Callback):
    """Interrupts a step of epoch 3, and the work after the interrupt too if `again` is set."""

    def __init__(self, again: bool = False) -> None:
        self.again = again

    def on_step_end(self, state: TrainState) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        if self.again:
            raise KeyboardInterrupt


STOP = (
    "stopping: epoch 3 is not complete (1 step), `resume` repeats it; the best model, epoch 2 and the drawings are "
    "saved; Ctrl-C again skips the drawings"
)


@pytest.mark.integration
def test_a_second_interrupt_skips_the_drawings_only(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    with caplog.at_level("INFO", logger="pixelwise"), pytest.raises(KeyboardInterrupt):
        pw.train(pets, run, callbacks=[InterruptStep(again=True)], **SMALL)
    assert caplog.messages[-2:] == [
        STOP,
        "stopping at once: the remaining drawings are skipped; all complete epochs are saved",
    ]
    assert completed_epochs(run) == 2
    caplog.clear()
    # Once more, while the last epoch is written.
    with caplog.at_level("INFO", logger="pixelwise"), monkeypatch.context() as patch:
        interrupt(patch, Point("pixelwise.runs.checkpoint:write_tensors", 3, False, 0))
        with pytest.raises(KeyboardInterrupt):
            pw.train(pets, tmp_path / "other", callbacks=[InterruptStep()], **SMALL)
    assert caplog.messages[-2:] == [
        STOP,
        "stopping at once: the drawings are skipped; the last complete epoch is saved first",
    ]
    assert completed_epochs(tmp_path / "other") == 2
    assert not list((tmp_path / "other").glob("last.*"))


class TestSavingDespiteInterrupts:
    """The saving after an interrupt starts again after each further interrupt."""

    def end(self, interrupts: int) -> list[str]:
        """End a training by an interrupt, and interrupt its saving. Return what the recorder has done."""
        done: list[str] = []

        def record_rest(cause: BaseException) -> None:
            done.append("started")
            if len(done) <= interrupts:
                raise KeyboardInterrupt
            done.append("saved")

        recorder: Any = SimpleNamespace(record_rest=record_rest)
        with pytest.raises(KeyboardInterrupt):
            _save_despite_interrupts(recorder, KeyboardInterrupt())
        return done

    @pytest.mark.parametrize("interrupts", [1, 2, 5, 9])
    def test_no_interrupt_loses_the_epoch(self, interrupts: int) -> None:
        assert self.end(interrupts) == ["started"] * (interrupts + 1) + ["saved"]

    def test_a_disk_that_does_not_respond_can_be_left(self) -> None:
        assert self.end(100) == ["started"] * 10


@pytest.mark.integration
def test_three_interrupts_within_one_write(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if 3 <= calls <= 5:  # the second checkpoint, which is written when the training ends
            raise KeyboardInterrupt
        return write_tensors(*args, **kwargs)

    monkeypatch.setattr("pixelwise.runs.checkpoint.write_tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pw.train(pets, tmp_path / "run", callbacks=[InterruptStep()], **SMALL)
    assert (calls >= 6, completed_epochs(tmp_path / "run")) == (True, 2)
    assert not list((tmp_path / "run").glob("last.*"))


@pytest.mark.integration
def test_a_loss_that_is_not_finite_leaves_the_epoch_before(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    class Spoil(Callback):
        """Makes the loss of the first step of epoch 4 NaN."""

        def on_epoch_start(self, state: TrainState) -> None:
            factor.fill_(torch.nan if state.epoch == 3 else 1.0)

    def spoiled(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        return cross_entropy(logits, mask, pixel_weights) * factor

    factor = torch.ones(())
    with pytest.raises(TrainingDivergedError, match="in epoch 4, step 1"):
        pw.train(pets, tmp_path / "run", loss=spoiled, callbacks=[Spoil()], **SMALL)
    assert completed_epochs(tmp_path / "run") == 3


def make_recorder(tmp_path: Path, loggers: Callable[[TrainState], list[Any]]) -> tuple[Recorder, list[str]]:
    """Return a recorder whose saver writes down what it saves."""
    run = Run(tmp_path, pw.Config())
    state: Any = SimpleNamespace(
        run=run, epoch=0, history=[], loggers=[], data=SimpleNamespace(classes=("pet", "background"))
    )
    state.loggers = loggers(state)
    setup: Any = SimpleNamespace(fabric=SimpleNamespace(is_global_zero=True), step=3)
    recorder, saved = Recorder(setup, state, []), list[str]()
    recorder.saver = SimpleNamespace(  # type: ignore[assignment]
        keep_best=lambda setup, row: saved.append("keep"),
        write_best=lambda setup: saved.append("best"),
        write_last=lambda setup, epoch: saved.append(f"last {epoch}"),
    )
    recorder.add({"epoch": 1, "step": 3, "val_miou": 0.5})
    state.epoch = 1
    return recorder, saved


class Failing:
    """A logger of a server that does not respond."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        raise OSError("no route to host")


def test_a_logger_that_fails_does_not_lose_the_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder, saved = make_recorder(tmp_path, lambda state: [Failing(), CSVLogger(state)])
    with pytest.raises(OSError, match="no route"):
        recorder.record()
    recorder.record_rest(OSError("no route to host"))
    assert saved == ["keep", "last 1"] and caplog.messages == [], "the error itself is raised, not logged"


def test_a_checkpoint_without_its_row_is_not_written(tmp_path: Path) -> None:
    recorder, saved = make_recorder(tmp_path, lambda state: [Failing()])
    recorder.record_rest(KeyboardInterrupt())
    assert saved == ["keep", "best"]
