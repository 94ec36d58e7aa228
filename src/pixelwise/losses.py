"""Losses on logits, and the weights of pixels."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.data.records import IGNORE_INDEX
from pixelwise.errors import ConfigError, unknown_name

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(logits (N, C, H, W) float, mask (N, H, W) uint8 with 255 = ignore, pixel weights (N, H, W) float or None)
→ scalar; every loss in LOSSES is one."""


def pixel_cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sparse cross-entropy from logits of each pixel, times its weight; 0 where the mask says ignore.

    Args:
        logits: (N, C, ...) float, any real values.
        mask: (N, ...) integer class indices in 0..C-1, or 255 to ignore.
        weights: (N, ...) float, or None for 1 everywhere.

    Returns: (N, ...) float32, in nats.

    The tutorial's example (https://www.tensorflow.org/tutorials/images/segmentation):

    >>> logits = torch.tensor([[-3.0, 0.0], [-3.0, 0.0]])
    >>> pixel_cross_entropy(logits, torch.tensor([0, 0]), torch.tensor([1.0, 10.0]))
    tensor([ 3.0486, 30.4859])
    """
    loss = F.cross_entropy(logits.float(), mask.long(), ignore_index=IGNORE_INDEX, reduction="none")
    return loss if weights is None else loss * weights


def cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of `pixel_cross_entropy` over the pixels that are not ignored.

    As in Keras, weights scale the sum and not the count they are divided by.
    """
    counted = (mask != IGNORE_INDEX).sum().clamp(min=1)
    if weights is None:  # summed as it goes, without a map of every pixel's loss
        return F.cross_entropy(logits.float(), mask.long(), ignore_index=IGNORE_INDEX, reduction="sum") / counted
    return pixel_cross_entropy(logits, mask, weights).sum() / counted


def dice(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """1 − the soft Dice coefficient, averaged over the classes present in the batch, in [0, 1].

    Milletari et al. 2016, "V-Net". Each class counts the same however few its pixels are.
    """
    counted = mask != IGNORE_INDEX
    share = (counted if weights is None else counted * weights).float()
    label = mask.long() * counted
    probability = logits.float().softmax(1)
    # No map of every class's pixels: at 384 px and 11 classes that took as long as the rest of a training step.
    own = probability.gather(1, label[:, None])[:, 0] * share
    none = torch.zeros(logits.shape[1], device=logits.device)
    overlap, truth = (none.index_add(0, label.flatten(), each.flatten()) for each in (own, share))
    predicted = torch.bmm(probability.flatten(2), share.flatten(1)[:, :, None]).sum((0, 2))
    return _mean_dice_loss(overlap, predicted, truth)


def _mean_dice_loss(overlap: Tensor, predicted: Tensor, truth: Tensor) -> Tensor:
    """1 − 2·overlap / (predicted + truth), each (C,) sums over pixels, averaged over the classes that are there."""
    present = truth > 0
    score = 2 * overlap / (predicted + truth).clamp(min=1e-6)
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)


def cross_entropy_dice(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy plus Dice: each pixel counts, and each class does.

    Weights go into the cross-entropy, here a weighted mean, so that neither part outgrows the other. To Dice, in which
    classes count the same as it is, they only say which pixels have none.
    """
    if weights is None:
        return cross_entropy(logits, mask) + dice(logits, mask)
    total = (weights * (mask != IGNORE_INDEX)).sum().clamp(min=1e-6)
    return pixel_cross_entropy(logits, mask, weights).sum() / total + dice(logits, mask, (weights > 0).float())


def focal(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy times (1 − p)², p the probability given to the true class: hard pixels count for more.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", with its exponent 2.
    """
    loss = pixel_cross_entropy(logits, mask)
    loss = (1 - torch.exp(-loss)) ** 2 * loss
    counted = (mask != IGNORE_INDEX).sum().clamp(min=1)
    return (loss if weights is None else loss * weights).sum() / counted


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "dice": dice,
    "cross_entropy_dice": cross_entropy_dice,
    "focal": focal,
}


