"""Clipping of polygons to the image before pycocotools draws them.

pycocotools stores five points for each pixel of an outline, inside or outside the image, and does not check that it got
the memory. A few coordinates far outside an image would end the process.
"""

from collections.abc import Sequence

import numpy as np

from pixelwise.errors import AnnotationError

MARGIN = 100.0
"""Distance in pixels from the image, up to which polygons are not clipped.

pycocotools rounds corners to a fifth of a pixel. The effect of a cut on pixels of the image shrinks with its distance.
"""

MAX_OUTLINE = 4_000_000
"""Maximum length of an outline inside the image, in pixels. pycocotools needs 55 bytes a pixel."""


def clip_polygons(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """Clip polygons to the image and a margin of `MARGIN` pixels. Pixels inside the image do not change.

    Args:
        polygons: (K, 2) arrays of x, y in pixels.
        size: (height, width) of the image in pixels.

    Returns:
        Those polygons that reach the image, clipped.

    Raises:
        AnnotationError: The outline of a clipped polygon is longer than `MAX_OUTLINE` pixels.

    >>> clip_polygons([np.array([[1.0, 1], [900, 1], [900, 3], [1, 3]])], (4, 6))[0].tolist()
    [[1.0, 1.0], [106.0, 1.0], [106.0, 3.0], [1.0, 3.0]]
    """
    clipped = []
    longest = max(size) + 2 * MARGIN
    for polygon in polygons:
        points = _clip(polygon, size)
        if len(points) < 3:
            continue
        if len(points) * longest <= MAX_OUTLINE:
            clipped.append(points)
            continue
        length = float(np.abs(np.roll(points, -1, 0) - points).max(1).sum())
        if length > MAX_OUTLINE:
            raise AnnotationError(
                f"a polygon of {len(polygon):,} points is {length:,.0f} pixels long, more than the maximum of "
                f"{MAX_OUTLINE:,}; simplify or remove it"
            )
        clipped.append(points)
    return clipped


def _clip(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip a polygon by the four sides of the image, one after the other (Sutherland and Hodgman, 1974).

    A part outside of a side is replaced by a piece of that side. Both are on the same side of the image, so the winding
    number of every pixel stays the same, also of polygons that are concave or cross themselves.
    """
    if not len(points) or (points.min() >= -MARGIN and (points <= (size[1] + MARGIN, size[0] + MARGIN)).all()):
        return points
    for axis, length in ((0, size[1]), (1, size[0])):
        points = _clip_side(points, axis, 1.0, -MARGIN)
        points = _clip_side(points, axis, -1.0, -(length + MARGIN))
    return points


def _clip_side(points: np.ndarray, axis: int, sign: float, bound: float) -> np.ndarray:
    """Keep the part of a polygon (K, 2) with sign · coordinate ≥ bound."""
    distance = sign * points[:, axis] - bound
    inside = distance >= 0
    if inside.all() or not inside.any():
        return points if len(points) and inside.all() else points[:0]
    crosses = inside != np.roll(inside, -1)
    span = np.where(crosses, distance - np.roll(distance, -1), 1.0)
    crossing = points + (distance / span)[:, None] * (np.roll(points, -1, 0) - points)
    crossing[:, axis] = sign * bound
    return np.stack([points, crossing], axis=1)[np.stack([inside, crosses], axis=1)]
