"""Adapters that give loss objects from Python, which are callables of logits and mask, the interface of `Loss`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.data.task import MULTICLASS, Task
from pixelwise.errors import ConfigError
from pixelwise.losses.base import LOSSES, Loss
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import Params

CUSTOM = "custom"
"""Name in config.yaml for all loss objects. The object itself is not stored."""

_CONFIDENT_LOGIT = -30.0


class CustomLossParams(Params):
    """The record of a loss object in config.yaml.

    Attributes:
        type: the qualified name of its class or function, for example "segmentation_models_pytorch.losses.LovaszLoss".
    """

    type: str


@LOSSES.register(CUSTOM, params=CustomLossParams, hidden=True)
def _missing(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None, *, type: str) -> Tensor:
    raise ConfigError(f"the loss is an object of type {type}, which config.yaml does not store; give `loss` again")


def describe_loss(loss: Callable[..., Any]) -> dict[str, Any]:
    """Return the setting that records a loss object in config.yaml.

    >>> describe_loss(nn.CrossEntropyLoss())
    {'name': 'custom', 'type': 'torch.nn.modules.loss.CrossEntropyLoss'}
    """
    named = loss if hasattr(loss, "__qualname__") else type(loss)
    return {"name": CUSTOM, "type": f"{named.__module__}.{named.__qualname__}"}


def takes_pixel_weights(loss: Callable[..., Any]) -> bool:
    """Return True if a loss object takes an argument `pixel_weights`."""
    function = loss.forward if isinstance(loss, nn.Module) else loss
    try:
        return "pixel_weights" in inspect.signature(function).parameters
    except ValueError:  # some functions written in C have no signature
        return False


def adapt_loss(loss: Callable[..., Any], task: Task) -> Loss:
    """Return a loss object as a `Loss`.

    A callable with an argument `pixel_weights` is returned unchanged, see `Loss`. Other callables are called with
    (logits, mask). The mask has the form that torch and segmentation_models_pytorch use: int64 class indices, or float
    0 and 1 for multilabel masks.

    Ignored pixels get the value of the callable's attribute `ignore_index`. If it has no such attribute, they are left
    out. A multiclass batch is then passed as one image of one row with the other pixels, and its loss is 0 if all
    pixels are ignored. In a multilabel batch, an ignored value counts as a certain, correct prediction.

    Args:
        loss: a function or an object, for example `smp.losses.LovaszLoss("multiclass", ignore_index=255)`.
        task: the task of the data.

    Returns:
        The loss. It raises ConfigError for pixel weights that `loss` does not take.

    Raises:
        ConfigError: `loss` cannot be called.
    """
    if not callable(loss):
        raise ConfigError(f"`loss`: must be a name, a mapping or a callable (got {loss!r})")
    if takes_pixel_weights(loss):
        return loss
    ignore_index = getattr(loss, "ignore_index", None)

    def adapted(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        if pixel_weights is not None:
            raise ConfigError("`loss` has no argument `pixel_weights`, so set `class_weights` to none")
        ignored = mask == IGNORE_INDEX
        target = mask.long() if task is MULTICLASS else mask.float()
        if ignore_index is not None:
            return loss(logits, target.masked_fill(ignored, ignore_index))
        if not ignored.any():
            return loss(logits, target)
        if task is MULTICLASS:
            if ignored.all():
                return logits.sum() * 0.0
            kept = logits.movedim(1, -1)[~ignored].T[None, :, None]
            return loss(kept, target[~ignored][None, None])
        return loss(logits.masked_fill(ignored, _CONFIDENT_LOGIT), target.masked_fill(ignored, 0.0))

    return adapted


def move_loss(loss: Callable[..., Any], device: torch.device) -> None:
    """Move the tensors of a loss object, such as its class weights, to a device.

    Args:
        loss: the loss object. Only an `nn.Module` is moved.
        device: the device of the logits.
    """
    if isinstance(loss, nn.Module):
        loss.to(device)
