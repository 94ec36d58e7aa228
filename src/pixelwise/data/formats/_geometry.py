"""Polygons in image coordinates: x to the right, y downwards."""

import numpy as np

from pixelwise.errors import AnnotationError, ConfigError

MAX_COORDINATE = 100_000.0
"""Maximum absolute coordinate in pixels. It limits the time to draw a polygon, which grows with its outline length."""

MIN_LINE_WIDTH, MAX_LINE_WIDTH = 1.0, 1000.0
"""Range of the option `line_width` in pixels. Narrower lines have gaps."""

DEFAULT_LINE_WIDTH = 5
"""Width in pixels that error messages propose for the option `line_width`."""


def to_points(values: object, max_coordinate: float = MAX_COORDINATE) -> np.ndarray:
    """Convert coordinates from a JSON or text file to an array.

    Args:
        values: a flat list x, y, x, y, … or a list of pairs (x, y).
        max_coordinate: the maximum absolute value.

    Returns:
        (K, 2) float64 array of x and y.

    Raises:
        AnnotationError: `values` is not such a list, or a coordinate is not finite or too large.

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
    # `not <=` instead of `>`, so that NaN raises an error too.
    if len(points) and not np.abs(points, dtype=np.float64).max() <= max_coordinate:
        raise AnnotationError("a polygon has a point that is not a number or is far outside the image")
    return points.astype(np.float64, copy=False)


def polygon_area(points: np.ndarray) -> float:
    """Return the area of a polygon in square pixels. `points` is (K, 2).

    >>> polygon_area(np.array([[0, 0], [4, 0], [4, 2]]))
    4.0
    """
    x, y = points.T
    return 0.5 * abs(float(x[:-1] @ y[1:] - x[1:] @ y[:-1] + x[-1] * y[0] - x[0] * y[-1]))


def rectangle(x: float, y: float, width: float, height: float, angle: float = 0.0) -> np.ndarray:
    """Return the corners of a rectangle. Lengths and coordinates have the same unit.

    Args:
        x: x of the upper left corner.
        y: y of the upper left corner.
        width: length of the upper side.
        height: length of the left side.
        angle: clockwise rotation about the upper left corner in degrees.

    Returns:
        (4, 2) x, y, clockwise from the upper left corner.
    """
    radians = np.deg2rad(angle)
    right = width * np.array([np.cos(radians), np.sin(radians)])
    down = height * np.array([-np.sin(radians), np.cos(radians)])
    corner = np.array([x, y])
    return np.stack([corner, corner + right, corner + right + down, corner + down])


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0, count: int = 72) -> np.ndarray:
    """Return points on an ellipse. Lengths and coordinates have the same unit.

    Args:
        x: x of the center.
        y: y of the center.
        radius_x: half the width before the rotation.
        radius_y: half the height before the rotation.
        angle: clockwise rotation about the center in degrees.
        count: number of points.

    Returns:
        (count, 2) x, y.
    """
    angles, radians = np.linspace(0, 2 * np.pi, count, endpoint=False), np.deg2rad(angle)
    upright = np.stack([radius_x * np.cos(angles), radius_y * np.sin(angles)], axis=1)
    rotation = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return upright @ rotation + (x, y)


def ellipse_of_axes(points: np.ndarray, count: int = 72) -> np.ndarray:
    """Return points (count, 2) on an ellipse that is given by its center and the ends of its two half axes.

    Args:
        points: (3, 2) array: the center, the end of one half axis, the end of the other half axis.
        count: number of points.
    """
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)[:, None]
    center, first, second = points
    return np.asarray(center + np.cos(angles) * (first - center) + np.sin(angles) * (second - center))


def stroke(points: np.ndarray, width: float, count: int = 16) -> tuple[np.ndarray, ...]:
    """Return polygons whose union is a line of a given width, with round ends and joints.

    Args:
        points: (K, 2) points of the line, K ≥ 1.
        width: width of the line in pixels.
        count: number of points on each half circle.

    Returns:
        One convex polygon (2 · count, 2) for each piece of the line. A line of equal points is a circle.

    >>> [polygon.round().tolist() for polygon in stroke(np.array([[0.0, 0], [8, 0]]), 2, count=2)]
    [[[0.0, 1.0], [-0.0, -1.0], [8.0, -1.0], [8.0, 1.0]]]
    """
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    half = np.linspace(np.pi / 2, 3 * np.pi / 2, count)
    polygons = []
    for start, end in zip(starts, ends, strict=True):
        direction = np.arctan2(*(end - start)[::-1])
        circle = 0.5 * width * np.stack([np.cos(half + direction), np.sin(half + direction)], axis=1)
        polygons.append(np.concatenate([start + circle, end - circle]))
    return tuple(polygons)


def check_line_width(width: float | None) -> None:
    """Raise ConfigError if the option `line_width` is not a width at which lines can be drawn.

    Args:
        width: the option, in pixels, or None.
    """
    if width is not None and not MIN_LINE_WIDTH <= width <= MAX_LINE_WIDTH:
        raise ConfigError(
            f"`line_width` must be from {MIN_LINE_WIDTH:g} to {MAX_LINE_WIDTH:g} pixels, and is {width:g}"
        )
