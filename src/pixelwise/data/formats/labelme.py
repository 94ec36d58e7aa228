"""labelme's JSON, one an image."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats._annotations import (
    AnnotationError,
    ImageIndex,
    assign_class_ids,
    ellipse,
    file_starts_with,
    is_text,
    is_whole,
    polygon_result,
    printable_prefix,
    read_json,
    split_of,
    to_points,
)
from pixelwise.data.formats._filesystem import Listing, is_folder, list_files
from pixelwise.data.formats._rle import empty_rle, run_lengths
from pixelwise.data.io.image import MAX_PIXELS, open_image
from pixelwise.data.schema import SPLITS, Annotation, BytesSource, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import DataError, without_name
from pixelwise.palette import IGNORE_INDEX

IGNORED = "__ignore__"
"""The label of what is neither a class nor background, as labelme's own converter has it."""


_BACKGROUND = ("background", "_background_")


_HEAD = r'\s*\{\s*"(version|flags|shapes|imagePath|imageData|imageHeight|imageWidth|lineColor|fillColor)"\s*:'


_LOOKED_AT = 20


_NO_AREA = ("point", "points", "line", "linestrip")


def read_labelme(root: Path) -> FormatResult | None:
    """labelme: a JSON for each image, beside it or in another folder, with polygons, rectangles, circles and masks.

    Classes are the labels by name after "background"; `__ignore__` is ignored. Later shapes are on top. Splits are
    folders. An image that is in the JSON alone (imageData) is read from there. https://github.com/wkentaro/labelme
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    found = [(folder, name) for folder, names in listing.items() for name in names if name.lower().endswith(".json")]
    if not any(_is_labelme(root / folder / name) for folder, name in found[:_LOOKED_AT]):
        return None
    images = ImageIndex(root, listing)
    files: list[_File] = []
    problems: list[DataIssue] = []
    taken: dict[object, Path] = {}
    for folder, name in found:
        path = root / folder / name
        try:
            if not file_starts_with(path, _HEAD):
                continue
            file = _read(path, folder, images, problems)
            if file is None:
                continue
            other = taken.setdefault(file.image, path)
            if other != path:
                raise AnnotationError(f"is of the same image as {other}; keep one of them")
            files.append(file)
        except (AnnotationError, DataError) as error:
            problems.append(DataIssue("bad outline", str(path), without_name(error, path)))
    names = {label for file in files for label, _ in file.shapes} - {IGNORED}
    classes, index_of = assign_class_ids(sorted(names), _BACKGROUND)
    labels = index_of | {IGNORED: IGNORE_INDEX}
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for file in files:
        shapes = tuple(Annotation(labels[label], shape.polygons, shape.rle) for label, shape in file.shapes)
        records[file.split or "train"].append(Record(file.image, PolygonMask(file.first + shapes, str(file.path))))
    problems += _bare(root, listing, images, taken)
    return polygon_result(records, classes, problems)


def _is_labelme(path: Path) -> bool:
    if not file_starts_with(path, _HEAD):
        return False
    try:
        content = read_json(path)
    except DataError:
        return False
    return isinstance(content, dict) and "shapes" in content and bool({"imagePath", "imageData"} & set(content))


def _bare(root: Path, listing: Listing, images: ImageIndex, taken: Mapping[object, Path]) -> list[DataIssue]:
    """A problem for each image without JSON, in the folders of those that have one."""
    there = {images.path(each): each for many in images.by_name.values() for each in many}
    folders = {there[image].folder for image in taken if isinstance(image, Path)}
    what = "has no JSON of its name; outline what it shows (or save it as it is, if that is nothing), or move it away"
    return [
        DataIssue("missing mask", str(path), what)
        for path, file in there.items()
        if file.folder in folders and path not in taken
    ]


@dataclass(frozen=True)
class _File:
    """What one JSON holds: (label, shape) in its order, the shapes' own labels not yet settled."""

    path: Path
    image: BytesSource
    split: Split | None
    first: tuple[Annotation, ...]
    shapes: tuple[tuple[str, Annotation], ...]


