"""Failures of the machine during a training are errors in one line with a fix."""

import errno
import gc
import os
import signal
from pathlib import Path

import pytest
import torch

import pixelwise as pw
from pixelwise.errors import DataError, OutputError, WorkerCrashedError
from pixelwise.runs.run_dir import Run
from pixelwise.training.callbacks import Callback
from pixelwise.training.failures import explain_failures
from pixelwise.training.state import TrainState
from tests.training.helpers import SMALL, assert_same_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", pw.Config())


def test_a_killed_worker(run: Run) -> None:
    with pytest.raises(WorkerCrashedError) as error, explain_failures(run, ()):
        raise RuntimeError("DataLoader worker (pid 7675) is killed by signal: Killed. ")
    assert str(error.value) == (
        "a process that loads images is killed by signal: Killed; perhaps memory ran out: lower `num_workers` or "
        "`batch_size`, and continue with `resume`"
    )


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit.",
        "Caught RuntimeError in DataLoader worker process 0.\nRuntimeError: unable to write to file </torch_7_1_0>: "
        "No space left on device (28)",
    ],
)
def test_full_shared_memory(text: str, run: Run) -> None:
    with pytest.raises(WorkerCrashedError, match="shared memory is full; set `num_workers` to 0"):  # noqa: SIM117
        with explain_failures(run, ()):
            raise RuntimeError(text)


def test_a_full_disk(run: Run) -> None:
    with pytest.raises(OutputError) as error, explain_failures(run, ()):
        raise OutputError(f"{run.path}/last: no space left on device; free space, then try again")
    assert str(error.value).endswith("last: no space left on device; free space, then try again with `resume`")
    with pytest.raises(OutputError, match=r"run: no space left on device.*`resume`"), explain_failures(run, ()):
        raise OSError(errno.ENOSPC, "No space left on device")  # for example, of TensorBoard


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.EIO, "I/O error"), RuntimeError("shape")])
def test_other_errors_are_raised_as_they_are(error: Exception, run: Run) -> None:
    with pytest.raises(type(error)) as caught, explain_failures(run, ()):
        raise error
    assert caught.value is error


class _FlipCache(Callback):
    """Changes the values of the cached masks during the training, as a bad disk or another program could."""

    def on_train_start(self, state: TrainState) -> None:
        for images in state.datasets:
            assert images.cache_entry is not None
            path = images.cache_entry.folder / "masks.bin"
            with path.open("r+b") as file:
                file.write(b"\xc8" * path.stat().st_size)


@pytest.mark.integration
def test_a_cache_that_changes_during_the_training(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    settings = SMALL | {"epochs": 1}
    with pytest.raises(DataError, match=r"the image cache was changed during its use; .* with `resume`"):
        pw.train(pets, tmp_path / "run", callbacks=[_FlipCache()], **settings)
    run = pw.train(pets, tmp_path / "run", resume=True, defaults=False)
    assert_same_run(run, pw.train(pets, tmp_path / "other", **settings))


class _KillWorker(Callback):
    def on_epoch_end(self, state: TrainState) -> None:
        for process in torch.multiprocessing.active_children():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)


@pytest.mark.integration
def test_a_worker_that_is_killed_ends_the_training(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    # torch's signal handler raises in the code that runs just then. In a callback of the garbage collector, such as
    # that of Hypothesis, Python would only print the error.
    gc.disable()
    try:
        with pytest.raises(WorkerCrashedError, match=r"lower `num_workers`"):
            pw.train(pets, tmp_path / "run", callbacks=[_KillWorker()], **SMALL | {"epochs": 2, "num_workers": 1})
    finally:
        gc.enable()