def sigmoid(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of every class by itself, averaged over classes and over the pixels that are not ignored.

    Args:
        logits: (N, C, H, W) float, any real values.
        mask: (N, C, H, W) uint8: 1 where the class is, 0 where it is not, 255 to ignore.
        weights: (N, C, H, W) float, or None for 1 everywhere.

    Returns: a scalar, in nats.

    >>> sigmoid(torch.zeros(1, 2, 1, 1), torch.tensor([[[[1]], [[255]]]], dtype=torch.uint8))
    tensor(0.6931)
    """
    counted = mask != IGNORE_INDEX
    loss = F.binary_cross_entropy_with_logits(logits.float(), (mask * counted).float(), weights, reduction="none")
    return (loss * counted).sum() / counted.sum().clamp(min=1)


def sigmoid_dice(logits: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
    """`sigmoid` plus 1 − the soft Dice coefficient, averaged over the classes present in the batch."""
    counted = mask != IGNORE_INDEX
    share = counted if weights is None else counted * weights
    truth, probability = (mask * counted) * share, logits.float().sigmoid() * share
    axes = (0, 2, 3)
    overlap = (probability * (mask * counted)).sum(axes)
    return sigmoid(logits, mask, weights) + _mean_dice_loss(overlap, probability.sum(axes), truth.sum(axes))


MULTILABEL_LOSSES: dict[str, Loss] = {"sigmoid": sigmoid, "sigmoid_dice": sigmoid_dice}
"""The losses of data sets in which a pixel can be of several classes: masks are (N, C, H, W)."""


def loss_named(name: str) -> Loss:
    """The loss of that name, of either kind."""
    return LOSSES[name] if name in LOSSES else MULTILABEL_LOSSES[name]


COUNTED_WEIGHTS = {"balanced": 1.0, "tempered": 0.5}
"""The class weights that are worked out from the pixels of each class: one over their number, to this power."""


def check_loss(name: str, multilabel: bool) -> None:
    """Raise ConfigError where the loss is not for masks of that kind."""
    fitting = MULTILABEL_LOSSES if multilabel else LOSSES
    if name not in fitting:
        kind = "multi-label (a pixel can be of several classes)" if multilabel else "one class a pixel"
        raise ConfigError(f"loss '{name}' is not for this data, which is {kind}; choose --loss {', '.join(fitting)}")


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


def class_weight_values(
    choice: str | dict[str, float], classes: Sequence[str], pixels: Callable[[], Tensor]
) -> Tensor | None:
    """The weight of each class, (C,) float32 that sum to 1 as in the tutorial; None for no weights.

    Args:
        choice: "none"; "balanced", inversely to each class's number of pixels, or "tempered", inversely to its square
            root (a class without any gets 0); or weights by class name, 1 where a class is not named.
        classes: the names, in index order.
        pixels: gives the number of pixels of each class, (C,); asked for where they are counted.

    >>> class_weight_values({"pet": 2, "background": 2}, ["pet", "background", "border"], lambda: None)
    tensor([0.4000, 0.4000, 0.2000])
    """
    if choice == "none":
        return None
    if isinstance(choice, str):
        count = pixels().double()
        weights = torch.where(count > 0, count.clamp(min=1) ** -COUNTED_WEIGHTS[choice], 0.0)
    else:
        check_class_weights(choice, classes)
        weights = torch.tensor([choice.get(name, 1.0) for name in classes], dtype=torch.float64)
    if weights.sum() <= 0:
        raise ConfigError(_ALL_ZERO)
    return (weights / weights.sum()).float()


def pixel_weights(mask: Tensor, class_weights: Tensor) -> Tensor:
    """The weight of each pixel by its class, 0 where ignored.

    A mask (N, H, W) uint8 of class indices and class_weights (C,) → (N, H, W) float32. Of a multi-label mask (N, C, H,
    W) every layer gets the weight of its class, times C so that weights average 1.
    """
    if mask.ndim == 4:
        return (mask != IGNORE_INDEX) * (class_weights * len(class_weights)).to(mask.device)[:, None, None]
    lookup = torch.zeros(256, dtype=torch.float32, device=mask.device)
    lookup[: len(class_weights)] = class_weights.to(mask.device)
    return lookup[mask.long()]
