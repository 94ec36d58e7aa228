"""Batches and gradients for the tests of losses."""

import torch
from torch import Tensor

from pixelwise.data.task import MULTICLASS, Task
from pixelwise.losses import Loss
from pixelwise.palette import IGNORE_INDEX


def make_batch(task: Task = MULTICLASS, seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Return random logits (2, C, 5, 7) and a mask of two images with every class and some ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 5, 7, generator=generator)
    values = classes if task is MULTICLASS else 2
    mask = torch.randint(values, (2, *task.mask_shape(classes, 5, 7)), generator=generator, dtype=torch.uint8)
    mask[0, ..., :2, :] = IGNORE_INDEX
    return logits, mask


def gradient(loss: Loss, logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
    """Return the gradient of a loss with respect to the logits."""
    leaf = logits.detach().clone().requires_grad_()
    loss(leaf, mask, pixel_weights).backward()
    assert leaf.grad is not None
    return leaf.grad
