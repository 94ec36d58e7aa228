"""Regions of Label Studio as annotations."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.data.formats._annotations import LeftOut, check_image_size
from pixelwise.data.formats._geometry import ellipse, rectangle, to_points
from pixelwise.data.formats._json import is_name, is_number, quote
from pixelwise.data.formats._labelme_shapes import Bytes
from pixelwise.data.formats._rle import decode_brush_rle, encode_rle
from pixelwise.data.io.image import open_image
from pixelwise.data.schema import Annotation
from pixelwise.errors import AnnotationError, DataError

SIZE_KEYS = ("original_height", "original_width")

_GEOMETRY_KEYS = ("rle", "imageDataURL", "points", "radiusX", "width", "height")
"""Keys of regions with an area."""

Region = Mapping[str, Any]


def read_regions(regions: Sequence[Region], location: str, left_out: LeftOut) -> list[tuple[str, Annotation]]:
    """Return (label, annotation) for each region with an area, in order.

    Args:
        regions: the regions of one annotation.
        location: file and task, for warnings.
        left_out: counts key points, regions without a label or an area, regions of an unsupported kind, and regions
            outside the image.

    Raises:
        AnnotationError: A region is damaged, or regions other than key points exist and none of them can be drawn.
    """
    with_label = {str(region.get("id")) for region in regions if region.get("id") and _read_labels(region)}
    annotations: list[tuple[str, Annotation]] = []
    omitted: list[tuple[int, str, str]] = []
    for index, region in enumerate(regions):
        labels = _read_labels(region)
        if _is_point(region):
            left_out.add("key point", "it encloses nothing", location)
        elif reason := _reason_to_leave_out(region, labels):
            if labels or str(region.get("id")) not in with_label:  # else another region of this id has the label
                omitted.append((index, _kind(region), reason))
        elif labels and any(key in region for key in _GEOMETRY_KEYS):
            if len(labels) > 1:
                raise AnnotationError(f"region {index} (from 0) must have one label, and has {len(labels)}")
            try:
                annotations.append((labels[0], _to_annotation(region)))
            except AnnotationError as error:
                raise AnnotationError(f"region {index} (from 0): {error}") from None
            left_out.add_outside(annotations[-1][1].polygons, (1, 1), location)
    if omitted and not annotations:
        index, kind, reason = omitted[0]
        raise AnnotationError(f"region {index} (from 0, {kind}): {reason}")
    for _, kind, reason in omitted:
        left_out.add(kind, reason, location)
    return annotations


def _is_point(region: Region) -> bool:
    """Return True for a key point. A key point can have a width, and can lack x and y."""
    if any(key in region for key in ("rle", "imageDataURL", "points", "radiusX", "height", "rectanglelabels")):
        return False
    return "keypointlabels" in region or ("x" in region and "y" in region)


def _reason_to_leave_out(region: Region, labels: Sequence[str]) -> str | None:
    """Return the reason why a region cannot be drawn.

    Return None if it can be drawn, or if it is a choice or a text about the whole image.
    """
    if not any(key in region for key in _GEOMETRY_KEYS):
        return "this kind of region is not supported" if labels else None
    if not labels:
        return "it must have one label, and has 0"
    points = region.get("points")
    if isinstance(points, list) and len(points) < 3:
        return "a polygon of fewer than 3 points encloses nothing"
    return None


def _kind(region: Region) -> str:
    """Return the kind of a region for messages: the key of its labels or, if it has none, the key of its geometry."""
    return next(
        (quote(key) for key, value in region.items() if key.endswith("labels") and isinstance(value, list)),
        next((key for key in _GEOMETRY_KEYS if key in region), "region"),
    )


def _read_labels(region: Region) -> list[str]:
    """Return the labels of a region, from the key polygonlabels, brushlabels, …, or labels."""
    for key, value in region.items():
        if key.endswith("labels") and isinstance(value, list):
            if not all(map(is_name, value)):
                raise AnnotationError(f"{key} must be names")
            return [label.strip() for label in value]
    return []


def _to_annotation(region: Region) -> Annotation:
    """Return a region as an annotation with label 0."""
    if region.get("image_rotation"):
        raise AnnotationError("the image was rotated in Label Studio; rotate the image file and annotate it again")
    if "rle" in region:
        return Annotation(0, rle=encode_rle(decode_brush_rle(region["rle"], *_image_size(region))))
    if "imageDataURL" in region:
        return Annotation(0, rle=encode_rle(_read_bitmask(region["imageDataURL"], region)))
    if "points" in region:
        points = to_points(region["points"])
        return Annotation(0, (points / 100,), relative=True)
    is_ellipse = "radiusX" in region
    keys = ("x", "y", "radiusX", "radiusY") if is_ellipse else ("x", "y", "width", "height")
    values: list[Any] = [region.get(key) for key in keys]
    angle: Any = region.get("rotation") or 0
    if not all(is_number(value) and abs(value) <= 1000 for value in (*values, angle)):
        raise AnnotationError(f"{', '.join(keys)} and rotation must be numbers, in percent and degrees")
    # A rotation is computed in pixels, because one percent of the width and one percent of the height differ in length.
    height, width = _image_size(region) if angle else (100, 100)
    size = np.array((width, height))
    x, y, across, down = (np.array(values).reshape(2, 2) * size / 100).ravel()
    points = (ellipse if is_ellipse else rectangle)(x, y, across, down, angle)
    return Annotation(0, (points / size,), relative=True)


def _image_size(region: Region) -> tuple[int, int]:
    return check_image_size(region.get(SIZE_KEYS[0]), region.get(SIZE_KEYS[1]), SIZE_KEYS)


def _read_bitmask(url: object, region: Region) -> np.ndarray:
    """Return the opaque pixels, (H, W) bool, of an image in a data URL (data:image/png;base64,…)."""
    head, _, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise AnnotationError("its imageDataURL must be an image in base64")
    try:
        mask = open_image(Bytes(base64.b64decode(data, validate=True)), _opaque)
    except (binascii.Error, ValueError, DataError) as error:
        raise AnnotationError(f"its imageDataURL cannot be read ({error})") from None
    size = _image_size(region)
    if mask.shape != size:
        raise AnnotationError(
            f"its imageDataURL has {mask.shape[1]}x{mask.shape[0]} pixels, but the image has {size[1]}x{size[0]}"
        )
    return mask


def _opaque(image: Image.Image) -> np.ndarray:
    if image.mode == "P":
        image = image.convert("RGBA")
    if "A" not in image.getbands():
        raise DataError("it has no opacity, which marks the region")
    return np.asarray(image.getchannel("A")) >= 128
