"""Losses on logits, and the weights of pixels."""

from pixelwise.data.task import MULTILABEL, Task
from pixelwise.errors import ConfigError
from pixelwise.losses.base import Loss
from pixelwise.losses.multiclass import cross_entropy, cross_entropy_dice, dice, focal
from pixelwise.losses.multilabel import sigmoid, sigmoid_dice

LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "cross_entropy_dice": cross_entropy_dice,
    "focal": focal,
}


MULTILABEL_LOSSES: dict[str, Loss] = {"bce": sigmoid, "bce_dice": sigmoid_dice}
"""The losses of data sets in which a pixel can be of several classes: masks are (N, C, H, W)."""


def get_loss(name: str) -> Loss:
    """The loss of that name, of either kind."""
    return LOSSES[name] if name in LOSSES else MULTILABEL_LOSSES[name]


def check_loss(name: str, task: Task) -> None:
    """Raise ConfigError if the loss is not for masks of that kind."""
    fitting = MULTILABEL_LOSSES if task is MULTILABEL else LOSSES
    if name not in fitting:
        raise ConfigError(
            f"loss '{name}' is not for data that is {task.description}; choose `loss` from {', '.join(fitting)}"
        )
