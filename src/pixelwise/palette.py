"""Class colors, the classes that count as background, and the mask value of ignored pixels."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = 255
"""Mask value of pixels that are left out of losses and metrics."""

Color: TypeAlias = tuple[int, int, int]
"""(red, green, blue), each in [0, 255]."""

Palette: TypeAlias = tuple[Color, ...]
"""One color per class, in index order."""

IGNORE_COLOR: Color = (200, 200, 200)
"""Color of ignored pixels.

It is gray because no color of `default_palette` is gray. With any common color vision deficiency, this gray can be
distinguished from the first ten colors.
"""

_FIRST_COLORS: Palette = (
    # They stay visible if they are blended with blue sky or green grass. Most greens and blues do not. In this order,
    # neighbors differ most. docs/decisions.md has the color differences.
    (230, 159, 0),  # orange (Okabe & Ito, "Color Universal Design", 2008)
    (153, 34, 255),  # violet
    (0, 238, 136),  # spring green
    (213, 94, 0),  # vermilion (Okabe & Ito)
    (51, 34, 136),  # indigo (Paul Tol's "muted" scheme, SRON technical note 09-002)
    (255, 68, 238),  # magenta
    (136, 34, 85),  # wine (Tol)
    (204, 121, 167),  # reddish purple (Okabe & Ito)
    (136, 0, 0),  # maroon
    (240, 228, 66),  # yellow (Okabe & Ito); a yellow line is hard to see on white
)

_SKY_AND_GRASS: Palette = (
    (135, 206, 235), (120, 170, 220), (90, 150, 210), (70, 130, 190), (176, 208, 232),
    (86, 125, 70), (124, 156, 60), (96, 128, 56), (60, 100, 45), (140, 170, 90),
)  # fmt: skip
"""Colors of surfaces in many images. A class color that is blended with them must change them."""

_SURFACE_WEIGHT = 2
"""Weight of the change of a surface by a color, relative to the distance of two colors.

A larger weight makes colors more visible on surfaces, and more alike (docs/decisions.md).
"""

_RGB_TO_LMS = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LMS_TO_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
"""The two matrices of Oklab: from linear sRGB to the responses of the eye, and from their cube roots to Oklab."""

_BACKGROUND_NAMES = frozenset(
    {
        "background", "bg", "nothing", "none", "other", "others", "rest",
        "unclassified", "unknown", "unlabeled", "unlabelled", "void",
    }
)  # fmt: skip
"""Names of classes for everything that has none of the other classes."""


def is_background_name(name: str) -> bool:
    """Return True if a class name stands for everything that has none of the other classes.

    Case, and the characters "_", "-", brackets and spaces around the name, do not matter.

    >>> [is_background_name(name) for name in ("_Background_", "void", "sky")]
    [True, True, False]
    """
    return name.strip(" _-()[]").casefold() in _BACKGROUND_NAMES


def background_classes(classes: Sequence[str], values: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the indices of the classes that are background. Overlays do not color them, and they have no objects.

    A class is background if `is_background_name` is True for its name. If there is no such class, and the masks have
    the two values 0 and 255, the class of the value 0 is background.

    Args:
        classes: class names in index order.
        values: the mask value of each class, or () if it is not known.

    Returns:
        The indices in increasing order. Empty if all classes have such names.

    >>> background_classes(["pet", "background", "border"])
    (1,)
    >>> background_classes(["lesion", "healthy"], [255, 0])
    (1,)
    """
    indices = tuple(index for index, name in enumerate(classes) if is_background_name(name))
    if not indices and len(classes) == 2 and sorted(values) == [0, 255]:
        indices = (list(values).index(0),)
    return indices if len(indices) < len(classes) else ()


def default_palette(count: int) -> Palette:
    """Return distinct colors for classes. A longer palette starts with the colors of a shorter one.

    The first ten colors stay visible on sky and grass if they are blended with them, and can be distinguished with any
    common color vision deficiency. Later colors are generated, each with the largest possible distance to all earlier
    ones, to IGNORE_COLOR, and to sky and grass.

    Args:
        count: number of classes, 1 to 255.

    Raises:
        ValueError: `count` is out of range. A uint8 mask has room for 255 classes besides IGNORE_INDEX.

    >>> default_palette(2)
    ((230, 159, 0), (153, 34, 255))
    """
    if not 1 <= count <= IGNORE_INDEX:
        raise ValueError(f"a palette has 1 to {IGNORE_INDEX} colors, not {count}")
    return _FIRST_COLORS[:count] if count <= len(_FIRST_COLORS) else _all_colors()[:count]


