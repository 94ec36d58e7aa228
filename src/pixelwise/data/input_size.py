"""The input of a network: the view of an image, and the size, which is the side of a square or a height and a width."""

import math
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

MAX_SIZE = 4096
"""Maximum side in pixels of the input of a model. Larger inputs exceed the memory of most machines."""

View = Literal["whole", "tiles"]
"""The input of the network: the whole image resized to the input size, or windows of the image."""

_TEXT = re.compile(r"\s*(\d{1,9})\s*(?:[xX×]\s*(\d{1,9})\s*)?")


class HeightWidth(NamedTuple):
    """A height and a width in pixels. As text, it is HEIGHTxWIDTH.

    >>> str(HeightWidth(288, 384))
    '288x384'
    """

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


InputSize: TypeAlias = int | tuple[int, int]
"""The side of a square in pixels, or a height and a width. `parse_size` returns a pair as a `HeightWidth`."""


def to_pair(size: InputSize) -> HeightWidth:
    """Return the height and width of a size.

    >>> to_pair(128), to_pair((288, 384))
    (HeightWidth(height=128, width=128), HeightWidth(height=288, width=384))
    """
    return HeightWidth(size, size) if isinstance(size, int) else HeightWidth(*size)


def mean_side(size: InputSize) -> float:
    """Return the side in pixels of the square with as many pixels.

    >>> mean_side(128), mean_side(HeightWidth(100, 400))
    (128.0, 200.0)
    """
    return math.sqrt(math.prod(to_pair(size)))


def map_sides(function: Callable[[int], int], size: InputSize) -> int | HeightWidth:
    """Return the size whose sides are a function of the sides of another.

    >>> map_sides(lambda side: side * 2, HeightWidth(288, 384))
    HeightWidth(height=576, width=768)
    """
    return function(size) if isinstance(size, int) else HeightWidth(*map(function, size))


def window_side(size: InputSize) -> int:
    """Return the side of a window. Windows are square: `Config` refuses other sizes for the view "tiles"."""
    assert isinstance(size, int)
    return size


def parse_size(value: object, smallest: int, largest: int) -> int | HeightWidth:
    """Return the size that a setting or a file states.

    Args:
        value: the side of a square, HEIGHTxWIDTH, or a pair of height and width.
        smallest: minimum side in pixels.
        largest: maximum side in pixels.

    Returns:
        The side if height and width are equal, else both.

    Raises:
        ValueError: The value is not a size, or a side is too small or too large.

    >>> parse_size("384", 32, 4096), parse_size("288x384", 32, 4096), parse_size([64, 64], 32, 4096)
    (384, HeightWidth(height=288, width=384), 64)
    """
    sides = _sides(value)
    if not 1 <= len(sides) <= 2:
        raise ValueError("must be the side of a square in pixels, or HEIGHTxWIDTH such as 288x384")
    if min(sides) < smallest:
        raise ValueError(f"must be {smallest} px or more")
    if max(sides) > largest:
        raise ValueError(f"must be {largest} px or less")
    return sides[0] if len(set(sides)) == 1 else HeightWidth(*sides)


def to_plain(size: int | HeightWidth) -> int | str:
    """Return a size as JSON and YAML contain it: a number, or text.

    >>> to_plain(128), to_plain(HeightWidth(288, 384))
    (128, '288x384')
    """
    return size if isinstance(size, int) else str(size)


def _sides(value: Any) -> list[int]:
    """Return the whole numbers that a value consists of. Return an empty list if it is not a size."""
    if isinstance(value, str):
        match = _TEXT.fullmatch(value)
        return [int(side) for side in match.groups() if side is not None] if match else []
    sides = list(value) if isinstance(value, tuple | list) else [value]
    if any(isinstance(side, bool) or not isinstance(side, int | float) or side % 1 != 0 for side in sides):
        return []
    return list(map(int, sides))
