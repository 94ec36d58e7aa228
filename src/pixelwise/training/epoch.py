"""One epoch of a training: the steps, and the validation."""

import time
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from pixelwise.data.input_size import mean_side, to_pair
from pixelwise.data.mosaic import join_batch
from pixelwise.data.resize import resize_batch
from pixelwise.metrics.confusion import Metrics
from pixelwise.runs.metrics_file import Row
from pixelwise.runtime.cpu import single_thread
from pixelwise.runtime.distributed import all_reduce_sum
from pixelwise.runtime.threads import batched
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.divergence import FiniteCheck
from pixelwise.training.passes import Batch, add_gradients, run_in_parts
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.state import TrainState
from pixelwise.training.tiled_validation import count_windows, predict_tiles

_FORWARD_FRACTION = 0.35
"""Estimated duration of a forward pass divided by that of a training step."""

_MOSAIC_SEEDS = 1 << 62
"""Smallest seed of mosaics. The seeds of the order of the images are smaller."""


def validation_steps(setup: TrainingSetup) -> float:
    """Return the estimated duration of a validation, in training steps."""
    config = setup.config
    images = (len(setup.datasets[1]) if config.view == "whole" else count_windows(setup)) * setup.fabric.world_size
    step_images = config.batch_size * config.accumulate
    return (
        _FORWARD_FRACTION * (mean_side(config.eval_size) / mean_side(config.smallest_size)) ** 2 * images / step_images
    )


def train_epoch(setup: TrainingSetup, state: TrainState, callbacks: list[Callback], bars: TrainingProgress) -> Row:
    """Train one epoch, with each image once. A time budget can end it earlier.

    Args:
        setup: the training.
        state: its state. `step` and `loss` are updated after each step.
        callbacks: called after each step.
        bars: the progress bar.

    Returns:
        The training columns of the epoch's row.

    Raises:
        TrainingDivergedError: The loss became infinite or NaN.
        ConfigError: See `run_in_parts`.
    """
    fabric, course, epoch = setup.fabric, setup.course, state.epoch
    setup.model.train()
    setup.sampler.epoch = epoch
    check = FiniteCheck(setup, state)
    zero = torch.zeros((), device=fabric.device)
    loss_sum, count = zero, 0
    learning_rate = setup.optimizer.param_groups[0]["lr"]
    started = time.perf_counter()
    for batches, global_size in training_steps(setup):
        setup.model.encoder.pause_gradients(course.trains_decoder_only(epoch))
        losses = add_gradients(setup, batches, global_size)
        step_sum, step_count = zero, 0
        for loss, (images, _) in zip(losses, batches, strict=True):
            step_sum = step_sum + loss * len(images)
            step_count += len(images)
            check.batch(epoch_sum := loss_sum + step_sum)
        loss_sum = epoch_sum
        count += step_count
        update_weights(setup)
        course.advance()
        setup.lr_scheduler.step()
        setup.step += 1
        bars.step(epoch + 1, loss_sum, count, time.perf_counter() - started)
        state.step, state.loss = setup.step, step_sum / step_count
        for callback in callbacks:
            callback.on_step_end(state)
        if course.is_over:
            break
    total, seen = all_reduce_sum(fabric, torch.stack([loss_sum, loss_sum.new_tensor(count)])).tolist()
    seconds = time.perf_counter() - started
    setup.train_seconds += seconds
    check.epoch(total)
    return {
        "epoch": epoch + 1,
        "step": setup.step,
        "seconds": course.seconds,
        "train_seconds": setup.train_seconds,
        "train_loss": total / seen,
        "images_per_second": seen / seconds,
        "learning_rate": learning_rate,
    }


def training_steps(setup: TrainingSetup) -> Iterator[tuple[list[Batch], int]]:
    """Yield the batches of each optimizer step of an epoch, on the device.

    Args:
        setup: the training. The sampler determines the epoch.

    Yields:
        The batches of this process, and the number of their images in all processes. The last step of an epoch can have
        fewer than `accumulate` batches.
    """
    count = setup.config.accumulate
    sizes = batched(setup.sampler.global_sizes(), count)
    for batches, global_sizes in zip(batched(_batches(setup), count), sizes, strict=True):
        yield batches, sum(global_sizes)


