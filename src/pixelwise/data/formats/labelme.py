"""labelme: one JSON file per image."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats._annotations import (
    BACKGROUND,
    assign_class_ids,
    check_image_size,
    polygon_result,
    require_pycocotools,
)
from pixelwise.data.formats._filesystem import file_starts_with, is_folder, list_files
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import ellipse, to_points
from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.data.formats._json import is_name, quote, read_json
from pixelwise.data.formats._rle import empty_rle, encode_rle
from pixelwise.data.io.image import open_image
from pixelwise.data.schema import SPLITS, Annotation, BytesSource, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError, without_name
from pixelwise.palette import IGNORE_INDEX

IGNORE_LABEL = "__ignore__"
"""The label of pixels that are neither a class nor background. labelme's own converters use it too."""

_BACKGROUND_LABELS = (BACKGROUND, "_background_")

_HEAD = r'\s*\{\s*"(version|flags|shapes|imagePath|imageData|imageHeight|imageWidth|lineColor|fillColor)"\s*:'

_SAMPLED_FILES = 20
"""Number of JSON files that determine whether the format is labelme."""

_TYPES_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def read_labelme(root: Path) -> FormatResult | None:
    """Read labelme: a JSON file per image, next to it or in another folder, with polygons, rectangles, circles, masks.

    Classes are "background" and the labels by name. `__ignore__` is ignored. Later shapes cover earlier ones. Splits
    are folders. An image that is only in the JSON file (imageData) is read from it. https://github.com/wkentaro/labelme
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    paths = [
        (folder, root / folder / name)
        for folder, names in listing.items()
        for name in names
        if name.lower().endswith(".json")
    ]
    if not any(_is_labelme(path) for _, path in paths[:_SAMPLED_FILES]):
        return None
    require_pycocotools(root)
    images = ImageIndex(root, listing)
    files: list[_File] = []
    issues: list[DataIssue] = []
    path_of: dict[object, Path] = {}
    for folder, path in paths:
        try:
            file = _read_file(path, folder, images, issues) if file_starts_with(path, _HEAD) else None
            if file is None:
                continue
            other = path_of.setdefault(file.image, path)
            if other != path:
                raise AnnotationError(f"is of the same image as {other}; keep one of them")
            files.append(file)
        except DataError as error:
            issues.append(DataIssue("bad outline", str(path), without_name(error, path)))
    names = {label for file in files for label, _ in file.shapes} - {IGNORE_LABEL}
    classes, index_of = assign_class_ids(sorted(names), _BACKGROUND_LABELS)
    labels = index_of | {IGNORE_LABEL: IGNORE_INDEX}
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for file in files:
        shapes = tuple(Annotation(labels[label], shape.polygons, shape.rle) for label, shape in file.shapes)
        records[file.split or "train"].append(Record(file.image, PolygonMask(file.first + shapes, str(file.path))))
    issues += _images_without_json(images, path_of)
    return polygon_result(records, classes, issues)


def _is_labelme(path: Path) -> bool:
    if not file_starts_with(path, _HEAD):
        return False
    try:
        content = read_json(path)
    except DataError:
        return False
    return isinstance(content, dict) and "shapes" in content and bool({"imagePath", "imageData"} & set(content))


def _images_without_json(images: ImageIndex, path_of: Mapping[object, Path]) -> list[DataIssue]:
    """Return an issue for each image without a JSON file, in the folders of images that have one."""
    by_path = {images.path(image): image for image in images}
    folders = {by_path[image].folder for image in path_of if isinstance(image, Path)}
    message = "has no JSON file; annotate it (save it without shapes if it shows no object), or move it away"
    return [
        DataIssue("missing mask", str(path), message)
        for path, image in by_path.items()
        if image.folder in folders and path not in path_of
    ]


@dataclass(frozen=True)
class _File:
    """The content of one JSON file.

    Attributes:
        path: the file.
        image: its image.
        split: the split, or None.
        first: an annotation that makes drawing check the size of the image, or ().
        shapes: (label, annotation with label 0) in the order of the file.
    """

    path: Path
    image: BytesSource
    split: Split | None
    first: tuple[Annotation, ...]
    shapes: tuple[tuple[str, Annotation], ...]


@dataclass(frozen=True)
class EmbeddedImage:
    """The image inside a JSON file of labelme (imageData): a `BytesSource`."""

    path: Path

    @property
    def name(self) -> str:
        """A file name for the image."""
        return f"{self.path.stem}.png"

    def read_bytes(self) -> bytes:
        """Return the image file's content. Raises DataError if the JSON file has none."""
        content = read_json(self.path)
        data = content.get("imageData") if isinstance(content, dict) else None
        try:
            return base64.b64decode(data or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise DataError("its imageData is not valid base64; put the image next to the file") from None

    def __str__(self) -> str:
        return f"{self.path} (imageData)"


def _read_file(path: Path, folder: str, images: ImageIndex, issues: list[DataIssue]) -> _File | None:
    """Read a JSON file. Add an issue and return None if its image is missing."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise AnnotationError('must be an object with a list of "shapes"; save it again in labelme')
    image_path = content.get("imagePath")
    if image_path is not None and not is_name(image_path):
        raise AnnotationError("its imagePath must be the name of an image; fix it")
    split = split_of(folder)
    file = images.find(image_path, folder, split, source=path) if image_path else None
    image: BytesSource
    if file is not None:
        image = images.path(file)
    elif isinstance(content.get("imageData"), str) and content["imageData"]:
        image = EmbeddedImage(path)
    else:
        message = f"no such image here: {image_path or 'its imagePath is empty'}; add it, or move this file away"
        issues.append(DataIssue("missing image", str(path), message))
        return None
    size = _image_size(content)
    shapes, ignored_types = [], set()
    for index, item in enumerate(content["shapes"]):
        try:
            label, shape_type = _read_label(item), item.get("shape_type") or "polygon"
            if shape_type in _TYPES_WITHOUT_AREA:
                ignored_types.add(shape_type)
            else:
                shapes.append((label, _to_annotation(item, shape_type, size)))
        except AnnotationError as error:
            raise AnnotationError(f"shape {index} (from 0): {error}; fix or remove it") from None
    if ignored_types:
        message = f"{' and '.join(sorted(ignored_types))} shapes enclose nothing; they are left out"
        issues.append(DataIssue("shape without area", str(path), message, severity="warning"))
    return _File(path, image, split, (empty_rle(*size),) if size else (), tuple(shapes))


def _image_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height is None and width is None:
        return None
    try:
        return check_image_size(height, width, ("imageHeight", "imageWidth"))
    except AnnotationError as error:
        raise AnnotationError(f"{error}; fix them") from None


def _read_label(shape: object) -> str:
    if not isinstance(shape, dict) or not is_name(shape.get("label")):
        raise AnnotationError("must be an object with a label")
    return str(shape["label"]).strip()


def _to_annotation(shape: Mapping[str, Any], shape_type: str, size: tuple[int, int] | None) -> Annotation:
    """Return a shape as an annotation with label 0."""
    points = to_points(shape.get("points"))
    if shape_type == "polygon":
        if len(points) < 3:
            raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
        return Annotation(0, (points,))
    if len(points) != 2 and not (shape_type == "rectangle" and len(points) == 4):
        raise AnnotationError(f"a {quote(shape_type)} must have two points")
    if shape_type == "rectangle":
        (left, top), (right, bottom) = points.min(0), points.max(0)
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return Annotation(0, (points if len(points) == 4 else corners,))
    if shape_type == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return Annotation(0, (ellipse(float(points[0, 0]), float(points[0, 1]), radius, radius),))
    if shape_type == "mask":
        return Annotation(0, rle=_read_mask(shape.get("mask"), points, size))
    raise AnnotationError(f"shape_type {quote(shape_type)} is not supported")


def _read_mask(data: object, points: np.ndarray, size: tuple[int, int] | None) -> dict[str, Any]:
    """Return the run lengths of a mask: an image in base64 with its upper left corner at the smallest point."""
    if size is None:
        raise AnnotationError("a mask needs imageHeight and imageWidth")
    try:
        content = base64.b64decode(data if isinstance(data, str) else "", validate=True)
        part = open_image(_Bytes(content), lambda image: np.asarray(image.convert("L")) > 0)
    except (binascii.Error, ValueError, DataError):
        raise AnnotationError("its mask is not an image in base64") from None
    left, top = (int(value) for value in points.min(0))
    height, width = part.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise AnnotationError("its mask extends outside the image")
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = part
    return encode_rle(mask)


@dataclass(frozen=True)
class _Bytes:
    """Bytes as a `BytesSource`."""

    content: bytes
    name: str = "mask"

    def read_bytes(self) -> bytes:
        return self.content
