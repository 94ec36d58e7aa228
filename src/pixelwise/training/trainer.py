"""The training loop, from records to a run folder, to be read from top to bottom."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pixelwise.config import DECODER_FIRST_FRACTION, Config
from pixelwise.data.analysis.groups import assign_groups
from pixelwise.data.schema import DatasetIndex, Record
from pixelwise.data.spec import DatasetSpec
from pixelwise.data.splits import train_val_split
from pixelwise.errors import ConfigError, DataError
from pixelwise.losses import get_loss
from pixelwise.metrics.confusion import Metrics
from pixelwise.planning.plan import Plan
from pixelwise.runs.run_dir import Row, Run
from pixelwise.runtime.cpu import ThreadTuner
from pixelwise.runtime.distributed import all_reduce_sum, launch_fabric
from pixelwise.training.callbacks import DEFAULT_CALLBACKS
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.setup import TrainingSetup, build_training, create_or_resume_run, load_checkpoint
from pixelwise.training.state import TrainState


def train(
    data: DatasetIndex,
    out: str | Path,
    preset: str | None = None,
    resume: bool = False,
    hooks: Sequence[Callback] | None = None,
    plan: Plan | None = None,
    **settings: Any,
) -> Run:
    """Train a model on a data set and leave a run folder.

    Under `torchrun` every process calls this, and together they train one model with the same global batch.

    Args:
        data: see `load_dataset`.
        out: the run folder; nothing may be there yet, unless resuming.
        preset: "default" or "tutorial"; None for "default", or for the run's own when resuming.
        resume: go on where the run in `out` stopped; `epochs` may be raised.
        hooks: what happens around the loop; None for all of `pixelwise.hooks.DEFAULT_CALLBACKS`.
        plan: settings drawn from the data, in place of the preset's own; see `make_plan`.
        settings: any field of `Config` in place of the plan's or the preset's, such as epochs=3.

    Raises a PixelwiseError of its kind for bad settings, data or weights, or an `out` that is in the way.

    >>> run = train(load_dataset("oxford-iiit-pet/"), out="runs/pets", epochs=3)  # doctest: +SKIP
    """
    run, checkpoint = create_or_resume_run(Path(out), preset, resume, plan, settings)
    config = run.config
    fabric = launch_fabric(config.device, config.precision)
    torch.manual_seed(config.seed)
    with TrainingProgress(shown=fabric.is_global_zero) as bars, ExitStack() as held:
        if not data.val and config.val_from == "train":
            data = assign_groups(data, bars.track("looking for groups"))
        train_records, val_records = make_train_val_split(data, config)
        _check_processes(fabric.world_size, config.batch_size, len(train_records), len(val_records))
        session = build_training(data, config, fabric, train_records, val_records, bars)
        samples = val_records[:: math.ceil(len(val_records) / config.sample_predictions)]
        state = TrainState(run, data, session.model, samples)
        if checkpoint is not None:
            state.history = load_checkpoint(session, run, checkpoint)
        active = [hook() for hook in DEFAULT_CALLBACKS] if hooks is None else list(hooks)
        if fabric.is_global_zero:
            held.enter_context(_enter(run, data, plan, resume))
        else:
            active = []
        for hook in active:
            hook.on_start(state)
        bars.start(config.epochs, session.step, config.epochs * len(session.sampler))
        cores = ThreadTuner()

        for epoch in range(state.epoch, config.epochs):
            cores.follow()
            train_figures = _train_epoch(session, epoch, bars)
            row = train_figures | _validate(session, data.classes)
            # Last, as the speed and the rate are no figures of the model.
            row |= {name: row.pop(name) for name in ("images_per_second", "learning_rate")}
            state.history.append(row)
            bars.epoch(state.history[-1])
            for hook in active:
                hook.on_epoch(state)
            if fabric.is_global_zero:
                run.save_checkpoint(session.checkpoint(epoch + 1))
            fabric.barrier()
        for hook in active:
            hook.on_end(state)
    return run


def _enter(run: Run, data: DatasetIndex, plan: Plan | None, resume: bool) -> BinaryIO:
    """Make the run's folder, or go on in it; other trainings are kept out as long as what is returned is open."""
    if resume and run.path.exists():
        with run.lock():
            run.write_config()
    else:
        run.start()
        run.write_dataset_spec(DatasetSpec.of(data))
        if plan is not None:
            plan.write(run.plan_file)
    return run.lock()


def _check_processes(processes: int, batch: int, training: int, validation: int) -> None:
    """Raise ConfigError where a process would have no image: the others would wait for it for ever."""
    if processes > min(batch, training, validation):
        raise ConfigError(
            f"{processes} processes need an image each, but a batch has {batch}, training {training} and validation "
            f"{validation}; start fewer"
        )


