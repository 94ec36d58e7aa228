"""Conversion of labelme and X-AnyLabeling shapes to annotations."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pixelwise.data.formats._geometry import ellipse, ellipse_of_axes, stroke, to_points
from pixelwise.data.formats._json import is_name, quote
from pixelwise.data.formats._rle import encode_rle
from pixelwise.data.io.image import open_image
from pixelwise.data.schema import Annotation
from pixelwise.errors import AnnotationError, DataError

LINE_TYPES = ("line", "linestrip")
"""Types of shapes that are drawn if the option `line_width` is set."""

POINT_TYPES = ("point", "points")

_POLYGON_TYPES = ("polygon", "oriented_rectangle", "rotation", "quadrilateral")
"""Types of shapes, of labelme and X-AnyLabeling, whose points are the corners of a polygon."""

_POINT_COUNTS: dict[str, tuple[int, ...]] = {
    "rectangle": (2, 4), "circle": (2,), "ellipse": (2, 3), "mask": (2,), "oriented_rectangle": (4,),
}  # fmt: skip
"""Type of shape → allowed numbers of points. Rectangles have two corners in labelme and four in X-AnyLabeling."""


def read_label(shape: object) -> str:
    """Return the label of a shape. Raises AnnotationError if it has none."""
    if not isinstance(shape, dict) or not is_name(shape.get("label")):
        raise AnnotationError("must be an object with a label")
    return str(shape["label"]).strip()


def reason_to_leave_out(shape: Mapping[str, Any], shape_type: str, line_width: float | None) -> str | None:
    """Return the reason why a shape has no area that can be drawn, or None if it can be drawn.

    Args:
        shape: the shape. Its points need not be valid.
        shape_type: its type.
        line_width: width of lines in pixels. None leaves lines out.
    """
    if shape_type in POINT_TYPES:
        return "it encloses nothing"
    if shape_type in LINE_TYPES:
        return None if line_width else "a line encloses nothing; set `line_width` to draw lines"
    if shape_type not in (*_POLYGON_TYPES, *_POINT_COUNTS):
        return "this type of shape is not supported"
    points = shape.get("points")
    if shape_type == "polygon" and isinstance(points, list) and len(points) < 3:
        return "a polygon of fewer than 3 points encloses nothing"
    return None


def to_annotation(
    shape: Mapping[str, Any], shape_type: str, size: tuple[int, int] | None, line_width: float | None
) -> Annotation:
    """Convert a shape to an annotation with label 0, a placeholder.

    Args:
        shape: a shape that has an area, see `reason_to_leave_out`.
        shape_type: its type.
        size: (height, width) of the image in pixels, or None if the file does not state it. Masks need it.
        line_width: width of lines in pixels. Lines need it.

    Raises:
        AnnotationError: The shape is damaged, or needs `size` or `line_width`.
    """
    points = to_points(shape.get("points"))
    counts = _POINT_COUNTS.get(shape_type)
    if counts and len(points) not in counts:
        numbers = " or ".join(("two", "three", "four")[count - 2] for count in counts)
        raise AnnotationError(f"a shape of type {quote(shape_type)} must have {numbers} points")
    if shape_type == "mask":
        return Annotation(0, rle=_read_mask(shape.get("mask"), points, size))
    if shape_type in LINE_TYPES:
        if not len(points) or line_width is None:
            raise AnnotationError("a line must have points")
        return Annotation(0, stroke(points, line_width))
    return Annotation(0, (_outline(points, shape_type),))


def _outline(points: np.ndarray, shape_type: str) -> np.ndarray:
    """Return the outline (K, 2) of a shape that encloses an area."""
    if shape_type in _POLYGON_TYPES or (shape_type == "rectangle" and len(points) == 4):
        if len(points) < 3:
            raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
        return points
    if shape_type == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return ellipse(float(points[0, 0]), float(points[0, 1]), radius, radius)
    if len(points) == 3:
        return ellipse_of_axes(points)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    if shape_type == "ellipse":
        return ellipse((left + right) / 2, (top + bottom) / 2, (right - left) / 2, (bottom - top) / 2)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _read_mask(data: object, points: np.ndarray, size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the run lengths of a mask in the whole image, see `Annotation.rle`.

    Args:
        data: the mask as an image in base64.
        points: (K, 2) x, y. The smallest x and y are the upper left corner of the mask.
        size: (height, width) of the image in pixels.
    """
    if size is None:
        raise AnnotationError("a mask needs imageHeight and imageWidth")
    try:
        content = base64.b64decode(data if isinstance(data, str) else "", validate=True)
        part = open_image(Bytes(content), lambda image: np.asarray(image.convert("L")) > 0)
    except (binascii.Error, ValueError, DataError):
        raise AnnotationError("its mask is not an image in base64") from None
    left, top = (int(value) for value in points.min(0))
    first_row, first_column = max(0, -top), max(0, -left)
    part = part[first_row : max(0, size[0] - top), first_column : max(0, size[1] - left)]
    if not part.size:
        raise AnnotationError("its mask is outside the image")
    mask = np.zeros(size, bool)
    top, left = top + first_row, left + first_column
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return encode_rle(mask)


@dataclass(frozen=True)
class Bytes:
    """An image inside an annotation file, as a `BytesSource`."""

    content: bytes
    name: str = "mask"

    def read_bytes(self) -> bytes:
        """Return the bytes."""
        return self.content
