"""The registry of losses, their common interface, and helpers that several losses share."""

from typing import Protocol

from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.errors import ConfigError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import ComponentSpec, Registry, name_of


class Loss(Protocol):
    """A loss on logits.

    A registered loss can have additional keyword parameters. `get_loss` binds them.
    """

    def __call__(self, logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: (N, C, H, W) float, the outputs of the model.
            mask: uint8 with 255 = ignore. Multiclass: (N, H, W) class indices. Multilabel: (N, C, H, W) with 1 = the
                class is present, 0 = absent.
            pixel_weights: non-negative float weights in the shape of the mask. None for a weight of 1 everywhere.

        Returns:
            A scalar. Ignored pixels have no influence on it.
        """
        ...


LOSSES: Registry[Loss] = Registry("loss")
"""All losses by name.

The trait `tasks` contains the names of the tasks that a loss supports. A loss without this trait supports all tasks.
The trait `balances_classes` is True if a loss gives each class the same weight. A plan then chooses no class weights.
"""

register_loss = LOSSES.register
"""Add a loss, see `Registry.register`. `LOSSES` describes the traits.

```python
@register_loss("mean_error", tasks=("multilabel",))
def mean_error(logits, mask, pixel_weights=None): ...
```
"""


def list_losses(task: str | Task | None = None) -> list[str]:
    """Return the names of all registered losses, or of those that support one task.

    >>> list_losses("multilabel")
    ['bce', 'bce_dice']
    """
    return [name for name in LOSSES if task is None or _is_for(name, task)]


def get_loss(spec: ComponentSpec, task: Task) -> Loss:
    """Return the loss of a setting, with its parameters bound.

    Args:
        spec: a name in LOSSES, or {"name": name, parameter: value, …}.
        task: the task of the data.

    Raises:
        ConfigError: The loss is unknown or does not support the task, or a parameter is unknown or out of range.

    >>> from pixelwise.data.task import MULTICLASS
    >>> focal = get_loss({"name": "focal", "gamma": 3}, MULTICLASS)
    """
    check_loss(spec, task)
    return LOSSES.build(spec)


def check_loss(spec: ComponentSpec, task: Task) -> None:
    """Raise an error if a loss setting is invalid.

    Args:
        spec: see `get_loss`.
        task: the task of the data.

    Raises:
        ConfigError: See `get_loss`.
    """
    LOSSES.parse(spec)
    if not _is_for(name_of(spec), task):
        raise ConfigError(
            f"loss '{name_of(spec)}' is not for this data, which is {task.description}; "
            f"set `loss` to {', '.join(list_losses(task))}"
        )


def _is_for(loss: str, task: str | Task) -> bool:
    name = task.name if isinstance(task, Task) else task
    return name in LOSSES[loss].traits.get("tasks", (name,))


def count_pixels(mask: Tensor) -> Tensor:
    """Count the mask values that are not ignored. Return a scalar tensor, at least 1."""
    return (mask != IGNORE_INDEX).sum().clamp(min=1)


def mean_over_present(score: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of 1 − score over the classes that are present in the mask.

    Args:
        score: (C,) overlap of prediction and mask for each class, in [0, 1].
        truth: (C,) number of pixels, or sum of pixel weights, of each class in the mask.

    Returns:
        A scalar, 0 if no class is present.
    """
    present = truth > 0
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)


def dice_score(overlap: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the soft Dice coefficient of each class, 2·overlap / (predicted + truth).

    Args:
        overlap: (C,) sum of the predicted probabilities over the pixels that have the class in the mask.
        predicted: (C,) sum of the predicted probabilities over all pixels.
        truth: (C,) number of pixels of each class in the mask. Pixel weights, if any, are factors in all three sums.

    Returns:
        (C,) coefficients in [0, 1].
    """
    return 2 * overlap / (predicted + truth).clamp(min=1e-6)
