"""Polygons in image coordinates: x to the right, y downwards."""

import numpy as np

from pixelwise.errors import AnnotationError

MAX_COORDINATE = 100_000.0
"""Maximum absolute coordinate in pixels. The time to draw a polygon grows with the length of its outline."""


def to_points(values: object, max_coordinate: float = MAX_COORDINATE) -> np.ndarray:
    """Convert coordinates from a JSON or text file to an array.

    Args:
        values: a flat list x, y, x, y, … or a list of pairs (x, y).
        max_coordinate: the maximum absolute value.

    Returns:
        (K, 2) float64 array of x and y.

    Raises:
        AnnotationError: `values` is neither, or a coordinate is not finite or too large.

    >>> to_points([0, 0, 4, 0, 4, 2]).tolist()
    [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0]]
    """
    if not isinstance(values, list):
        raise AnnotationError("a polygon must be a list of numbers")
    try:
        points = np.array(values)
    except (ValueError, OverflowError):
        raise AnnotationError("a polygon must be a list of numbers") from None
    if points.dtype.kind not in "iuf" and len(values):
        raise AnnotationError("a polygon must be a list of numbers")
    if points.ndim == 1:
        if len(points) % 2:
            raise AnnotationError(f"a polygon has {len(points)} numbers; there must be an x and a y for each point")
        points = points.reshape(-1, 2)
    if points.ndim != 2 or points.shape[1] != 2:
        raise AnnotationError("a polygon must have an x and a y for each point")
    # As `not <=`, so that NaN is refused too.
    if len(points) and not np.abs(points, dtype=np.float64).max() <= max_coordinate:
        raise AnnotationError("a polygon has a point that is not a number or is far outside the image")
    return points.astype(np.float64, copy=False)


def polygon_area(points: np.ndarray) -> float:
    """Return the area inside a polygon (K, 2), in square pixels.

    >>> polygon_area(np.array([[0, 0], [4, 0], [4, 2]]))
    4.0
    """
    x, y = points.T
    return 0.5 * abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1]))


def rectangle(x: float, y: float, width: float, height: float, angle: float = 0.0) -> np.ndarray:
    """Return the corners (4, 2) of a rectangle.

    Args:
        x: x of the upper left corner.
        y: y of the upper left corner.
        width: length of the upper side.
        height: length of the left side.
        angle: rotation about the upper left corner, in degrees, clockwise.
    """
    radians = np.deg2rad(angle)
    right = width * np.array([np.cos(radians), np.sin(radians)])
    down = height * np.array([-np.sin(radians), np.cos(radians)])
    corner = np.array([x, y])
    return np.stack([corner, corner + right, corner + right + down, corner + down])


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0, count: int = 72) -> np.ndarray:
    """Return points (count, 2) on an ellipse.

    Args:
        x: x of the center.
        y: y of the center.
        radius_x: half the width before the rotation.
        radius_y: half the height before the rotation.
        angle: rotation about the center, in degrees, clockwise.
        count: number of points.
    """
    angles, radians = np.linspace(0, 2 * np.pi, count, endpoint=False), np.deg2rad(angle)
    upright = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1)
    rotation = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return upright @ rotation + (x, y)
