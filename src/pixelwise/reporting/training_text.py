"""Print the start and the result of a training for the command line."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex
from pixelwise.errors import printable
from pixelwise.runs.metrics_file import Row, best_epoch
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.durations import format_duration


def print_start(out: Path, config: Config, seconds: float | None, done: int = 0) -> None:
    """Print the run directory, the estimated time of the training and its end, and how to stop it.

    Args:
        out: the run directory.
        config: the settings of the training.
        seconds: the estimated time from now on, or None if it is not known.
        done: number of epochs that are completed, if the training is resumed.
    """
    print(f"run directory: {printable(str(out))}")
    length = f"{config.epochs} epoch{'s' * (config.epochs != 1)}"
    if done:
        length = f"epochs {done + 1} to {config.epochs}" if done + 1 < config.epochs else f"epoch {config.epochs}"
    if config.time_budget is not None:
        length = "as many epochs as fit"
    patience = f", fewer if {config.patience} bring no better validation mIoU" if config.patience else ""
    print(f"time: {describe_time(seconds)}{length}{patience}")
    print("stop: Ctrl-C ends the training with the best model so far, and prints how to continue it", flush=True)


def describe_time(seconds: float | None) -> str:
    """Return a duration in seconds as text, with the clock time of its end and a final "; ". Return "" for None."""
    if seconds is None:
        return ""
    now = time.time()
    end = time.localtime(now + seconds)
    is_today = end.tm_yday == time.localtime(now).tm_yday
    return f"about {format_duration(seconds)}, until {time.strftime('%H:%M' if is_today else '%a %H:%M', end)}; "


def print_run(run: Run, data: DatasetIndex | None = None) -> None:
    """Print the best epoch of a training, the paths of its model and images, and the next commands.

    Args:
        run: a run with at least one completed epoch.
        data: the data set of the training, for the next commands. None to print no commands.
    """
    rows = run.read_metrics()
    seconds = rows[-1].get("seconds") or rows[-1]["train_seconds"] or 0.0
    print(
        f"best: {describe_best_epoch(rows)} (trained {format_duration(seconds)})\n"
        f"{printable(f'model:  {run.path}/model.safetensors')}\n"
        f"{printable(f'images: {run.samples_animation}, {run.history_image}, {run.architecture_image}')}"
    )
    for heading, command in zip(("next:  ", "       "), next_commands(run.path, data) if data else (), strict=False):
        print(printable(f"{heading} {command}"))


def describe_best_epoch(rows: Sequence[Row]) -> str:
    """Return the number of the best epoch, and its validation mIoU if it was measured.

    Args:
        rows: the metrics of all epochs, see `Run.read_metrics`. At least one.

    >>> describe_best_epoch([{"epoch": 1, "val_miou": 0.5}, {"epoch": 2, "val_miou": 0.4}])
    'epoch 1 of 2, validation mIoU 0.500'
    """
    best = rows[best_epoch(rows) - 1]
    score = "" if best["val_miou"] is None else f", validation mIoU {best['val_miou']:.3f}"
    return f"epoch {best['epoch']:.0f} of {len(rows)}{score}"


def next_commands(run: Path, data: DatasetIndex) -> list[str]:
    """Return the commands that evaluate the model of a run, and that predict the folder of its images.

    Args:
        run: the run directory.
        data: the data set of the training.

    Returns:
        Two lines, quoted for a POSIX shell. If no image has a path, the folder is "IMAGES".
    """
    records = (*data.test, *data.val, *data.train)
    folder = next((str(record.image.parent) for record in records if isinstance(record.image, Path)), "IMAGES")
    return [
        shlex.join(["pixelwise", "evaluate", str(run)]),
        shlex.join(["pixelwise", "predict", str(run), folder]),
    ]


def resume_command(run: Path, flags: Sequence[str] = (), processes: int = 1) -> str:
    """Return the command that continues a training.

    Args:
        run: the run directory.
        flags: further flags of the command that the run does not store.
        processes: number of processes on this machine that train together.

    Returns:
        One line, quoted for a POSIX shell.

    >>> resume_command(Path("runs/my pets"))
    "pixelwise train --resume 'runs/my pets'"
    """
    program = ["pixelwise"]
    if processes > 1:
        program = ["torchrun", "--nproc-per-node", str(processes), "-m", "pixelwise"]
    return shlex.join([*program, "train", "--resume", str(run), *flags])
