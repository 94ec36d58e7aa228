"""The fraction of equal pixels of an exported file and of the model in PyTorch, on images of odd sizes and kinds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.errors import RunError
from pixelwise.export.drawn_images import draw_image
from pixelwise.inference.exported.metadata import MIN_EQUAL
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.prediction import Prediction

Bytes = npt.NDArray[np.uint8]

ODD_SIZES = {
    "one pixel": (1, 1),
    "one row": (1, 3000),
    "one column": (3000, 1),
    "12 megapixels": (3000, 4000),
    "a usual size": (375, 500),
}
"""Name of an image of the measurement → its height and width in pixels."""


@dataclass(frozen=True)
class MeasuredImage:
    """An image, and the masks of the model and of the file.

    Attributes:
        name: the image in words.
        image: (H, W, channels) uint8.
        expected: the mask of the model in PyTorch in float32.
        mask: the mask of the file.
    """

    name: str
    image: Bytes
    expected: Bytes
    mask: Bytes

    @property
    def equal(self) -> float:
        """The fraction of equal pixels in [0, 1]. For a multi-label mask, of equal values."""
        return float(np.mean(self.expected == self.mask))


def odd_images(channels: int) -> Iterator[tuple[str, Bytes | Image.Image]]:
    """Yield images of odd sizes and kinds with their names.

    Args:
        channels: number of channels.
    """
    base = draw_image(480, 640, channels)
    for name, (height, width) in ODD_SIZES.items():
        yield name, _resize(base, height, width)
    if channels == 3:
        yield "grayscale", Image.fromarray(base).convert("L")
        opacity = np.linspace(0, 255, base.shape[1], dtype=np.uint8)[None].repeat(base.shape[0], 0)
        yield "RGBA", Image.fromarray(np.dstack([base, opacity]))


def measure(
    predictor: ImagePredictor[Any],
    exported: ImagePredictor[Any],
    images: Iterable[tuple[str, Bytes | Image.Image]],
) -> Iterator[MeasuredImage]:
    """Predict images with a model and with its exported file.

    Args:
        predictor: the model.
        exported: the file.
        images: names and images.

    Yields:
        The masks of each image.
    """
    for name, image in images:
        expected: Prediction = predictor(image)
        yield MeasuredImage(name, expected.image, expected.mask, exported(image).mask)


def check_equal(measured: Sequence[MeasuredImage]) -> None:
    """Raise RunError if the masks of an image differ in more than 0.1 % of the pixels."""
    worst = min(measured, key=lambda each: each.equal)
    if worst.equal < MIN_EQUAL:
        raise RunError(
            f"the file gives other masks than the model: {worst.equal:.2%} of the pixels of the image '{worst.name}' "
            f"are equal, and {MIN_EQUAL:.1%} are needed; nothing was written"
        )


def _resize(image: Bytes, height: int, width: int) -> Bytes:
    """Resize each channel of an image with Pillow."""
    if image.shape[2] == 3:
        return np.array(Image.fromarray(image).resize((width, height)))
    planes = [Image.fromarray(plane).resize((width, height)) for plane in np.moveaxis(image, 2, 0)]
    return np.stack([np.array(plane) for plane in planes], axis=-1)
