"""Random square windows of images: their number per epoch, and their positions.

Half of the windows of an epoch are at random positions. The others contain a pixel of a class that is drawn uniformly
over the classes, so that rare classes occur as often as common ones, as in nnU-Net (Isensee et al. 2021).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.data.class_cells import ClassCells, cell_region

CLASS_FRACTION = 0.5
"""Fraction of the windows that are placed around a pixel of a class."""

MIN_WINDOWS = 256
"""Minimum number of windows per epoch, so that an epoch is long compared to its validation."""

MAX_WINDOWS = 4096
"""Maximum number of windows per epoch, unless there are more images. Each epoch has other windows."""

RANDOM_NUMBERS = 7
"""Number of random numbers that one window needs."""


class Window(NamedTuple):
    """A window of an image.

    Attributes:
        image: index of the image.
        top, left: the first row and column. They are negative if the image is smaller than the window.
    """

    image: int
    top: int
    left: int


def windows_per_image(areas: Sequence[float], side: int) -> npt.NDArray[np.int64]:
    """Return the number of windows of each image in an epoch.

    The windows cover the area of each image once. If they are fewer than `MIN_WINDOWS` or more than `MAX_WINDOWS` in
    all, all numbers are multiplied by the same factor. Each image has at least one window.

    Args:
        areas: (N,) areas of the images in working pixels.
        side: side of a window in working pixels.

    Returns:
        (N,) int64.

    >>> windows_per_image([640 * 640, 64 * 64], 64).tolist()
    [253, 3]
    """
    if not len(areas):
        return np.zeros(0, np.int64)
    wanted = np.maximum(np.asarray(areas, np.float64) / side**2, 1.0)
    total = wanted.sum()
    wanted *= min(max(total, MIN_WINDOWS), max(MAX_WINDOWS, len(wanted))) / total
    return np.maximum(np.rint(wanted), 1).astype(np.int64)


def window_at_random(image: int, size: tuple[int, int], side: int, draws: Sequence[float]) -> Window:
    """Return a window at a random position inside an image. If the image is smaller, it is in the middle of the window.

    Args:
        image: index of the image.
        size: height and width of the image in pixels.
        side: side of the window in pixels.
        draws: two random numbers in [0, 1).
    """
    top, left = (_start(length, side, draw) for length, draw in zip(size, draws, strict=True))
    return Window(image, top, left)


def _start(length: int, side: int, draw: float) -> int:
    return int(draw * (length - side + 1)) if length >= side else -((side - length) // 2)


def window_around(
    image: int, size: tuple[int, int], side: int, pixel: tuple[int, int], draws: Sequence[float]
) -> Window:
    """Return a window that has a pixel at a random place in its middle half.

    A window that would leave the image is moved inside, so the pixel can be nearer to its border. If the image is
    smaller than the window, it is in the middle of the window.

    Args:
        image: index of the image.
        size: height and width of the image in pixels.
        side: side of the window in pixels.
        pixel: row and column of the pixel.
        draws: two random numbers in [0, 1).
    """
    starts = []
    for length, position, draw in zip(size, pixel, draws, strict=True):
        start = position - int(side * (0.25 + 0.5 * draw))
        starts.append(min(max(start, 0), length - side) if length >= side else -((side - length) // 2))
    return Window(image, *starts)


def draw_class_cell(width: int, index: ClassCells, image: int, value: int, draw: float) -> tuple[slice, slice]:
    """Return the rows and columns of a random one of the cells that have a class.

    Args:
        width: width of the image in pixels.
        index: the index of the masks.
        image: index of the image.
        value: index of the class. The image must contain it.
        draw: a random number in [0, 1).
    """
    cells = index.of_class(image, value)
    return cell_region(int(cells[int(draw * len(cells))]), width)


def draw_pixel_of(part: npt.NDArray[np.uint8], value: int, draw: float) -> tuple[int, int]:
    """Return the row and column of a random pixel of a class.

    Args:
        part: a part of a mask that contains the class, see `find_cells`.
        value: index of the class.
        draw: a random number in [0, 1).
    """
    pixels = np.flatnonzero(part == value if part.ndim == 2 else part[value] == 1)
    row, column = divmod(int(pixels[int(draw * len(pixels))]), part.shape[-1])
    return row, column


def cut_window(pixels: npt.NDArray[np.uint8], top: int, left: int, side: int) -> npt.NDArray[np.uint8]:
    """Cut a square window out of an image or a mask. Pixels outside are mirrored at the border.

    Args:
        pixels: (H, W) or (H, W, channels).
        top: first row of the window.
        left: first column of the window.
        side: side of the window in pixels.

    Returns:
        (side, side) or (side, side, channels). A view of `pixels` if the window is inside.

    >>> cut_window(np.array([[1, 2], [3, 4]], np.uint8), -1, 0, 3).tolist()
    [[1, 2, 2], [1, 2, 2], [3, 4, 4]]
    """
    height, width = pixels.shape[:2]
    if 0 <= top <= height - side and 0 <= left <= width - side:
        return pixels[top : top + side, left : left + side]
    return pixels[np.ix_(mirror_indices(height, top, side), mirror_indices(width, left, side))]


def mirror_indices(length: int, start: int, side: int) -> npt.NDArray[np.int64]:
    """Return the pixel at each position of one side of a window. Positions outside are mirrored at the border.

    Args:
        length: the side of the image in pixels.
        start: the first position, which can be negative.
        side: the side of the window in pixels.

    Returns:
        (side,) int64 in [0, length).

    >>> mirror_indices(3, -2, 7).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    position = np.arange(start, start + side) % (2 * length)
    return np.minimum(position, 2 * length - 1 - position)
