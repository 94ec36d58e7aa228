"""The training of a model. `train` prepares it, and `_run_epochs` is the loop over the epochs."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.index import DatasetIndex
from pixelwise.errors import TrainingDivergedError, first_line
from pixelwise.losses.custom import describe_loss
from pixelwise.metrics.confusion import Metrics
from pixelwise.planning.plan import Plan
from pixelwise.registry import ComponentSpec
from pixelwise.runs.run_dir import Row, Run
from pixelwise.runtime.cpu import follow_idle_cores, single_thread
from pixelwise.runtime.distributed import all_reduce_sum, launch_fabric
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.data import check_process_count, make_train_val_split
from pixelwise.training.extensions import add_specs, build_callbacks, build_loggers, check_specs
from pixelwise.training.failures import explain_failures
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.resume import (
    create_run,
    is_complete,
    open_directory,
    open_run,
    restore,
    settle_encoder_training,
)
from pixelwise.training.setup import TrainingSetup, build_training, paused_epochs
from pixelwise.training.state import TrainState

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
        preset: "default" or "tutorial". None for "default", or for the run's preset when resuming.
        resume: continue the run in `out` after its last completed epoch. `epochs` can be increased. If there is no run
            in `out`, a new one starts. If the run is complete, it is returned unchanged.
        loss: the loss, which replaces the setting `loss`. It is a name, a mapping with a name and parameters, or any
            callable (logits, mask) or (logits, mask, pixel_weights) that returns a scalar. See
            `pixelwise.losses.custom`.
        callbacks: `Callback` objects, or names of registered callbacks, in addition to the default ones.
        loggers: Lightning loggers, or names of registered loggers, in addition to the default ones.
        defaults: if False, leave out the default callbacks, which draw images, and the default loggers. metrics.csv
            and the best model are written in any case.
        verbose: show progress bars on stderr, or print one line per epoch if stderr is not a terminal.
        settings: fields of `Config`, such as epochs=3. They replace those of `config`, `plan` and `preset`.

    Returns:
        The run, whose directory contains the best model.

    Raises:
        PixelwiseError: A setting, the data, the pretrained weights or `out` cannot be used.
        TrainingDivergedError: The loss became infinite or NaN.

    >>> run = train(load_dataset("oxford-iiit-pet/"), "runs/pets", epochs=3)  # doctest: +SKIP
    """
    out, checkpoint, custom_loss = Path(out), None, None
    if callable(loss):
        custom_loss, settings["loss"] = loss, describe_loss(loss)
    elif loss is not None:
        settings["loss"] = loss
    is_resumed = resume and Run.exists(out)
    if is_resumed:
        run, checkpoint = open_run(out, config, settings, preset=preset, custom_loss=custom_loss is not None)
        if is_complete(run, checkpoint):
            logger.info("%s: all %d epochs are done; raise `epochs` to train further", out, run.config.epochs)
            return run
    else:
        run = create_run(out, config, settings, preset=preset, plan=plan)
    config = add_specs(run.config, callbacks, loggers)
    check_specs(config)
    fabric = launch_fabric(config.device, config.precision)
    if resume and not is_resumed and fabric.is_global_zero:
        logger.info("%s: no run to continue; a new one starts", out)
    run = Run(out, settle_encoder_training(config, fabric.device.type), run.preset)
    with (
        _seeded(run.config.seed, fabric),
        TrainingProgress(verbose and fabric.is_global_zero) as bars,
        ExitStack() as locked,
    ):
        setup, state = _prepare(data, run, fabric, custom_loss, bars)
        if checkpoint is not None:
            state.history = restore(setup, run, checkpoint)
        active: list[Callback] = []
        if fabric.is_global_zero:
            locked.enter_context(open_directory(run, state.data, plan, is_resumed))
            active = build_callbacks(run.config, callbacks, defaults)
            state.loggers = build_loggers(state, loggers, defaults)
        bars.start(run.config.epochs, setup.step, run.config.epochs * len(setup.sampler))
        with explain_failures(run, setup.datasets), _finalized(state, active):
            _run_epochs(setup, state, active, bars)
    return run


