"""Messages about a training that stops early: its state, and the command that continues it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import PixelwiseError
from pixelwise.reporting.training_text import describe_best_epoch, resume_command
from pixelwise.runs.run_dir import Run

if TYPE_CHECKING:
    from pixelwise.cli.train_run import Request


def stop_text(target: Path, request: "Request") -> str:
    """Return the state of an interrupted training, and the command that continues it."""
    if not Run.exists(target):
        return "the training has not begun; run the command again"
    advice = resume_advice(target, request)
    run = Run.open(target)
    checkpoint, rows = run.load_checkpoint(), run.read_metrics()
    if checkpoint is None or not rows or not (target / "model.safetensors").exists():
        return f"no epoch is complete, so there is no model yet; {advice}"
    best = f"best model so far: {target / 'model.safetensors'} ({describe_best_epoch(rows)})"
    epochs = request.settings.get("epochs", run.config.epochs)
    is_last = run.config.time_budget is None and checkpoint.epoch == epochs
    next_epoch = "all epochs are complete" if is_last else f"the next epoch is {checkpoint.epoch + 1}"
    return f"{best}; {next_epoch}; {advice}"


@contextmanager
def resume_hint(target: Path, request: "Request") -> Iterator[None]:
    """Add the command that continues the run to errors of the block that end with "with `resume`".

    Args:
        target: the run directory.
        request: the arguments of the command.
    """
    try:
        yield
    except PixelwiseError as error:
        if str(error).endswith("with `resume`") and Run.exists(target):
            error.args = (f"{error}: {_continuing_command(target, request)}",)
        raise


def resume_advice(target: Path, request: "Request") -> str:
    """Return the advice to continue a run.

    Args:
        target: the run directory.
        request: the arguments of the command.
    """
    return f"continue with: {_continuing_command(target, request)}"


def _continuing_command(target: Path, request: "Request") -> str:
    flags = ["--allow-outside"] if request.options.allow_outside else []
    if request.repeats.learning_curve:
        flags.append("--learning-curve")
    epochs = request.settings.get("epochs")
    if epochs is not None and Run.exists(target) and Run.open(target).config.epochs != epochs:
        flags += ["--epochs", str(epochs)]  # the interrupt came before the run had the new number
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return resume_command(target, flags, processes)