@lru_cache(maxsize=1)
def _all_colors() -> Palette:
    """Return the default palette of 255 colors."""
    values = np.arange(0, 256, 17)
    candidates = np.stack(np.meshgrid(values, values, values, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _to_oklab(candidates)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    vivid = (lightness > 0.35) & (lightness < 0.95) & (chroma > 0.04)  # neither black, white nor gray
    candidates, lab = candidates[vivid], lab[vivid]

    nearest = np.full(len(lab), np.inf)
    for color in (IGNORE_COLOR, *_FIRST_COLORS):
        nearest = np.minimum(nearest, np.linalg.norm(lab - _to_oklab(np.array([color])), axis=1))
    for surface in np.array(_SKY_AND_GRASS):
        change = np.linalg.norm(_to_oklab((candidates + surface) / 2) - _to_oklab(surface[None]), axis=1)
        nearest = np.minimum(nearest, _SURFACE_WEIGHT * change)
    chosen = list(_FIRST_COLORS)
    while len(chosen) < IGNORE_INDEX:
        # The last bits of the cube root differ between machines. Rounding keeps this from changing the order.
        farthest = int(np.argmax(nearest.round(6)))
        red, green, blue = (int(value) for value in candidates[farthest])
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[farthest], axis=1))
    return tuple(chosen)


def _to_oklab(colors: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Convert sRGB colors to Oklab, in which distances match perception (Ottosson 2020, "A perceptual color space").

    Args:
        colors: (N, 3) in [0, 255].

    Returns:
        (N, 3): the lightness in [0, 1], and two coordinates of the hue.
    """
    srgb = colors / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ np.array(_RGB_TO_LMS).T) @ np.array(_LMS_TO_OKLAB).T


def voc_palette(count: int) -> Palette:
    """Return the first `count` colors of the Pascal VOC palette.

    Bits 0, 1 and 2 of a class index are the highest bits of red, green and blue. Bits 3, 4 and 5 are the second highest
    bits, and so on.

    >>> voc_palette(3)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """

    def value(index: int, channel: int) -> int:
        return sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))

    return tuple((value(index, 0), value(index, 1), value(index, 2)) for index in range(count))


def pack_rgb(color: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Convert colors to numbers 0xRRGGBB.

    Args:
        color: (..., 3) integers in [0, 255].

    Returns:
        (...) uint32.

    >>> f"{pack_rgb((255, 128, 0)):06x}"
    'ff8000'
    """
    red, green, blue = np.moveaxis(np.asarray(color, np.uint32), -1, 0)
    return red << 16 | green << 8 | blue


def unpack_rgb(packed: npt.ArrayLike) -> npt.NDArray[np.int16]:
    """Convert numbers 0xRRGGBB to colors, the inverse of `pack_rgb`.

    Args:
        packed: (...) integers in [0, 0xFFFFFF].

    Returns:
        (..., 3) integers in [0, 255]. Their type is int16, so that differences of colors do not overflow.

    >>> unpack_rgb(0xFF8000).tolist()
    [255, 128, 0]
    """
    return (np.asarray(packed)[..., None] >> np.array([16, 8, 0]) & 255).astype(np.int16)


def to_hex(color: Color) -> str:
    """Return a color as hexadecimal text.

    >>> to_hex((255, 128, 0))
    '#ff8000'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def parse_hex(text: str) -> Color:
    """Return the color of a hexadecimal text like #ff8000.

    The "#" is optional, and missing leading digits are 0.

    Raises:
        ValueError: The text is not a hexadecimal number from 0 to ffffff.

    >>> parse_hex("#ff8000")
    (255, 128, 0)
    """
    value = int(text.removeprefix("#"), 16)
    if not 0 <= value <= 0xFFFFFF:
        raise ValueError(f"'{text}' is not a color")
    return value >> 16, value >> 8 & 255, value & 255