def _prepare(
    data: DatasetIndex,
    run: Run,
    fabric: "Fabric",
    custom_loss: Callable[..., Any] | None,
    bars: TrainingProgress,
) -> tuple[TrainingSetup, TrainState]:
    """Split the data, build the training, and select the validation images whose predictions are drawn."""
    config = run.config
    if data.lacks_val and config.val_from == "train":
        data = assign_groups(data, bars.track("looking for groups"))
    train_records, val_records = make_train_val_split(data, config)
    check_process_count(fabric.world_size, config.batch_size, len(train_records), len(val_records))
    setup = build_training(data, (train_records, val_records), config, fabric, custom_loss, bars.track)
    samples = val_records[:: math.ceil(len(val_records) / config.sample_predictions)]
    return setup, TrainState(run, data, setup.model, samples, setup.datasets)


def _run_epochs(setup: TrainingSetup, state: TrainState, callbacks: list[Callback], bars: TrainingProgress) -> None:
    """Train the remaining epochs. Only the process with rank 0 has callbacks and loggers."""
    fabric, epochs = setup.fabric, setup.config.epochs
    for log in state.loggers:
        with suppress(NotImplementedError):  # Fabric's CSVLogger records metrics only
            log.log_hyperparams(setup.config.model_dump(mode="json"))
    for callback in callbacks:
        callback.on_train_start(state)

    for epoch in range(state.epoch, epochs):
        if _should_stop(fabric, state):
            break
        follow_idle_cores()
        for callback in callbacks:
            callback.on_epoch_start(state)
        row = _train_epoch(setup, state, callbacks, bars) | _validate(setup, state.data.classes)
        # Move speed and learning rate to the end, because they are the last columns of metrics.csv.
        row |= {name: row.pop(name) for name in ("images_per_second", "learning_rate")}
        state.history.append(row)
        bars.epoch(row)
        if fabric.is_global_zero:
            _record_epoch(setup, state, callbacks)
            state.run.save_checkpoint(setup.checkpoint(epoch + 1))

    fabric.barrier()
    for callback in callbacks:
        callback.on_train_end(state)


def _record_epoch(setup: TrainingSetup, state: TrainState, callbacks: list[Callback]) -> None:
    """Save the model if it is the best so far, log the epoch's row, and run the callbacks."""
    row = state.history[-1]
    if state.best_epoch == state.epoch:
        state.run.save_best_model(setup.model, row)
    for log in state.loggers:
        log.log_metrics({name: value for name, value in row.items() if value is not None}, step=state.epoch)
    for callback in callbacks:
        callback.on_epoch_end(state)


def _train_epoch(setup: TrainingSetup, state: TrainState, callbacks: list[Callback], bars: TrainingProgress) -> Row:
    """Train one epoch, with each image once. Return the training columns of the epoch's row."""
    fabric, epoch = setup.fabric, state.epoch
    setup.model.train()
    setup.model.encoder.pause_gradients(epoch < paused_epochs(setup.config))
    setup.sampler.epoch = epoch
    loss_sum, count = torch.zeros((), device=fabric.device), 0
    learning_rate = setup.optimizer.param_groups[0]["lr"]
    started = time.perf_counter()
    for (images, masks), global_size in zip(_batches(setup), setup.sampler.global_sizes(), strict=True):
        loss = setup.loss.weighted(setup.ddp_model(images), masks)
        # Gradients are averaged over the processes. This factor gives every image of the global batch the same weight,
        # even if the processes have different numbers of images.
        fabric.backward(loss * (len(images) * fabric.world_size / global_size))
        setup.optimizer.step()
        setup.optimizer.zero_grad()
        setup.lr_scheduler.step()
        setup.step += 1
        loss_sum += loss.detach() * len(images)
        count += len(images)
        bars.step(epoch + 1, loss_sum, count, time.perf_counter() - started)
        state.step, state.loss = setup.step, loss.detach()
        for callback in callbacks:
            callback.on_step_end(state)
    total = all_reduce_sum(fabric, loss_sum).item()
    seconds = time.perf_counter() - started
    setup.train_seconds += seconds
    if not math.isfinite(total):
        raise TrainingDivergedError(
            f"the loss became {total} in epoch {epoch + 1}; lower `lr`, or set `precision` to 32-true"
        )
    return {
        "epoch": epoch + 1,
        "step": setup.step,
        "train_seconds": setup.train_seconds,
        "train_loss": total / setup.sampler.length,
        "images_per_second": setup.sampler.length / seconds,
        "learning_rate": learning_rate,
    }


