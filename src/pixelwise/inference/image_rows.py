"""An image that is read in ranges of rows, and its rows in memory. This module does not import torch."""

from typing import Protocol

import numpy as np
import numpy.typing as npt


class ImageRows(Protocol):
    """An image that is read in ranges of rows.

    Attributes:
        height: height of the image in pixels.
        width: width of the image in pixels.
    """

    height: int
    width: int

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, converted for the model, (stop - start, width, channels) uint8."""
        ...


class ArrayRows:
    """The rows of an image in memory.

    Args:
        image: (H, W, channels) uint8.
    """

    def __init__(self, image: npt.NDArray[np.uint8]) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the rows from start to stop, see `ImageRows`."""
        return self.image[start:stop]
