"""Losses on logits by name, and class weights.

To add a loss, write a function with the signature of `Loss` and register it:

    @register_loss("my_loss", tasks=("multiclass",))
    def my_loss(logits, mask, pixel_weights=None): ...
"""

from pixelwise.losses.base import LOSSES, Loss, check_loss, get_loss, list_losses, register_loss
from pixelwise.losses.custom import adapt_loss
from pixelwise.losses.multiclass import (
    FocalParams,
    TverskyParams,
    cross_entropy,
    cross_entropy_dice,
    dice,
    focal,
    tversky,
)
from pixelwise.losses.multilabel import bce, bce_dice

__all__ = ["LOSSES", "Loss", "adapt_loss", "check_loss", "get_loss", "list_losses", "register_loss"]

LOSSES.register("cross_entropy", cross_entropy, tasks=("multiclass",))
LOSSES.register("dice", dice, tasks=("multiclass",))
LOSSES.register("cross_entropy_dice", cross_entropy_dice, tasks=("multiclass",))
LOSSES.register("focal", focal, params=FocalParams, tasks=("multiclass",))
LOSSES.register("tversky", tversky, params=TverskyParams, tasks=("multiclass",))
LOSSES.register("bce", bce, tasks=("multilabel",))
LOSSES.register("bce_dice", bce_dice, tasks=("multilabel",))
