"""Losses on logits by name, and class weights.

To add a loss, write a function with the signature of `Loss` in a file here, register it, and import the file below.
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
