"""Self-test images for a file with 8-bit integers or bfloat16, whose masks other processors give too."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.data.input_size import to_pair
from pixelwise.data.task import MULTILABEL, Task
from pixelwise.export.drawn_images import draw_image
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.thresholds import add_shift

Bytes = npt.NDArray[np.uint8]

CANDIDATES = 6
"""Number of images that are drawn for each size."""

_STEPS, _LEARNING_RATE = 24, 4.0
"""Number of changes of an image, and the size of a change in values of 0..255."""

_MARGIN = 3.0
"""Difference of two logits that suffices."""

_LARGEST_CLASS = 0.9
"""Maximum fraction of the pixels in the class that most pixels have, if there is such an image."""

_NOISY = 2
"""Number of versions of an image with noise."""


def make_stable_images(
    predictor: Predictor, file: ImagePredictor[Any], plain: ImagePredictor[Any], sizes: Iterable[tuple[int, int]]
) -> list[Bytes]:
    """Make images whose masks hardly depend on the rounding of a processor.

    A difference in the last digit of one layer can change an 8-bit integer, and with it pixels between two classes of
    nearly the same logit. This is no fault of the file. In images of training data, few pixels are so. In drawn images,
    many are, so they are changed until few are left (docs/decisions.md).

    Args:
        predictor: the model in PyTorch.
        file: the exported file.
        plain: the same file, computed by other code, see `ExportedModel.open_plain`.
        sizes: height and width of each image in pixels.

    Returns:
        One image per size, (height, width, channels). Images whose mask is not nearly one class are preferred.
    """
    channels = len(predictor.config.mean)
    chosen = []
    for index, (height, width) in enumerate(sizes):
        seeds = range(index * CANDIDATES, (index + 1) * CANDIDATES)
        images = raise_margins(predictor, [draw_image(height, width, channels, seed) for seed in seeds])
        keys = [_rank(file(image).mask, [plain(image).mask, *_with_noise(file, image)]) for image in images]
        chosen.append(images[keys.index(min(keys))])
    return chosen


def raise_margins(predictor: Predictor, images: Sequence[Bytes]) -> list[Bytes]:
    """Change images by gradient descent so that the model is more certain of the class of each pixel.

    The loss is max(0, `_MARGIN` - margin), with the difference between the highest two logits of a pixel as its margin,
    or with the absolute logit of each class of a multi-label model.

    Args:
        predictor: the model on the CPU in float32.
        images: (H, W, channels) each, of one size.

    Returns:
        The changed images.
    """
    config = predictor.config
    if config.task is not MULTILABEL and len(config.classes) == 1:
        return list(images)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().requires_grad_()
    height, width = pixels.shape[2:]
    optimizer = torch.optim.Adam([pixels], _LEARNING_RATE)
    for _ in range(_STEPS):
        resized = F.interpolate(pixels, to_pair(config.size), mode="bilinear", antialias=True)
        logits = add_shift(predictor.model(resized), predictor.shift)
        loss = F.relu(_MARGIN - _margins(F.interpolate(logits, (height, width), mode="bilinear"), config.task)).mean()
        (pixels.grad,) = torch.autograd.grad(loss, [pixels])
        optimizer.step()
        with torch.no_grad():
            pixels.clamp_(0, 255)
    changed = pixels.detach().round().byte().permute(0, 2, 3, 1).numpy()
    return [np.ascontiguousarray(image) for image in changed]


def _margins(logits: Tensor, task: Task) -> Tensor:
    """Return how far the logits, (N, C, H, W), are from another class, (N, ...)."""
    if task is MULTILABEL:
        return logits.abs()
    highest = logits.topk(2, dim=1).values
    return highest[:, 0] - highest[:, 1]


def _with_noise(file: ImagePredictor[Any], image: Bytes) -> Iterator[Bytes]:
    """Yield the masks of an image whose values change by at most 1."""
    for seed in range(_NOISY):
        noise = np.random.default_rng(seed).integers(-1, 2, image.shape)
        yield file(np.clip(image + noise, 0, 255).astype(np.uint8)).mask


def _rank(mask: Bytes, others: Iterable[Bytes]) -> tuple[bool, float]:
    """Return whether a mask is nearly one class, and the fractions of pixels that differ from other masks, added."""
    largest = np.bincount(mask.ravel()).max() / mask.size
    return bool(largest > _LARGEST_CLASS), sum(float(np.mean(mask != other)) for other in others)
