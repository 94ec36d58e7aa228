"""The registry of losses, their common interface, and helpers that several losses share."""

from typing import Protocol

from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.errors import ConfigError
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import ComponentSpec, Registry, name_of


class Loss(Protocol):
    """A loss on logits.

    A registered loss may have keyword parameters in addition. They are bound before it is called.
    """

    def __call__(self, logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            logits: (N, C, H, W) float, any real values.
            mask: uint8 with 255 = ignore. Multiclass: (N, H, W) class indices. Multilabel: (N, C, H, W), 1 = the class
                is present.
            pixel_weights: float of the mask's shape, 0 or more; None for 1 everywhere.

        Returns:
            A scalar. Ignored pixels have no influence on it.
        """
        ...


LOSSES: Registry[Loss] = Registry("loss")
"""All losses by name.

The trait `tasks` has the names of the tasks that a loss is for; without it, all tasks. The trait `balances_classes` is
True if a loss gives each class the same weight: a plan adds no class weights to it.
"""

register_loss = LOSSES.register
"""Add a loss; see `Registry.register`. The trait `tasks` has the names of the tasks that it is for.

```python
@register_loss("mean_error", tasks=("multilabel",))
def mean_error(logits, mask, pixel_weights=None): ...
```
"""


def list_losses(task: str | Task | None = None) -> list[str]:
    """Return the names of all registered losses, or of those for one task.

    >>> list_losses("multilabel")
    ['bce', 'bce_dice']
    """
    return [name for name in LOSSES if task is None or _is_for(name, task)]


def get_loss(spec: ComponentSpec, task: Task) -> Loss:
    """Return the loss of a setting, with its parameters bound.

    Args:
        spec: a name in LOSSES, or {"name": name, parameter: value, …}.
        task: the task of the data. The loss must be for it.

    Raises:
        ConfigError: The loss is unknown or not for this task, or a parameter is unknown or out of range.

    >>> from pixelwise.data.task import MULTICLASS
    >>> focal = get_loss({"name": "focal", "gamma": 3}, MULTICLASS)
    """
    check_loss(spec, task)
    return LOSSES.build(spec)


def check_loss(spec: ComponentSpec, task: Task) -> None:
    """Raise ConfigError unless a loss setting is valid and for this task; see `get_loss`."""
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
    """Return the number of mask values that are not ignored, at least 1, as a scalar tensor."""
    return (mask != IGNORE_INDEX).sum().clamp(min=1)


def mean_over_present(score: Tensor, truth: Tensor) -> Tensor:
    """Return the mean of 1 − score over the classes with pixels in the mask.

    Args:
        score: (C,) overlap of prediction and mask for each class, in [0, 1].
        truth: (C,) number of pixels (or their weight) that each class has in the mask.
    """
    present = truth > 0
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)


def dice_score(overlap: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the soft Dice coefficient of each class, 2·overlap / (predicted + truth), from (C,) sums over pixels."""
    return 2 * overlap / (predicted + truth).clamp(min=1e-6)
