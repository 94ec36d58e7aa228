"""Class colors, and the mask value of pixels to ignore."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

IGNORE_INDEX = 255
"""Mask value of pixels that neither train nor count."""

Color: TypeAlias = tuple[int, int, int]


Palette: TypeAlias = tuple[Color, ...]


IGNORE_COLOR: Color = (200, 200, 200)
"""Drawn where a mask holds 255.

No color of `default_palette` is a gray. A light one, because a middle gray and the palette's bluish green
are one color to some eyes (deuteranopia).
"""


_FIRST_COLORS: Palette = (
    # Okabe & Ito, "Color Universal Design" (2008), without its black, which is lost in the shadows of a
    # image. The order is ours: neighbors differ most, and yellow, weak as a line on white, comes last.
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (204, 121, 167),  # reddish purple
    (0, 158, 115),  # bluish green
    (213, 94, 0),  # vermilion
    (0, 114, 178),  # blue
    (240, 228, 66),  # yellow
    # Three of Paul Tol's "muted" scheme (SRON technical note 09-002), darker than any above.
    (136, 34, 85),  # wine
    (51, 34, 136),  # indigo
    (17, 119, 51),  # green
)


def default_palette(count: int) -> Palette:
    """Return `count` distinct RGB colors in [0, 255], one a class; longer ones begin with shorter ones.

    The first seven are Okabe and Ito's, the next three Paul Tol's: people with any common color blindness
    can tell them apart. Later ones are generated, each as far as possible (in CIELAB) from all before it
    and from IGNORE_COLOR; with tens of classes no palette is safe for every eye.

    Raises ValueError unless 1 <= count <= 255 (the most classes that a mask with 255 for "ignore" can hold).

    >>> default_palette(2)
    ((230, 159, 0), (86, 180, 233))
    """
    if not 1 <= count <= IGNORE_INDEX:
        raise ValueError(f"a palette holds 1 to {IGNORE_INDEX} colors, not {count}")
    return _FIRST_COLORS[:count] if count <= len(_FIRST_COLORS) else _all_colors()[:count]


@lru_cache(maxsize=1)
def _all_colors() -> Palette:
    """Return the 255 colors that every default palette begins with."""
    levels = np.arange(0, 256, 17)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _to_lab(candidates)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    vivid = (lightness > 25) & (lightness < 93) & (chroma > 15)  # neither black, white nor a gray like "ignore"
    candidates, lab = candidates[vivid], lab[vivid]

    nearest = np.full(len(lab), np.inf)
    for color in (IGNORE_COLOR, *_FIRST_COLORS):
        nearest = np.minimum(nearest, np.linalg.norm(lab - _to_lab(np.array([color])), axis=1))
    chosen = list(_FIRST_COLORS)
    while len(chosen) < IGNORE_INDEX:
        # Rounded, so that the last bits of another machine's cube root cannot change which one wins.
        farthest = int(np.argmax(nearest.round(3)))
        red, green, blue = (int(value) for value in candidates[farthest])
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[farthest], axis=1))
    return tuple(chosen)


def _to_lab(colors: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return N×3 CIELAB (D65) for N×3 sRGB in [0, 255]: distances there are about what the eye sees."""
    srgb = colors / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]), 200 * (root[:, 1] - root[:, 2])], axis=1)


def voc_palette(count: int) -> tuple[Color, ...]:
    """The first colors of VOC's own palette: the bits of an index, three at a time, from the highest bit down.

    >>> voc_palette(3)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """

    def level(index: int, channel: int) -> int:
        return sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))

    return tuple((level(index, 0), level(index, 1), level(index, 2)) for index in range(count))
