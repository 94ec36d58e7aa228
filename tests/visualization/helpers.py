"""Images and pixel counts for the tests of drawings."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.palette import Color

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
RGB = (RED, GREEN, BLUE)
WHITE = (255, 255, 255)

Pixels = npt.NDArray[np.uint8]


def make_mask(*rows: list[int]) -> Pixels:
    """Return a mask from its rows."""
    return np.array(rows, np.uint8)


def solid_image(height: int, width: int, color: Color) -> Pixels:
    """Return an (H, W, 3) image of one color."""
    return np.full((height, width, 3), color, np.uint8)


def bounding_box(image: Image.Image, color: Color) -> tuple[int, int, int, int]:
    """Return left, upper, right, lower (exclusive) of the pixels of exactly this color."""
    rows, columns = np.nonzero((np.array(image) == color).all(axis=2))
    assert len(rows), f"no pixel of color {color}"
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def count_pixels(image: Image.Image | Path, color: Color) -> int:
    """Count the pixels of exactly this color in an image or an image file."""
    if isinstance(image, Path):
        with Image.open(image) as opened:
            return count_pixels(opened.convert("RGB"), color)
    return int((np.array(image) == color).all(axis=2).sum())