def _batches(setup: TrainingSetup) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of this process on its device: images (N, C, H, W) uint8, and masks uint8 (see `Task`)."""
    device, iterator = setup.fabric.device, iter(setup.loader)
    while True:
        # Load with one thread, because operations on a single image are too small to split among several.
        with single_thread():
            batch = next(iterator, None)
        if batch is None:
            return
        images, masks = batch
        yield images.to(device, non_blocking=True), masks.to(device, non_blocking=True)


@torch.no_grad()
def _validate(setup: TrainingSetup, classes: Sequence[str]) -> Row:
    """Validate the model at its own image size. Return the validation columns of the epoch's row."""
    fabric, task = setup.fabric, setup.loss.task
    setup.model.eval()
    confusion = task.zero_matrix(len(classes)).to(fabric.device)
    loss_sum = torch.zeros(2, dtype=torch.float64, device=fabric.device)
    for images, masks in setup.val_loader:
        images, masks = images.to(fabric.device), masks.to(fabric.device)
        logits = setup.ddp_model(images)
        loss_sum += torch.stack([setup.loss.unweighted(logits, masks) * len(images), torch.tensor(len(images))])
        predicted = task.logits_to_mask(logits)
        confusion += task.confusion(setup.loss.labels.to_comparable(masks, predicted), predicted, len(classes))
    # Each image is validated in one process only, so the sums equal those of a training in a single process.
    confusion = all_reduce_sum(fabric, confusion)
    loss, count = all_reduce_sum(fabric, loss_sum).tolist()
    metrics = Metrics.from_confusion(confusion, classes, task, int(count), f"{setup.config.eval_size}")
    return {"val_loss": loss / count, "val_accuracy": metrics.accuracy, "val_miou": metrics.mean_iou} | {
        f"iou_{name}": values.iou for name, values in metrics.classes.items()
    }


def _should_stop(fabric: "Fabric", state: TrainState) -> bool:
    """Return True in every process if a callback of rank 0 stops the training. This waits for all processes."""
    return bool(all_reduce_sum(fabric, torch.tensor(int(state.should_stop), device=fabric.device)))


@contextmanager
def _seeded(seed: int, fabric: "Fabric") -> Iterator[None]:
    """Seed torch's random number generators in the block, and restore their state afterwards."""
    devices = [torch.cuda.current_device()] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def _finalized(state: TrainState, callbacks: list[Callback]) -> Iterator[None]:
    """Finalize the loggers when the block ends.

    If the block raises an exception, run the callbacks' `on_exception` before, and raise the exception again.
    """
    try:
        yield
    except BaseException as error:
        for callback in callbacks:
            _attempt(callback.on_exception, state, error)
        status = "failed" if isinstance(error, Exception) else "aborted"
        for log in state.loggers:
            _attempt(log.finalize, status)
        raise
    for log in state.loggers:
        log.finalize("success")


def _attempt(function: Callable[..., object], *args: object) -> None:
    """Call a function. Log its exception instead of raising it, so that the original exception is not hidden."""
    try:
        function(*args)
    except Exception as error:
        logger.warning(
            "%s failed (%s: %s)", getattr(function, "__qualname__", function), type(error).__name__, first_line(error)
        )
