"""Train a model. `train` prepares the training, and `_run_epochs` is the loop over the epochs."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixelwise.config import Config, check_length
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.errors import RunError
from pixelwise.losses.custom import describe_loss
from pixelwise.planning.plan import Plan
from pixelwise.registry import ComponentSpec
from pixelwise.runs.checkpoint import Checkpoint
from pixelwise.runs.group import RunGroup
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.cpu import follow_idle_cores
from pixelwise.runtime.distributed import all_reduce_sum, launch_fabric
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.course import Course, make_course
from pixelwise.training.data import check_process_count, select_samples
from pixelwise.training.epoch import train_epoch, validate, validation_steps
from pixelwise.training.extensions import add_specs, build_callbacks, build_loggers, check_specs
from pixelwise.training.failures import explain_failures
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.recording import Recorder, finalized
from pixelwise.training.repeatable import repeatable
from pixelwise.training.resume import (
    completion_reason,
    create_run,
    open_directory,
    open_run,
    restore,
    settle_encoder_training,
)
from pixelwise.training.setup import TrainingSetup, build_training, steps_per_epoch
from pixelwise.training.splits import prepare_splits
from pixelwise.training.state import TrainState
from pixelwise.training.temperature import MAX_IMAGES, store_temperature

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger

logger = logging.getLogger(__name__)


def train(
    data: DatasetIndex,
    out: str | Path,
    config: Config | None = None,
    *,
    plan: Plan | None = None,
    preset: str | None = None,
    resume: bool = False,
    loss: ComponentSpec | Callable[..., Any] | None = None,
    callbacks: Sequence[Callback | ComponentSpec] = (),
    loggers: "Sequence[Logger | ComponentSpec]" = (),
    defaults: bool = True,
    verbose: bool = False,
    spent_seconds: float = 0.0,
    **settings: Any,
) -> Run:
    """Train a model on a data set and write a run directory.

    Under `torchrun`, every process must call this function. The processes then train one model together. The global
    batch size is the same as in a single process.

    Args:
        data: the data set, see `load_dataset`.
        out: the run directory. It must be empty or missing, unless a training is resumed.
        config: all settings. None for the settings of the preset and the plan.
        plan: settings made for the data, see `make_plan`. They replace those of the preset. If there is also a
            `config`, the plan is only recorded in the run directory.
        preset: "default", "fast" or "tutorial". None for "default", or for the run's preset when resuming.
        resume: continue the run in `out` after its last checkpoint. `epochs` can be increased. If there is no run in
            `out`, a new one starts. If the run is complete, it is returned unchanged.
        loss: the loss, which replaces the setting `loss`. It is a name, a mapping with a name and parameters, or any
            callable (logits, mask) or (logits, mask, pixel_weights) that returns a scalar. See
            `pixelwise.losses.custom`.
        callbacks: `Callback` objects, or names of registered callbacks, in addition to the default ones.
        loggers: Lightning loggers, or names of registered loggers, in addition to the default ones.
        defaults: if False, leave out the default callbacks, which draw images, and the default loggers. metrics.csv
            and the best model are written in any case.
        verbose: show progress bars on stderr, or print one line per epoch if stderr is not a terminal.
        spent_seconds: seconds of the setting `time_budget` that were spent before, for example to inspect the data.
        settings: fields of `Config`, such as epochs=3. They replace those of `config`, `plan` and `preset`.

    Returns:
        The run, whose directory contains the best model.

    Raises:
        PixelwiseError: A setting, the data, the pretrained weights or `out` cannot be used.
        TrainingDivergedError: The loss became infinite or NaN.

    >>> run = train(load_dataset("oxford-iiit-pet/"), "runs/pets", epochs=3)  # doctest: +SKIP
    """
    check_index(data)
    started, out, custom_loss = time.monotonic(), Path(out), loss if callable(loss) else None
    if loss is not None:
        settings["loss"] = describe_loss(loss) if callable(loss) else loss
    is_resumed = resume and Run.exists(out)
    if is_resumed:
        run, checkpoint = _open_run(out, config, settings, preset, custom_loss is not None)
        if reason := completion_reason(run, checkpoint, callbacks):
            logger.info("%s: %s", out, reason)
            return run
    else:
        run, checkpoint = _create_run(out, config, settings, preset, plan), None
    run, fabric = _launch(run, callbacks, loggers)
    if resume and not is_resumed and fabric.is_global_zero:
        logger.info("%s: no run to continue; a new one starts", out)
    course = make_course(run.config, spent_seconds + time.monotonic() - started)
    with (
        seeded(run.config.seed, fabric),
        repeatable(run.config.deterministic, fabric.device),
        TrainingProgress(verbose and fabric.is_global_zero) as bars,
        ExitStack() as locked,
    ):
        setup, state = prepare_training(data, run, fabric, custom_loss, course, bars)
        if checkpoint is not None:
            state.history = restore(setup, run, checkpoint)
        state.started = course.started
        active: list[Callback] = []
        if fabric.is_global_zero:
            locked.enter_context(open_directory(run, state.data, plan, is_resumed))
            active = build_callbacks(run.config, callbacks, defaults)
            state.loggers = build_loggers(state, loggers, defaults)
        bars.start(course, setup.step, run.config.epochs * steps_per_epoch(setup.sampler, run.config))
        with explain_failures(run, setup.datasets), finalized(setup, state, active) as recorder:
            _run_epochs(setup, state, active, bars, recorder)
    return run


def _open_run(
    out: Path, config: Config | None, settings: dict[str, Any], preset: str | None, custom_loss: bool
) -> tuple[Run, Checkpoint | None]:
    """Open a run to continue it, see `open_run`. Raise RunError if it is a group of runs."""
    if RunGroup.exists(out):
        group = RunGroup.open(out)
        raise RunError(f"{out}: contains {len(group.members)} {group.kind}; continue them with `{group.kind}`")
    return open_run(out, config, settings, preset=preset, custom_loss=custom_loss)


def _create_run(
    out: Path, config: Config | None, settings: dict[str, Any], preset: str | None, plan: Plan | None
) -> Run:
    """Create a run, see `create_run`, and check its number of epochs and its time budget."""
    check_length(settings)
    run = create_run(out, config, settings, preset=preset, plan=plan)
    check_length({"epochs": settings.get("epochs"), "time_budget": run.config.time_budget})
    return run


def _launch(
    run: Run, callbacks: Sequence[Callback | ComponentSpec], loggers: "Sequence[Logger | ComponentSpec]"
) -> "tuple[Run, Fabric]":
    """Return the run with its final settings, and the device, the precision and the processes."""
    config = add_specs(run.config, callbacks, loggers)
    check_specs(config)
    fabric = launch_fabric(config.device, config.precision, wait=False)
    return Run(run.path, settle_encoder_training(config, fabric.device.type), run.preset), fabric


def prepare_training(
    data: DatasetIndex,
    run: Run,
    fabric: "Fabric",
    custom_loss: Callable[..., Any] | None,
    course: Course,
    bars: TrainingProgress,
) -> tuple[TrainingSetup, TrainState]:
    """Split the data, build the training, and select the validation images whose predictions are drawn.

    Args:
        data: the data set.
        run: the run, with the settings that `settle_encoder_training` returns.
        fabric: device, precision and processes.
        custom_loss: a loss object, or None for the setting `loss`.
        course: the times of the validations and of the end.
        bars: the progress bars of the steps.

    Returns:
        The training before its first step, and its state. The state of other processes than rank 0 has no samples.

    Raises:
        PixelwiseError: See `prepare_splits`, `check_process_count` and `build_training`.
    """
    config = run.config
    data = prepare_splits(data, config, bars.track("looking for groups"))
    check_process_count(fabric.world_size, config.batch_size, len(data.train), len(data.val))
    setup = build_training(data, (data.train, data.val), config, fabric, custom_loss, course, bars.track)
    samples = select_samples(data.val, config, data.read_spec) if fabric.is_global_zero else []
    return setup, TrainState(run, data, setup.model, samples, setup.datasets)


def _run_epochs(
    setup: TrainingSetup, state: TrainState, callbacks: list[Callback], bars: TrainingProgress, recorder: Recorder
) -> None:
    """Train the remaining epochs. Only the process with rank 0 has callbacks and loggers."""
    fabric, course = setup.fabric, setup.course
    _start(setup, state, callbacks)
    course.start(fabric, validation_steps(setup), min(1.0, MAX_IMAGES / len(setup.datasets[1])))
    while course.starts_epoch(state.epoch) and not _should_stop(fabric, state):
        follow_idle_cores()
        for callback in callbacks:
            callback.on_epoch_start(state)
        row = train_epoch(setup, state, callbacks, bars) | validate(setup, state.data.classes, state.epoch + 1)
        row["seconds"] = course.seconds
        # Move speed and learning rate to the end, because they are the last columns of metrics.csv.
        row |= {name: row.pop(name) for name in ("images_per_second", "learning_rate")}
        started = course.seconds
        recorder.add(row)
        bars.epoch(row)
        if fabric.is_global_zero:
            recorder.record()
            course.record_epoch_end(course.seconds - started)
    _finish(setup, state, callbacks, recorder)


def _start(setup: TrainingSetup, state: TrainState, callbacks: list[Callback]) -> None:
    """Pass the settings to the loggers, and call the callbacks before the first epoch."""
    for log in state.loggers:
        with suppress(NotImplementedError):  # Fabric's CSVLogger records metrics only
            log.log_hyperparams(setup.config.model_dump(mode="json"))
    started = setup.course.seconds
    for callback in callbacks:
        callback.on_train_start(state)
    setup.course.record_epoch_end(setup.course.seconds - started)  # it draws, as the work after an epoch does


def _finish(setup: TrainingSetup, state: TrainState, callbacks: list[Callback], recorder: Recorder) -> None:
    """Write the best model with its temperature, and call the callbacks after the last epoch."""
    if setup.fabric.is_global_zero:
        recorder.saver.write_best(setup)
        store_temperature(state.run, setup)
    setup.fabric.barrier()  # until then, another process could load an earlier model
    for callback in callbacks:
        callback.on_train_end(state)
    if setup.fabric.is_global_zero:
        recorder.saver.finish(setup, state.epoch)


def _should_stop(fabric: "Fabric", state: TrainState) -> bool:
    """Return True in every process if a callback of rank 0 stops the training. This waits for all processes."""
    return bool(all_reduce_sum(fabric, torch.tensor(int(state.should_stop), device=fabric.device)))


@contextmanager
def seeded(seed: int, fabric: "Fabric") -> Iterator[None]:
    """Seed torch's random number generators in the block, and restore their state afterwards.

    Args:
        seed: the seed.
        fabric: its device is the one whose generator is restored, besides that of the CPU.
    """
    devices = [torch.cuda.current_device()] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