@dataclass(frozen=True)
class EmbeddedImage:
    """The image within a JSON of labelme (imageData): a `BytesSource`."""

    path: Path

    @property
    def name(self) -> str:
        return f"{self.path.stem}.png"

    def read_bytes(self) -> bytes:
        """The image; DataError where the JSON has none."""
        content = read_json(self.path)
        data = content.get("imageData") if isinstance(content, dict) else None
        try:
            return base64.b64decode(data or "", validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise DataError("its imageData is no base64; put the image beside it") from None

    def __str__(self) -> str:
        return f"{self.path} (imageData)"


def _read(path: Path, folder: str, images: ImageIndex, problems: list[DataIssue]) -> _File | None:
    """What a JSON holds; None, with a problem, where its image is missing."""
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise AnnotationError('must be an object with a list of "shapes"; save it again in labelme')
    split = split_of(folder)
    called = content.get("imagePath")
    if called is not None and not is_text(called):
        raise AnnotationError("its imagePath must be the name of an image; mend it")
    image: BytesSource
    file = images.find(called, folder, split, path) if called else None
    if file is not None:
        image = images.path(file)
    elif isinstance(content.get("imageData"), str) and content["imageData"]:
        image = EmbeddedImage(path)
    else:
        what = f"no such image here: {called or 'its imagePath is empty'}; add it, or move this file away"
        problems.append(DataIssue("missing image", str(path), what))
        return None
    size = _size(content)
    shapes, left_out = [], set()
    for at, each in enumerate(content["shapes"]):
        try:
            label, kind = _label(each), each.get("shape_type") or "polygon"
            if kind in _NO_AREA:
                left_out.add(kind)
            else:
                shapes.append((label, _shape(each, kind, size)))
        except AnnotationError as error:
            raise AnnotationError(f"shape {at} (from 0): {error}; mend or remove it") from None
    if left_out:
        what = f"{' and '.join(sorted(left_out))} shapes enclose nothing; they are left out"
        problems.append(DataIssue("shape without area", str(path), what, severity="warning"))
    return _File(path, image, split, (empty_rle(*size),) if size else (), tuple(shapes))


def _size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height is None and width is None:
        return None
    if not (is_whole(height) and is_whole(width) and 0 < height * width <= MAX_PIXELS):  # type: ignore[operator]
        raise AnnotationError(
            "its imageHeight and imageWidth must be whole numbers, of an image that can be; mend them"
        )
    assert isinstance(height, int) and isinstance(width, int)
    return height, width


def _label(shape: object) -> str:
    if not isinstance(shape, dict) or not is_text(shape.get("label")):
        raise AnnotationError("must be an object with a label")
    return str(shape["label"]).strip()


def _shape(shape: Mapping[str, Any], kind: str, size: tuple[int, int] | None) -> Annotation:
    points = to_points(shape.get("points"))
    if kind == "polygon":
        if len(points) < 3:
            raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
        return Annotation(0, (points,))
    if len(points) != 2 and not (kind == "rectangle" and len(points) == 4):
        raise AnnotationError(f"a {printable_prefix(str(kind))} must have two points")
    if kind == "rectangle":
        (left, top), (right, bottom) = points.min(0), points.max(0)
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        return Annotation(0, (points if len(points) == 4 else corners,))
    if kind == "circle":
        radius = float(np.hypot(*(points[1] - points[0])))
        return Annotation(0, (ellipse(float(points[0, 0]), float(points[0, 1]), radius, radius),))
    if kind == "mask":
        return Annotation(0, rle=_mask(shape.get("mask"), points, size))
    raise AnnotationError(f"shape_type {printable_prefix(str(kind))} is none that pixelwise draws")


def _mask(data: object, points: np.ndarray, size: tuple[int, int] | None) -> dict[str, Any]:
    """An image of what is inside, put where its box is; the box includes its last row and column."""
    if size is None:
        raise AnnotationError("a mask needs imageHeight and imageWidth")
    try:
        content = base64.b64decode(data if isinstance(data, str) else "", validate=True)
        inside = open_image(_Bytes(content), lambda image: np.asarray(image.convert("L")) > 0)
    except (binascii.Error, ValueError, DataError):
        raise AnnotationError("its mask is no image in base64") from None
    left, top = (int(each) for each in points.min(0))
    height, width = inside.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise AnnotationError("its mask reaches outside the image")
    whole = np.zeros(size, bool)
    whole[top : top + height, left : left + width] = inside
    return run_lengths(whole)


@dataclass(frozen=True)
class _Bytes:
    """Bytes as a `BytesSource`."""

    content: bytes
    name: str = "mask"

    def read_bytes(self) -> bytes:
        return self.content