def make_train_val_split(data: DatasetIndex, config: Config) -> tuple[list[Record], list[Record]]:
    """The records to train on and those to validate on.

    A val split of the data set's own is used as it is. Otherwise a share of train is held back, so that the test
    split stays unseen; or, as in the tutorial, a share of the test split is looked at.
    """
    train_records = list(data.records("train"))
    if data.val:
        return train_records, list(data.val)
    if config.val_from == "test":
        kept, held = train_records, train_val_split(data.records("test"), config.val_fraction, config.seed)[1]
    else:
        kept, held = train_val_split(train_records, config.val_fraction, config.seed)
    if not held:
        raise DataError(
            f"{data.root}: the {config.val_from} split has too few images to give any for validation; add some"
        )
    return kept, held


def _train_epoch(session: TrainingSetup, epoch: int, bars: TrainingProgress) -> Row:
    """One pass over the training images; the training part of the epoch's row."""
    fabric, loss_function = session.fabric, get_loss(session.config.loss, session.model.config.task)
    session.model.train()
    session.model.encoder.pause_gradients(epoch < round(DECODER_FIRST_FRACTION * session.config.epochs))
    session.sampler.epoch = epoch
    loss_sum, shown = torch.zeros((), device=fabric.device), 0
    rate = session.optimizer.param_groups[0]["lr"]
    task = session.model.config.task
    started = time.perf_counter()
    for (images, masks), whole in zip(_batches(session), session.sampler.global_sizes(), strict=True):
        weights = None if session.class_weights is None else task.pixel_weights(masks, session.class_weights)
        loss = loss_function(session.ddp_model(images), masks, weights)
        # Gradients are averaged over processes: scaled so, an image counts the same in whichever it is.
        fabric.backward(loss * (len(images) * fabric.world_size / whole))
        session.optimizer.step()
        session.optimizer.zero_grad()
        session.lr_scheduler.step()
        session.step += 1
        loss_sum += loss.detach() * len(images)
        shown += len(images)
        bars.step(epoch + 1, loss_sum, shown, time.perf_counter() - started)
    total = all_reduce_sum(fabric, loss_sum).item()
    seconds = time.perf_counter() - started
    session.seconds += seconds
    if not math.isfinite(total):
        raise ConfigError(f"the loss became {total} in epoch {epoch + 1}; lower --lr, or set `precision` to 32-true")
    return {
        "epoch": epoch + 1,
        "step": session.step,
        "train_seconds": session.seconds,
        "train_loss": total / session.sampler.length,
        "images_per_second": session.sampler.length / seconds,
        "learning_rate": rate,
    }


def _batches(session: TrainingSetup) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's batches on its device: images (N, 3, H, W) uint8, masks (N, H, W) uint8."""
    device = session.fabric.device
    threads = torch.get_num_threads()
    iterator = iter(session.loader)
    while True:
        # One image is too little work to share among threads: waiting for each other takes them longer.
        torch.set_num_threads(1)
        try:
            images, masks = next(iterator)
        except StopIteration:
            return
        finally:
            torch.set_num_threads(threads)
        yield images.to(device, non_blocking=True), masks.to(device, non_blocking=True)


@torch.no_grad()
def _validate(session: TrainingSetup, classes: Sequence[str]) -> Row:
    """Loss and figures over the validation images at the model's size; the validation part of the epoch's row."""
    fabric, loss_function = session.fabric, get_loss(session.config.loss, session.model.config.task)
    session.model.eval()
    task = session.model.config.task
    confusion = task.zero_matrix(len(classes)).to(fabric.device)
    loss_sum = torch.zeros(2, dtype=torch.float64, device=fabric.device)
    for images, masks in session.val_loader:
        images, masks = images.to(fabric.device), masks.to(fabric.device)
        logits = session.ddp_model(images)
        loss_sum += torch.stack([loss_function(logits, masks, None) * len(images), torch.tensor(len(images))])
        confusion += task.confusion(masks, task.logits_to_mask(logits), len(classes))
    # Each process has its own images, none of them twice: sums are those of one process.
    confusion = all_reduce_sum(fabric, confusion)
    loss, images_seen = all_reduce_sum(fabric, loss_sum).tolist()
    metrics = Metrics.from_confusion(confusion, classes, task, int(images_seen), f"{session.config.eval_size}")
    return {"val_loss": loss / images_seen, "val_accuracy": metrics.accuracy, "val_miou": metrics.mean_iou} | {
        f"iou_{name}": figures.iou for name, figures in metrics.classes.items()
    }
