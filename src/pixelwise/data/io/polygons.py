"""Clipping of polygons to the image before pycocotools draws them.

pycocotools stores five points for each pixel of an outline, also outside the image. It does not check whether the
memory was allocated. A few coordinates far outside an image would crash the process.
"""

from collections.abc import Sequence

import numpy as np

from pixelwise.errors import AnnotationError

MARGIN = 100.0
"""Distance from the image in pixels. Polygons are only clipped beyond it.

pycocotools rounds corners to a fifth of a pixel, so clipping can move an edge. The larger the distance of the clipped
corner, the smaller is the effect on pixels of the image.
"""

MAX_OUTLINE = 4_000_000
"""Maximum length of a clipped outline in pixels. pycocotools needs 55 bytes per pixel."""


def clip_polygons(polygons: Sequence[np.ndarray], size: tuple[int, int]) -> list[np.ndarray]:
    """Clip polygons to the image and a margin of `MARGIN` pixels. Pixels inside the image do not change.

    Args:
        polygons: (K, 2) arrays of x, y in pixels.
        size: (height, width) of the image in pixels.

    Returns:
        The clipped polygons. Those that are entirely outside of the image and the margin are left out.

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
    """Clip a polygon at the four sides of the image with its margin (Sutherland and Hodgman, 1974).

    A part beyond one side is replaced by a segment of this side. Both are outside of the image, so the winding number
    of every pixel stays the same. This is also true of polygons that are concave or cross themselves.
    """
    if not len(points) or (points.min() >= -MARGIN and (points <= (size[1] + MARGIN, size[0] + MARGIN)).all()):
        return points
    for axis, length in ((0, size[1]), (1, size[0])):
        points = _clip_side(points, axis, 1.0, -MARGIN)
        points = _clip_side(points, axis, -1.0, -(length + MARGIN))
    return points


def _clip_side(points: np.ndarray, axis: int, sign: float, bound: float) -> np.ndarray:
    """Return the part of a polygon (K, 2) with sign · coordinate ≥ bound on the given axis (0 for x, 1 for y)."""
    distance = sign * points[:, axis] - bound
    inside = distance >= 0
    if inside.all() or not inside.any():
        return points if len(points) and inside.all() else points[:0]
    crosses = inside != np.roll(inside, -1)
    span = np.where(crosses, distance - np.roll(distance, -1), 1.0)
    crossing = points + (distance / span)[:, None] * (np.roll(points, -1, 0) - points)
    crossing[:, axis] = sign * bound
    return np.stack([points, crossing], axis=1)[np.stack([inside, crosses], axis=1)]
