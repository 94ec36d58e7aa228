"""Stop a training whose loss is infinite or NaN, and report the step, its images and the cause."""

import csv
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pixelwise.errors import TrainingDivergedError, first_line, printable
from pixelwise.runtime.atomic import atomic_directory
from pixelwise.training.near_duplicates import item_record
from pixelwise.training.saving import has_finite_weights
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.state import TrainState
from pixelwise.visualization import overlay_grid, to_display_image

logger = logging.getLogger(__name__)

FOLDER = "diverged"
"""Folder in the run directory for the images of a batch whose loss is not finite."""

_BATCHES_BETWEEN_CHECKS = 50
"""Number of batches between two checks on an accelerator. Each check reads the loss, which waits for the device."""

_MAX_NAMES = 3
"""Maximum number of image files that the error names. The folder has all."""


class _Item(NamedTuple):
    """An image of the batch, and the result of the model for this image alone.

    Attributes:
        file: the image file.
        image: (channels, H, W) uint8, the augmented image.
        mask: its mask, uint8 (see `Task`).
        outputs_are_finite: True if all logits are finite. None if the weights are not finite.
        loss: the loss, or None if the weights are not finite.
    """

    file: str
    image: Tensor
    mask: Tensor
    outputs_are_finite: bool | None
    loss: float | None


class FiniteCheck:
    """Find the first batch of an epoch whose loss is not finite. Without `accumulate`, each step has one batch.

    On a CPU, each batch is checked before the optimizer changes the weights. On an accelerator, the loss is checked
    after every `_BATCHES_BETWEEN_CHECKS` batches. If several processes train together, it is checked at the end of the
    epoch.

    Args:
        setup: the training.
        state: its state.
    """

    def __init__(self, setup: TrainingSetup, state: TrainState) -> None:
        self._setup, self._state = setup, state
        self._batches = 0
        self._finite = torch.zeros((), dtype=torch.int64, device=setup.fabric.device)
        self._unchecked: list[Tensor] = []
        is_cpu = setup.fabric.device.type == "cpu"
        self._interval = (1 if is_cpu else _BATCHES_BETWEEN_CHECKS) if setup.fabric.world_size == 1 else 0

    def batch(self, loss_sum: Tensor) -> None:
        """Count a batch, and check the loss if a check is due.

        Args:
            loss_sum: scalar, the sum of the losses of this epoch so far. Once it is NaN or infinite, it remains so.
                It must not be changed later.

        Raises:
            TrainingDivergedError: The sum is not finite.
        """
        self._batches += 1
        self._unchecked.append(loss_sum)
        # Counted for many batches at once, because each operation takes time on an accelerator.
        if len(self._unchecked) == _BATCHES_BETWEEN_CHECKS:
            self._count_finite()
        if self._interval and self._batches % self._interval == 0 and not math.isfinite(total := loss_sum.item()):
            raise self._error(total)

    def epoch(self, total: float) -> None:
        """Check the sum of the losses of all processes at the end of an epoch.

        Raises:
            TrainingDivergedError: The sum is not finite.
        """
        if not math.isfinite(total):
            raise self._error(total)

    def _count_finite(self) -> None:
        """Count the batches up to which the sum of the losses is finite."""
        if self._unchecked:
            self._finite += torch.isfinite(torch.stack(self._unchecked)).sum()
            self._unchecked.clear()

    def _error(self, total: float) -> TrainingDivergedError:
        setup, state = self._setup, self._state
        self._count_finite()
        batch = int(cast(Tensor, setup.fabric.all_reduce(self._finite, reduce_op="min")).item())
        place = f", {'step' if setup.config.accumulate == 1 else 'batch'} {batch + 1}"
        try:
            details = f"{place}{_report(setup, state, batch)}"
        except Exception as error:  # a failed report must not hide the error
            logger.warning("%s: not written (%s: %s)", FOLDER, type(error).__name__, first_line(error))
            details = place
        return TrainingDivergedError(
            f"the loss became {total} in epoch {state.epoch + 1}{details}; lower `lr`, or set `precision` to 32-true"
        )


