"""Losses on logits, which are selected by name, and class weights.

To add a loss, write a function with the signature of `Loss` in a module of this package, and register it with
`register_loss`. Then import the module in this file.
"""

from pixelwise.losses import multiclass, multilabel  # isort: skip (the order of the registry)
from pixelwise.losses import lovasz, jaccard, boundary, ohem  # isort: skip
from pixelwise.losses.base import LOSSES, Loss, check_loss, get_loss, list_losses, register_loss
from pixelwise.losses.custom import adapt_loss

__all__ = [
    "LOSSES",
    "Loss",
    "adapt_loss",
    "boundary",
    "check_loss",
    "get_loss",
    "jaccard",
    "list_losses",
    "lovasz",
    "multiclass",
    "multilabel",
    "ohem",
    "register_loss",
]
