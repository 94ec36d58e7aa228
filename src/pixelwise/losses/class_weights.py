"""TODO: module."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pixelwise.errors import ConfigError, unknown_name

CLASS_WEIGHT_POWERS = {"balanced": 1.0, "inverse_sqrt": 0.5}
"""The class weights that are worked out from the pixels of each class: one over their number, to this power."""


def check_class_weights(choice: str | dict[str, float], classes: Sequence[str]) -> None:
    """Raise ConfigError where weights name a class that is not among the classes, or are all 0."""
    if not isinstance(choice, dict):
        return
    for name in choice:
        if name not in classes:
            raise ConfigError(unknown_name("class", name, classes))
    if not any(choice.get(name, 1.0) for name in classes):
        raise ConfigError(_ALL_ZERO)


_ALL_ZERO = "the class weights are all 0; give at least one class a weight above 0"


def compute_class_weights(
    choice: str | dict[str, float], classes: Sequence[str], pixels: Callable[[], Tensor]
) -> Tensor | None:
    """The weight of each class, (C,) float32 that sum to 1 as in the tutorial; None for no weights.

    Args:
        choice: "none"; "balanced", inversely to each class's number of pixels, or "inverse_sqrt", inversely to its square
            root (a class without any gets 0); or weights by class name, 1 where a class is not named.
        classes: the names, in index order.
        pixels: gives the number of pixels of each class, (C,); asked for where they are counted.

    >>> compute_class_weights({"pet": 2, "background": 2}, ["pet", "background", "border"], lambda: None)
    tensor([0.4000, 0.4000, 0.2000])
    """
    if choice == "none":
        return None
    if isinstance(choice, str):
        count = pixels().double()
        weights = torch.where(count > 0, count.clamp(min=1) ** -CLASS_WEIGHT_POWERS[choice], 0.0)
    else:
        check_class_weights(choice, classes)
        weights = torch.tensor([choice.get(name, 1.0) for name in classes], dtype=torch.float64)
    if weights.sum() <= 0:
        raise ConfigError(_ALL_ZERO)
    return (weights / weights.sum()).float()