def _report(setup: TrainingSetup, state: TrainState, batch: int) -> str:
    """Write the images of a batch into the run directory. Return their names and the cause, for the error message."""
    items = _items(setup, state, batch)
    folder = state.run.path / FOLDER
    if setup.fabric.is_global_zero:
        _write(folder, items, state)
    faulty = [item for item in items if item.loss is not None and not math.isfinite(item.loss)]
    named = faulty or items
    names = ", ".join(item.file for item in named[:_MAX_NAMES])
    more = f" and {len(named) - _MAX_NAMES} more" if len(named) > _MAX_NAMES else ""
    return printable(f", with the images {names}{more} (all in {folder}): {_cause(items, faulty)}")


def _cause(items: Sequence[_Item], faulty: Sequence[_Item]) -> str:
    if items[0].loss is None:
        return "the weights are not finite, because an earlier step was too large"
    if not faulty:
        return "the loss of each image alone is finite, so no image is the cause"
    if all(item.outputs_are_finite for item in faulty):
        return "the model's outputs are finite, so the loss function is the cause"
    return "the model's outputs for them are not finite"


@torch.no_grad()
def _items(setup: TrainingSetup, state: TrainState, batch: int) -> list[_Item]:
    """Return the images of a batch of this epoch with the same augmentations, and the results of the model for them."""
    images = setup.datasets[0]
    draws = setup.sampler.global_batches()[batch]
    model, device = setup.model.eval(), setup.fabric.device
    is_usable = has_finite_weights(model) or (_restore_weights(setup, state) and has_finite_weights(model))
    items = []
    for draw, (image, mask) in zip(draws, images.__getitems__(draws), strict=True):
        outputs, loss = None, None
        if is_usable:
            with setup.fabric.autocast():
                logits = model(image[None].to(device))
                loss = float(setup.loss.weighted(logits, mask[None].to(device)))
            outputs = bool(torch.isfinite(logits).all())
        items.append(_Item(str(item_record(images, images.image_of(draw)).image), image, mask, outputs, loss))
    return items


def _restore_weights(setup: TrainingSetup, state: TrainState) -> bool:
    """Load the weights of the last checkpoint into the model. Return False if there is none."""
    checkpoint = state.run.load_checkpoint()
    if checkpoint is not None:
        setup.model.load_state_dict(checkpoint.model)
    return checkpoint is not None


def _write(folder: Path, items: Sequence[_Item], state: TrainState) -> None:
    """Write each image and its mask, a sheet of all, and images.csv with the loss of each."""
    task, labels = state.data.read_spec.task, state.data.read_spec.partial_labels
    images = [item.image.permute(1, 2, 0).cpu().numpy() for item in items]
    masks = [item.mask.cpu().numpy() for item in items]
    displayed = [task.to_display(labels.to_background(mask)) for mask in masks]
    classes, palette = task.display_classes(state.data.classes, state.data.palette)
    losses = ["" if item.loss is None else f"loss {item.loss:.3g}: " for item in items]
    names = [f"{loss}{Path(item.file).name}" for loss, item in zip(losses, items, strict=True)]
    uncolored = task.display_background(len(state.data.classes), state.data.background)
    with atomic_directory(folder, replace=True) as part:
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            Image.fromarray(to_display_image(image)).save(part / f"{number:03d}_image.png")
            for channel, plane in enumerate(mask if mask.ndim == 3 else mask[None]):
                suffix = f"_{channel}" if mask.ndim == 3 else ""
                Image.fromarray(np.ascontiguousarray(plane)).save(part / f"{number:03d}_mask{suffix}.png")
        shown = [to_display_image(image) for image in images]
        title = "images of the step whose loss is not finite"
        sheet = overlay_grid(shown, displayed, names, classes, palette, title, uncolored=uncolored)
        sheet.save(part / "sheet.png")
        with (part / "images.csv").open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("number", "file", "loss", "outputs_are_finite"))
            for number, item in enumerate(items):
                writer.writerow((number, item.file, item.loss, item.outputs_are_finite))
