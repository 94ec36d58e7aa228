"""`pixelwise train`.

This module imports neither torch nor the library's modules that do, so that `pixelwise train --help` starts quickly.
"""

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pixelwise.cli.components import DataPath, check_data_exists
from pixelwise.cli.data_flags import DataFlags
from pixelwise.cli.training_flags import Preset, SettingFlags, parse_flags, require_data
from pixelwise.errors import ConfigError


def train_command(
    *data: DataPath,
    out: Path | None = None,
    plan: Path | None = None,
    preset: Preset | None = None,
    resume: Annotated[
        tuple[str, ...] | None,
        Parameter(consume_multiple=True, negative=(), negative_iterable=(), negative_none=(), show_default=False),
    ] = None,
    folds: int | None = None,
    seeds: int | None = None,
    learning_curve: Annotated[bool, Parameter(negative=())] = False,
    masks: DataFlags | None = None,
    settings: SettingFlags | None = None,
) -> int:
    """Train a model and write a run directory.

    Args:
        data: Directory of the data set, a table, or a URL. Several are joined, also if their classes differ. Not needed
            with --resume.
        out: Run directory. It must not exist, unless --resume is set. [default: runs/NAME, with NAME from DATA and a
            number if it exists]
        plan: A plan.yaml from pixelwise inspect, unchanged or edited. Flags override its settings.
        preset: Fixed settings instead of a plan: default, fast (a smaller network, for fast predictions), or tutorial
            (those of TensorFlow's tutorial).
        resume: Run directory to continue after its last completed epoch. The run stores its settings and the path of
            its data, so it needs no other argument. --epochs, --time-budget and --patience can be raised. If the
            directory has no run, and DATA is given, a new run starts.
        folds: Number of folds of a cross-validation. Trains one model per fold, and evaluates it on the images of the
            fold, which it did not train on.
        seeds: Number of trainings that differ only in their random seed. Prints the spread of their scores.
        learning_curve: After the training, train on a quarter and on half of the images too, and estimate the
            gain in mIoU from twice the images.
    """
    started = time.monotonic()
    roots, out, resumed = find_run(tuple(map(str, data)), out, resume)
    check_data_exists(roots)
    from pixelwise.cli.train_group import Repeats
    from pixelwise.cli.train_run import Request, run_training

    options, given = parse_flags(masks, settings)
    repeats = Repeats(folds, seeds, learning_curve)
    request = Request(roots, out, plan, preset, resumed, options, given, repeats)
    return run_training(request, started)


def find_run(
    data: tuple[str, ...], out: Path | None, resume: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Path | None, bool]:
    """Return the data sets, the run directory, and True if --resume was given.

    Without --out, the first word after --resume is the run directory, and the others are data sets. With --out, all
    words after --resume are data sets, except the run directory itself.

    Args:
        data: the words before the flags.
        out: the value of --out.
        resume: the words after --resume. None without the flag.

    Raises:
        ConfigError: There is no data set, or no run to resume.
    """
    if resume is None:
        return require_data(data), out, False
    if out is None:
        if not resume:
            raise ConfigError("--resume needs the run directory to continue: --resume RUN")
        return (*data, *resume[1:]), Path(resume[0]), True
    return (*data, *(word for word in resume if Path(word) != out)), out, True
