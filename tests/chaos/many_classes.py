"""Memory of a prediction with many classes."""

import resource
from collections.abc import Iterator
from functools import partial

import numpy as np

from pixelwise.inference.predictor import Predictor
from pixelwise.models.model import create_model
from tests.chaos.forks import check_in_forks
from tests.chaos.verdicts import Try, Verdict

PART = "many classes"

_BYTES_PER_PIXEL = 40
"""Memory that a prediction may take per pixel, whatever the number of classes."""

_FIXED_BYTES = 200 << 20
"""Memory that a prediction may take besides."""


def predict_many_classes(megapixels: float, numbers: tuple[int, ...] = (3, 21, 81, 150)) -> Iterator[Try]:
    """Predict a large image with models of many classes, and compare the memory with a bound.

    Args:
        megapixels: size of the image.
        numbers: numbers of classes.
    """
    for number in numbers:
        for _, verdict, detail in check_in_forks([partial(_check, megapixels, number)], seconds=600, memory=16 << 30):
            yield Try(PART, f"{number} classes, {megapixels:g} Mpx", verdict, detail)


def _check(megapixels: float, number: int) -> tuple[Verdict, str]:
    model = create_model("test_efficientnet", classes=number, image_size=32, encoder_weights="none")
    predictor = Predictor(model, "cpu")
    height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
    image = np.random.default_rng(0).integers(0, 256, (height, height * 4 // 3, 3), np.uint8)
    before = _peak()
    predictor(image)
    used = _peak() - before
    bound = _FIXED_BYTES + int(megapixels * 1e6) * _BYTES_PER_PIXEL
    text = f"{used / 2**20:,.0f} MiB, at most {bound / 2**20:,.0f}"
    return (Verdict.MEMORY if used > bound else Verdict.EQUAL), text


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
