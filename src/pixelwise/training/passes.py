"""Passes of a batch through the model, in parts if the memory does not suffice for the whole batch."""

import gc
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from pixelwise.data.input_size import to_pair
from pixelwise.errors import ConfigError, first_line, is_out_of_memory
from pixelwise.training.setup import TrainingSetup

logger = logging.getLogger(__name__)

T = TypeVar("T")


Batch = tuple[Tensor, Tensor]
"""The images of this process, (N, channels, H, W) uint8, and their masks, see `Loss`.

If the training has a `feature_table`, its row numbers, (N,) int64, are in the place of the images.
"""


def add_gradients(setup: TrainingSetup, batches: Sequence[Batch], global_size: int) -> list[Tensor]:
    """Add the gradients of the batches of an optimizer step.

    If memory runs out, a batch is halved, see `run_in_parts`. The gradients of batches and of their parts add up to
    those of all images at once, except for losses and batch norms that use statistics of all images of a batch.

    Args:
        setup: the training. Its gradients are 0.
        batches: the batches of this process.
        global_size: number of images of all batches in all processes.

    Returns:
        The loss of each batch, a scalar without gradients.

    Raises:
        ConfigError: See `run_in_parts`.
    """

    def add_part(images: Tensor, masks: Tensor) -> Tensor:
        loss = setup.loss.weighted(_compute_logits(setup, images), masks)
        # Gradients are averaged over the processes. This factor gives every image of the step the same weight, even if
        # the processes or the batches have different numbers of images.
        setup.fabric.backward(loss * (len(images) * setup.fabric.world_size / global_size))
        return loss.detach() * len(images)

    def add_batch(images: Tensor, masks: Tensor) -> Tensor:
        if setup.graphs is None or setup.pass_size is not None or len(batches) > 1:
            return add_part(images, masks)
        return setup.graphs.run(add_part, images, masks, global_size, setup.model.encoder.computes_gradients)

    while True:
        pass_size, losses = setup.pass_size, []
        for number, (images, masks) in enumerate(batches, start=1):
            is_last = number == len(batches)  # the processes average their gradients once, in the last batch
            with nullcontext() if is_last else setup.fabric.no_backward_sync(cast(Any, setup.ddp_model)):
                parts = run_in_parts(setup, images, masks, add_batch)
                losses.append((parts[0] if len(parts) == 1 else torch.stack(parts).sum()) / len(images))
        if setup.pass_size == pass_size or len(batches) == 1:
            return losses
        # Memory ran out in one of the batches, and the gradients of those before it were set to zero.
        setup.optimizer.zero_grad()


def _compute_logits(setup: TrainingSetup, images: Tensor) -> Tensor:
    """Return the logits of the images of a `Batch`, (N, C, H, W) float32."""
    features = setup.feature_table
    if features is None:
        return setup.ddp_model(images)
    with setup.fabric.autocast():
        logits = setup.model.decoder(features(images), features.size)
    return logits.float()


def run_in_parts(
    setup: TrainingSetup, images: Tensor, masks: Tensor, compute: Callable[[Tensor, Tensor], T]
) -> list[T]:
    """Call a function with a batch, or with its parts if the memory does not suffice for all of its images.

    If memory runs out, the number of images per pass is halved for the rest of the training, gradients are set to zero,
    and all parts are computed again.

    Args:
        setup: the training. `setup.pass_size` is the number of images per pass.
        images: (N, …), the images of the batch.
        masks: (N, …), their masks.
        compute: a function of the images and the masks of a part.

    Returns:
        The results of the parts.

    Raises:
        ConfigError: The memory does not suffice for one image (two, if batch norm needs two), or it runs out while
            several processes train together. The others would wait for this process.
    """
    while True:
        count = 1 if setup.pass_size is None else math.ceil(len(images) / setup.pass_size)
        try:
            return [compute(*part) for part in zip(images.chunk(count), masks.chunk(count), strict=True)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = first_line(error)
        # Outside of the except clause, because the exception keeps the tensors of the failed pass in memory.
        _halve(setup, math.ceil(len(images) / count), reason)


def _halve(setup: TrainingSetup, pass_size: int, reason: str) -> None:
    """Halve the number of images per pass, and free the memory of the failed pass. Raise ConfigError if impossible."""
    config, fabric = setup.config, setup.fabric
    if fabric.world_size > 1:
        raise ConfigError(
            f"memory ran out in process {fabric.global_rank} with {pass_size} of the {config.batch_size} images of a "
            f"batch ({reason}); train a new run with `batch_size` {max(config.batch_size // 2, 1)}, or start more "
            "processes"
        )
    # With a single pixel in the deepest features, batch norm needs two images.
    smallest = 2 if max(to_pair(config.smallest_size)) <= setup.model.encoder.reductions[-1] else 1
    if pass_size // 2 < smallest:
        raise ConfigError(
            f"memory does not suffice for {pass_size} image{'s' * (pass_size > 1)} of {config.image_size} px "
            f"({reason}); lower `image_size`, or choose a smaller `encoder`"
        )
    setup.pass_size = pass_size // 2
    setup.optimizer.zero_grad()
    if setup.graphs is not None:
        setup.graphs.clear()
    gc.collect()
    if fabric.device.type == "cuda":
        torch.cuda.empty_cache()
    logger.warning(
        "memory ran out with %d images at once (%s); now %d at once. A step still has %d images: the gradients of its "
        "parts are added",
        pass_size, reason, setup.pass_size, config.batch_size * config.accumulate,
    )  # fmt: skip
