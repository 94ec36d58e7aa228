"""Losses on logits, which are selected by name, and class weights.

To add a loss, write a function with the signature of `Loss` in a module of this package, and register it by
`register_loss`. Then import the module in this file.
"""

from pixelwise.losses import multiclass, multilabel
from pixelwise.losses.base import LOSSES, Loss, check_loss, get_loss, list_losses, register_loss
from pixelwise.losses.custom import adapt_loss

__all__ = [
    "LOSSES",
    "Loss",
    "adapt_loss",
    "check_loss",
    "get_loss",
    "list_losses",
    "multiclass",
    "multilabel",
    "register_loss",
]