def update_weights(setup: TrainingSetup) -> None:
    """Clip the gradients if `clip_gradients` is set, update the weights, and set the gradients to zero."""
    limit = setup.config.clip_gradients
    if limit is not None:
        # A gradient that is not finite makes the weights, and then the next loss, not finite, which is reported.
        setup.fabric.clip_gradients(setup.ddp_model, setup.optimizer, max_norm=limit, error_if_nonfinite=False)
    setup.optimizer.step()
    setup.optimizer.zero_grad()


def _batches(setup: TrainingSetup) -> Iterator[Batch]:
    """Yield the batches of this process on its device, see `Batch`."""
    if setup.resident is not None and setup.resident.update():
        yield from setup.resident.batches(setup.sampler)
    elif setup.kept is not None and setup.kept.start_epoch():
        yield from setup.kept.batches(partial(_loaded_batches, setup))
    else:
        yield from _changed_batches(setup)


def _changed_batches(setup: TrainingSetup) -> Iterator[Batch]:
    """Yield the loader's batches with mosaics.

    They have `start_size` at the start of the training, see `Course.uses_start_size`.
    """
    config, generator = setup.config, _mosaic_generator(setup)
    for images, masks in _loaded_batches(setup):
        if config.mosaic:
            images, masks = join_batch(images, masks, config.mosaic, generator)
        if config.start_size is not None and setup.course.uses_start_size(setup.sampler.epoch):
            images, masks = resize_batch(images, masks, to_pair(config.start_size))
        yield images, masks


def _loaded_batches(setup: TrainingSetup) -> Iterator[Batch]:
    """Yield the loader's batches, on the device."""
    device, iterator = setup.fabric.device, iter(setup.loader)
    while True:
        # Load with one thread, because operations on a single image are too small to split among several.
        with single_thread():
            batch = next(iterator, None)
        if batch is None:
            return
        images, masks = (tensor.to(device, non_blocking=True) for tensor in batch)
        yield images, masks


def _mosaic_generator(setup: TrainingSetup) -> torch.Generator:
    """Return the source of random numbers for the mosaics of an epoch. It differs between epochs and processes."""
    process = setup.sampler.epoch * setup.fabric.world_size + setup.fabric.global_rank
    return torch.Generator().manual_seed(_MOSAIC_SEEDS + setup.config.seed * 100_003 + process)


def validate(setup: TrainingSetup, classes: Sequence[str], epoch: int) -> Row:
    """Validate the model at its own image size.

    Args:
        setup: the training.
        classes: class names in index order.
        epoch: number of completed epochs.

    Returns:
        The validation columns of the epoch's row. All of them are None if the epoch is not validated, so that more time
        is left to train.

    Raises:
        ConfigError: See `run_in_parts`.
    """
    columns = ("val_loss", "val_accuracy", "val_miou", *(f"iou_{name}" for name in classes))
    if not setup.course.validates(epoch):
        return dict.fromkeys(columns)
    started = time.perf_counter()
    row = _validate(setup, classes)
    setup.course.record_validation(time.perf_counter() - started)
    return row


@torch.no_grad()
def _validate(setup: TrainingSetup, classes: Sequence[str]) -> Row:
    fabric, task, labels = setup.fabric, setup.loss.task, setup.loss.labels
    setup.model.eval()
    confusion = task.zero_matrix(len(classes)).to(fabric.device)
    loss_sum = torch.zeros(2, dtype=torch.float64, device=fabric.device)

    def measure(images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        return compare(setup.ddp_model(images), masks, len(images))

    def compare(logits: Tensor, masks: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        prediction = task.logits_to_mask(logits)
        loss = setup.loss.unweighted(logits, masks) * weight
        counts = task.confusion(labels.to_comparable(masks, prediction), prediction, len(classes))
        return torch.stack([loss, loss.new_tensor(weight)]), counts

    for images, masks in setup.val_loader:
        images, masks = images.to(fabric.device), masks.to(fabric.device)
        if setup.config.view == "tiles":
            measured = [compare(*block) for block in predict_tiles(setup, images, masks)]
        else:
            measured = run_in_parts(setup, images, masks, measure)
        for sums, counts in measured:
            loss_sum += sums
            confusion += counts
    # Each image is validated in one process only, so the sums equal those of a training in a single process.
    confusion = all_reduce_sum(fabric, confusion)
    loss, count = all_reduce_sum(fabric, loss_sum).tolist()
    metrics = Metrics.from_confusion(confusion, classes, task, int(count), f"{setup.config.eval_size}")
    return {"val_loss": loss / count, "val_accuracy": metrics.accuracy, "val_miou": metrics.mean_iou} | {
        f"iou_{name}": values.iou for name, values in metrics.classes.items()
    }
