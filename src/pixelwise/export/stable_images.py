"""Self-test images for a file with 8-bit integers, whose masks other processors give too."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.export.drawn_images import draw_image
from pixelwise.inference.image_predictor import ImagePredictor

Bytes = npt.NDArray[np.uint8]

CANDIDATES = 15
"""Number of images that are drawn for each size."""

_NOISY = 2
"""Number of versions of an image with noise."""


def choose_stable_images(
    file: ImagePredictor[Any], plain: ImagePredictor[Any], channels: int, sizes: Iterable[tuple[int, int]]
) -> list[Bytes]:
    """Choose the drawn images whose masks depend least on the rounding of a processor.

    A difference in the last digit of one layer can change an 8-bit integer, and with it pixels at the borders of
    classes. This is no fault of the file, so its self-test has images for which it hardly occurs.

    Args:
        file: the exported file.
        plain: the same file, computed by other code, see `ExportedModel.open_plain`.
        channels: number of channels.
        sizes: height and width of each image in pixels.

    Returns:
        One image per size, (height, width, channels). Images with several classes are preferred.
    """
    chosen = []
    for index, (height, width) in enumerate(sizes):
        seeds = range(index * CANDIDATES, (index + 1) * CANDIDATES)
        images = [draw_image(height, width, channels, seed) for seed in seeds]
        keys = [_rank(file(image).mask, [plain(image).mask, *_with_noise(file, image)]) for image in images]
        chosen.append(images[keys.index(min(keys))])
    return chosen


def _with_noise(file: ImagePredictor[Any], image: Bytes) -> Iterator[Bytes]:
    """Yield the masks of an image whose values change by at most 1."""
    for seed in range(_NOISY):
        noise = np.random.default_rng(seed).integers(-1, 2, image.shape)
        yield file(np.clip(image + noise, 0, 255).astype(np.uint8)).mask


def _rank(mask: Bytes, others: Iterable[Bytes]) -> tuple[bool, float]:
    """Return whether a mask has one value only, and the fractions of pixels that differ from other masks, added."""
    return bool(mask.min() == mask.max()), sum(float(np.mean(mask != other)) for other in others)
