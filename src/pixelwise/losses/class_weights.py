"""Check class weights, or compute them from the number of pixels of each class."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pixelwise.errors import ConfigError, unknown_name

CLASS_WEIGHT_POWERS = {"balanced": 1.0, "inverse_sqrt": 0.5}
"""Setting → power p: the weight of a class is proportional to 1 / (its number of pixels)^p."""

_ALL_ZERO = "`class_weights` are all 0; give at least one class a weight above 0"


def check_class_weights(choice: str | dict[str, float], classes: Sequence[str]) -> None:
    """Check class weights that are given by class name.

    Args:
        choice: the setting, see `compute_class_weights`. Text is not checked.
        classes: C names, in index order.

    Raises:
        ConfigError: A class is unknown, or all weights are 0.
    """
    if not isinstance(choice, dict):
        return
    for name in choice:
        if name not in classes:
            raise ConfigError(unknown_name("class", name, classes))
    if not any(choice.get(name, 1.0) for name in classes):
        raise ConfigError(_ALL_ZERO)


def compute_class_weights(
    choice: str | dict[str, float], classes: Sequence[str], count_class_pixels: Callable[[], Tensor]
) -> Tensor | None:
    """Return the weight of each class, or None for no weights.

    Args:
        choice: "none", a key of `CLASS_WEIGHT_POWERS`, or class name → weight. "balanced" makes weights inversely
            proportional to the number of pixels of each class, and "inverse_sqrt" to its square root. In both cases the
            weight of a class without pixels is 0. In a mapping, classes that are not named have the weight 1.
        classes: C names, in index order.
        count_class_pixels: returns the number of pixels of each class, (C,). Called only if the weights need it.

    Returns:
        (C,) float32 with the sum 1, as in TensorFlow's tutorial, or None for "none".

    Raises:
        ConfigError: A class is unknown, or all weights are 0.

    >>> compute_class_weights({"pet": 2, "background": 2}, ["pet", "background", "border"], lambda: None)
    tensor([0.4000, 0.4000, 0.2000])
    """
    if choice == "none":
        return None
    if isinstance(choice, str):
        count = count_class_pixels().double()
        weights = torch.where(count > 0, count.clamp(min=1) ** -CLASS_WEIGHT_POWERS[choice], 0.0)
    else:
        check_class_weights(choice, classes)
        weights = torch.tensor([choice.get(name, 1.0) for name in classes], dtype=torch.float64)
    if weights.sum() <= 0:
        raise ConfigError(_ALL_ZERO)
    return (weights / weights.sum()).float()
