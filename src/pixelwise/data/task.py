"""Segmentation tasks: multiclass (one class per pixel) and multilabel (any number of classes per pixel).

All code that depends on the task is in the methods of two objects, `MULTICLASS` and `MULTILABEL`. The methods are
documented in their base class `Task`. The tasks differ in the shape of a mask:

    multiclass   (..., H, W) uint8 class indices 0..C-1, 255 = ignore
    multilabel   (..., C, H, W) uint8, 1 = the class is present, 0 = absent, 255 = ignore
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pixelwise.data.task_base import ClassCounts, MaskArray, Task
from pixelwise.errors import ConfigError, unknown_name
from pixelwise.palette import IGNORE_INDEX, Palette

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MULTICLASS", "MULTILABEL", "TASKS", "Task", "get_task"]

_COUNTED_PIXELS = 1 << 22
"""Number of pairs of pixels that are counted at a time, to limit memory."""

_MIN_PROBABILITY = 1e-7
"""Minimum of a probability that is converted to logits, so that they are finite. For multilabel masks, one minus this
value is the maximum."""

# Methods import torch themselves, so that modules that only read data do not load it.


def _count_cells(cells: "Tensor", mask: "Tensor", count: int) -> "Tensor":
    """Count how often each number in [0, count) is in `cells`, without the pixels that `mask` ignores.

    Returns:
        (count,) int64.
    """
    import torch

    # Count ignored pixels in an extra bin. To remove them with a boolean mask would take four times as long.
    cells = cells.masked_fill(mask == IGNORE_INDEX, count)
    return torch.bincount(cells.flatten(), minlength=count + 1)[:-1]


def _first_maximum(logits: "Tensor") -> tuple["Tensor", "Tensor"]:
    """Return the first maximum over the classes.

    torch's `argmax` and `max` take 10 to 30 times as long on a CPU, because the classes of a pixel are far apart in
    memory.

    Args:
        logits: (C, H, W) float.

    Returns:
        The maximum, (H, W) float, and its class, (H, W) uint8.
    """
    import torch

    highest = logits[0].clone()
    mask = torch.zeros_like(highest, dtype=torch.uint8)
    for index in range(1, len(logits)):
        mask.masked_fill_(logits[index] > highest, index)
        torch.maximum(highest, logits[index], out=highest)
    return highest, mask


class _Multiclass(Task):
    name = "multiclass"
    description = "multiclass (each pixel has one class)"

    def mask_shape(self, classes: int, height: int, width: int) -> tuple[int, ...]:
        return height, width

    def activate(self, logits: "Tensor") -> "Tensor":
        return logits.softmax(-3)

    def inverse_activate(self, probabilities: "Tensor") -> "Tensor":
        return probabilities.clamp(min=_MIN_PROBABILITY).log_()

    def label_probability(self, probabilities: "Tensor", mask: "Tensor") -> "Tensor":
        labels = mask.long().clamp(max=probabilities.shape[-3] - 1).unsqueeze(-3)
        return probabilities.gather(-3, labels).squeeze(-3)

    def confidence(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return probabilities.max(0)

    def logits_to_mask(self, logits: "Tensor") -> "Tensor":
        import torch

        if logits.ndim == 3 and logits.device.type == "cpu":
            return _first_maximum(logits)[1]
        return logits.max(-3).indices.to(torch.uint8)

    def class_confidence(self, logits: "Tensor") -> list[float | None]:
        logits = logits.contiguous()  # the sum over classes that are close in memory would take several times as long
        highest, mask = _first_maximum(logits)
        weights = (logits - highest).exp().sum(-3).reciprocal().cpu().numpy().ravel()
        labels = mask.cpu().numpy().ravel()
        sums, pixels = np.bincount(labels, weights, len(logits)), np.bincount(labels, minlength=len(logits))
        return [total / count if count else None for total, count in zip(sums.tolist(), pixels.tolist(), strict=True)]

    def zero_matrix(self, classes: int) -> "Tensor":
        import torch

        return torch.zeros((classes, classes), dtype=torch.int64)

    def confusion(self, mask: "Tensor", prediction: "Tensor", classes: int) -> "Tensor":
        cells = mask.long() * classes + prediction.long()
        return _count_cells(cells, mask, classes**2).view(classes, classes)

    def class_counts(self, confusion: "Tensor") -> ClassCounts:
        hits = confusion.diagonal()
        return ClassCounts(hits, confusion.sum(1), confusion.sum(0), int(hits.sum()))

    def class_pixels(self, mask: MaskArray) -> npt.NDArray[np.int64]:
        pixels = mask.ravel()
        is_odd = pixels.size % 2
        counts = np.bincount(pixels[pixels.size - is_odd :], minlength=256)
        # Counting pairs of pixels takes half the time. `bincount` converts its input to eight bytes per pair, so the
        # pairs are counted in blocks.
        pairs = pixels[: pixels.size - is_odd].view(np.uint16)
        for start in range(0, pairs.size, _COUNTED_PIXELS):
            per_pair = np.bincount(pairs[start : start + _COUNTED_PIXELS], minlength=1 << 16).reshape(256, 256)
            counts += per_pair.sum(0) + per_pair.sum(1)
        return counts

    def class_region(self, mask: MaskArray, index: int) -> npt.NDArray[np.bool_]:
        return mask == index

    def pixel_weights(self, mask: "Tensor", class_weights: "Tensor") -> "Tensor":
        import torch

        lookup = torch.zeros(256, dtype=torch.float32, device=mask.device)
        lookup[: len(class_weights)] = class_weights.to(mask.device)
        return lookup[mask.long()]

    def mask_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        return ("",)

    def index_masks(self, mask: MaskArray, palette: Palette) -> list[tuple[MaskArray, Palette]]:
        return [(mask, palette)]

    def to_display(self, mask: MaskArray) -> MaskArray:
        return mask

    def display_background(self, classes: int, background: Sequence[int]) -> tuple[int, ...]:
        return tuple(background)

    def display_classes(self, classes: Sequence[str], palette: Palette) -> tuple[tuple[str, ...], Palette]:
        return tuple(classes), palette


class _Multilabel(Task):
    name = "multilabel"
    description = "multilabel (a pixel can have several classes)"

    def mask_shape(self, classes: int, height: int, width: int) -> tuple[int, ...]:
        return classes, height, width

    def activate(self, logits: "Tensor") -> "Tensor":
        return logits.sigmoid()

    def inverse_activate(self, probabilities: "Tensor") -> "Tensor":
        import torch

        return torch.logit(probabilities, eps=_MIN_PROBABILITY)

    def label_probability(self, probabilities: "Tensor", mask: "Tensor") -> "Tensor":
        import torch

        return torch.where(mask == 1, probabilities, 1 - probabilities)

    def confidence(self, probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.maximum(probabilities, 1 - probabilities).min(0)

    def logits_to_mask(self, logits: "Tensor") -> "Tensor":
        import torch

        return (logits > 0).to(torch.uint8)

    def class_confidence(self, logits: "Tensor") -> list[float | None]:
        is_present = logits > 0
        sums, pixels = (logits.sigmoid() * is_present).sum((-2, -1)), is_present.sum((-2, -1))
        return [total / count if count else None for total, count in zip(sums.tolist(), pixels.tolist(), strict=True)]

    def zero_matrix(self, classes: int) -> "Tensor":
        import torch

        return torch.zeros((classes, 2, 2), dtype=torch.int64)

    def confusion(self, mask: "Tensor", prediction: "Tensor", classes: int) -> "Tensor":
        import torch

        index = torch.arange(classes, device=mask.device)[:, None, None]
        cells = 4 * index + 2 * (mask == 1).long() + prediction.long()
        return _count_cells(cells, mask, 4 * classes).view(classes, 2, 2)

    def class_counts(self, confusion: "Tensor") -> ClassCounts:
        hits = confusion[:, 1, 1]
        correct = int(hits.sum() + confusion[:, 0, 0].sum())
        return ClassCounts(hits, confusion[:, 1].sum(1), confusion[:, :, 1].sum(1), correct)

    def class_pixels(self, mask: MaskArray) -> npt.NDArray[np.int64]:
        return np.array([np.count_nonzero(channel == 1) for channel in mask], np.int64)

    def class_region(self, mask: MaskArray, index: int) -> npt.NDArray[np.bool_]:
        return mask[index] == 1

    def pixel_weights(self, mask: "Tensor", class_weights: "Tensor") -> "Tensor":
        return (mask != IGNORE_INDEX) * (class_weights * len(class_weights)).to(mask.device)[:, None, None]

    def mask_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        return tuple(classes)

    def index_masks(self, mask: MaskArray, palette: Palette) -> list[tuple[MaskArray, Palette]]:
        return [(channel, ((0, 0, 0), color)) for channel, color in zip(mask, palette, strict=True)]

    def to_display(self, mask: MaskArray) -> MaskArray:
        display = np.full(mask.shape[1:], len(mask), np.uint8)
        ignored = np.ones(mask.shape[1:], bool)
        for channel in mask:  # comparing all channels at once would take as much memory as the mask
            ignored &= channel == IGNORE_INDEX
        display[ignored] = IGNORE_INDEX
        for index in np.argsort(-self.class_pixels(mask), kind="stable"):
            display[mask[index] == 1] = index
        return display

    def display_background(self, classes: int, background: Sequence[int]) -> tuple[int, ...]:
        return (classes,)

    def display_classes(self, classes: Sequence[str], palette: Palette) -> tuple[tuple[str, ...], Palette]:
        return (*classes, "none"), (*palette, (0, 0, 0))


MULTICLASS: Task = _Multiclass()
MULTILABEL: Task = _Multilabel()

TASKS: dict[str, Task] = {task.name: task for task in (MULTICLASS, MULTILABEL)}
"""Name of a task → task."""


def get_task(task: str | Task) -> Task:
    """Return the task with a given name.

    Args:
        task: "multiclass", "multilabel", or a Task, which is returned unchanged.

    Raises:
        ConfigError: The name is unknown.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise ConfigError(unknown_name("task", task, TASKS))
    return TASKS[task]
