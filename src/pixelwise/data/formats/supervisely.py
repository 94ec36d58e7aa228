"""Supervisely: meta.json, and one JSON file in ann/ for each image in img/."""

import base64
import binascii
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixelwise.data.formats._annotations import check_image_size, require_pycocotools
from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES, Listing, file_starts_with, is_folder, list_files
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import check_line_width, stroke, to_points
from pixelwise.data.formats._image_entries import EntryCollector, ImageEntry, Shape
from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.data.formats._json import is_index, is_name, quote, read_json
from pixelwise.data.formats._labelme_shapes import Bytes
from pixelwise.data.formats._rle import encode_part, encode_rle
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.io.image import open_image
from pixelwise.data.io.rasterize import rasterize
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import Annotation, DataIssue, FormatResult, PolygonMask, Split
from pixelwise.errors import AnnotationError, DataError, without_name
from pixelwise.palette import Color, parse_hex

_HEAD = r'\s*\{.*"objects"\s*:'

_META_HEAD = r'\s*\{.*"(classes|projectType|tags)"\s*:'

_MAX_BITMAP_BYTES = 1 << 26
"""Maximum size of the PNG file in a bitmap after zlib decompression. A few bytes can expand to gigabytes."""

_LINE_TYPES = ("line", "polyline")

_REASONS = {
    "point": "a point encloses nothing",
    "graph": "key points enclose nothing",
    **dict.fromkeys(_LINE_TYPES, "a line encloses nothing; set `line_width` to draw lines"),
}
"""Type of an object without an area → the reason why it is left out."""

_SHAPES_WITHOUT_AREA = (*_REASONS, "cuboid", "cuboid_2d")


def read_supervisely(root: Path, options: LabelOptions | None = None) -> FormatResult | None:
    """Read a Supervisely project: meta.json, DATASET/img/NAME.jpg and DATASET/ann/NAME.jpg.json.

    Polygons, bitmaps and rectangles are read. Lines are read if `line_width` is set. Later objects cover earlier ones.
    Classes are "background" and those of meta.json in order, with their colors. An image without objects is all
    background. The split of an image comes from the name of its dataset folder, or else from an image tag (train, val,
    test). https://docs.supervisely.com/data-organization/00_ann_format_navi

    Args:
        root: the folder of the project, or of one dataset in it.
        options: the user's options.

    Returns:
        The records, classes and issues. None if the folder is not a Supervisely project.

    Raises:
        DataError: meta.json is damaged, no object has an area, or pycocotools is not installed.
        ConfigError: `line_width` is out of range.
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    files = _find_annotations(root, listing)
    if not files:
        return None
    require_pycocotools(root)
    line_width = options.line_width if options else None
    check_line_width(line_width)
    colors = _read_meta(root)
    collector = EntryCollector(ImageIndex(root, listing))
    reader = _Reader(collector, line_width)
    for folder, name in files:
        path = root / folder / name
        try:
            reader.read(path, folder)
        except AnnotationError as error:
            collector.issues.append(DataIssue("bad outline", str(path), f"{error}; fix or remove it"))
        except DataError as error:
            collector.issues.append(DataIssue("bad outline", str(path), without_name(error, path)))
    collector.check_has_area(root / files[0][0] / files[0][1])
    collector.issues += _images_without_file(root, listing, files)
    issues = reader.finish()
    known = {name: color for name, color in colors.items() if color}
    result = collector.result(colors, root, known, warn_unlisted=False)
    return replace(result, issues=(*result.issues, *issues))


def _find_annotations(root: Path, listing: Listing) -> list[tuple[str, str]]:
    """Return (folder, name) of the JSON files in each ann/ next to an img/. [] if they are not from Supervisely."""
    files = []
    for folder, names in listing.items():
        parent, _, last = folder.rpartition("/")
        if last == "ann" and (f"{parent}/img" if parent else "img") in listing:
            files += [(folder, name) for name in names if name.lower().endswith(".json")]
    with_image_name = [file for file in files if _image_name(file[1]).rpartition(".")[2].lower() in IMAGE_SUFFIXES]
    files = with_image_name or [file for file in files if file_starts_with(root / file[0] / file[1], _HEAD)]
    return files if files and file_starts_with(root / files[0][0] / files[0][1], _HEAD) else []


def _image_name(name: str) -> str:
    """Return the image name of an annotation file: NAME.jpg for NAME.jpg.json."""
    return name[: -len(".json")]


def _read_meta(root: Path) -> dict[str, Color | None]:
    """Return class name → color of the classes in meta.json, without those for points, lines and cuboids."""
    path = root / "meta.json"
    if not file_starts_with(path, _META_HEAD):
        path = root.parent / "meta.json"  # the root can be one dataset of a project
        if not file_starts_with(path, _META_HEAD):
            return {}
    content = read_json(path)
    classes = content.get("classes") if isinstance(content, dict) else None
    colors: dict[str, Color | None] = {}
    for item in classes if isinstance(classes, list) else ():
        if not isinstance(item, dict) or not is_name(item.get("title")):
            raise DataError(f"{path}: each of its classes must be an object with a title; export the project again")
        if item.get("shape") in _SHAPES_WITHOUT_AREA:
            continue
        try:
            colors[item["title"].strip()] = parse_hex(str(item.get("color", "")))
        except ValueError:
            colors[item["title"].strip()] = None
    return colors


def _images_without_file(root: Path, listing: Listing, files: Sequence[tuple[str, str]]) -> list[DataIssue]:
    """Return an issue for each image in img/ without a JSON file in ann/."""
    message = "has no JSON file in ann/; annotate it (an image without objects has a file too), or move it away"
    issues = []
    for folder in dict.fromkeys(folder for folder, _ in files):
        images = folder.removesuffix("ann") + "img"
        present = {_image_name(name) for at, name in files if at == folder}
        for name in listing[images]:
            stem, _, suffix = name.rpartition(".")
            if suffix.lower() in IMAGE_SUFFIXES and not {name, stem} & present:
                issues.append(DataIssue("missing mask", str(root / images / name), message))
    return issues


class _Reader:
    """Reads annotation files and counts the image tags that are names of splits."""

    def __init__(self, collector: EntryCollector, line_width: float | None) -> None:
        self._collector = collector
        self._line_width = line_width
        self._tags: Counter[str] = Counter()

    def read(self, path: Path, folder: str) -> None:
        """Add the entry of one file. Raise DataError if the file is damaged."""
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
            raise AnnotationError('must be an object with a list of "objects"')
        size = content.get("size")
        if not isinstance(size, dict):
            raise AnnotationError('must have a "size" with height and width')
        height, width = check_image_size(size.get("height"), size.get("width"))
        dataset = folder.removesuffix("ann").rstrip("/")
        split = split_of(dataset) or self._split_of_tags(content.get("tags"))
        images, name = folder.removesuffix("ann") + "img", _image_name(path.name)
        index, collector = self._collector.images, self._collector
        if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES:
            image = collector.find(f"{images}/{name}", str(path), images)
        else:
            image = index.find_stem(name, images) or collector.find(f"{images}/{name}", str(path), images)
        if image is not None:
            shapes = tuple(self._read_objects(content["objects"], (height, width), str(path)))
            collector.add(image, ImageEntry(name, str(path), shapes, (height, width), images, split))

    def _split_of_tags(self, tags: object) -> Split | None:
        """Return the split that the tags of an image name. Return None if there is no such tag, or several."""
        names = [tag.get("name") for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else []
        words = [name for name in names if isinstance(name, str) and name.casefold() in SPLIT_WORDS]
        if len(words) != 1:
            return None
        self._tags[words[0]] += 1
        return SPLIT_WORDS[words[0].casefold()]

    def finish(self) -> list[DataIssue]:
        """Return a warning if image tags were used as splits."""
        if not self._tags:
            return []
        counts = ", ".join(f"{name}: {count}" for name, count in sorted(self._tags.items()))
        message = f"splits come from image tags ({counts}); images without such a tag are in train"
        return [DataIssue("splits from tags", str(self._collector.images.root), message, severity="warning")]

    def _read_objects(self, objects: Sequence[object], size: tuple[int, int], location: str) -> Iterator[Shape]:
        for index, item in enumerate(objects):
            try:
                if not isinstance(item, dict) or not is_name(item.get("classTitle")):
                    raise AnnotationError("must be an object with a classTitle")
                kind = _geometry_type(item)
                if kind in _REASONS and not (kind in _LINE_TYPES and self._line_width):
                    self._collector.left_out.add(kind, _REASONS[kind], location)
                elif kind in _READERS:
                    label = str(item["classTitle"]).strip()
                    yield label, _READERS[kind](item, size, self._line_width)
                else:
                    self._collector.leave_out(quote(kind), "this type of object is not supported", location)
            except AnnotationError as error:
                raise AnnotationError(f"object {index} (from 0): {error}") from None


def _geometry_type(item: Mapping[str, Any]) -> str:
    """Return the type of an object. If an old project does not state it, infer it from the data of the object."""
    if isinstance(item.get("geometryType"), str):
        return str(item["geometryType"])
    return "bitmap" if isinstance(item.get("bitmap"), dict) else "polygon"


def _read_points(item: Mapping[str, Any], min_count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the outline (K, 2) and the outlines of holes."""
    points = item.get("points")
    if not isinstance(points, dict) or not isinstance(points.get("interior", []), list):
        raise AnnotationError('must have "points" with lists "exterior" and "interior"')
    exterior = to_points(points.get("exterior"))
    if len(exterior) < min_count:
        raise AnnotationError(f"has {len(exterior)} points, and needs at least {min_count}")
    holes = [to_points(hole) for hole in points.get("interior", [])]
    return exterior, [hole for hole in holes if len(hole) >= 3]


def _read_polygon(item: Mapping[str, Any], size: tuple[int, int], line_width: float | None) -> Annotation:
    exterior, holes = _read_points(item, min_count=3)
    if not holes:
        return Annotation(0, (exterior,))
    outline, hole = Annotation(1, (exterior,)), Annotation(0, tuple(holes))
    return Annotation(0, rle=encode_rle(rasterize(PolygonMask((outline, hole), "polygon"), size) == 1))


def _read_rectangle(item: Mapping[str, Any], size: tuple[int, int], line_width: float | None) -> Annotation:
    exterior, _ = _read_points(item, min_count=2)
    (left, top), (right, bottom) = exterior.min(0), exterior.max(0)
    return Annotation(0, (np.array([[left, top], [right, top], [right, bottom], [left, bottom]]),))


def _read_line(item: Mapping[str, Any], size: tuple[int, int], line_width: float | None) -> Annotation:
    assert line_width is not None
    return Annotation(0, stroke(_read_points(item, min_count=1)[0], line_width))


def _read_bitmap(item: Mapping[str, Any], size: tuple[int, int], line_width: float | None) -> Annotation:
    """Decode a bitmap: a zlib-compressed PNG file in base64, and the position of its upper left corner."""
    key = "alpha_mask" if isinstance(item.get("alpha_mask"), dict) else "bitmap"
    bitmap = item.get(key)
    origin = bitmap.get("origin") if isinstance(bitmap, dict) else None
    if (
        not isinstance(bitmap, dict)
        or not isinstance(origin, list)
        or len(origin) != 2
        or not all(map(is_index, origin))
    ):
        raise AnnotationError(f'must have a "{key}" with data and an origin: [x, y]')
    try:
        content = base64.b64decode(str(bitmap.get("data")), validate=True)
        inflater = zlib.decompressobj()
        content = inflater.decompress(content, _MAX_BITMAP_BYTES)
        part = open_image(Bytes(content), _opaque_pixels)
    except (binascii.Error, ValueError, zlib.error, DataError):
        raise AnnotationError("its bitmap is not a compressed PNG file in base64") from None
    left, top = origin
    return Annotation(0, rle=encode_part(part, left, top, size))


def _opaque_pixels(image: Image.Image) -> np.ndarray:
    """Return the pixels of a bitmap that belong to the object: those with an opacity of 128 or more.

    If the bitmap has no opacity, return the pixels that are not 0.
    """
    if "transparency" in image.info or "A" in image.getbands():
        return np.asarray(image.convert("RGBA").getchannel("A")) >= 128
    return np.asarray(image.convert("L")) > 0


_READERS = {
    "polygon": _read_polygon,
    "rectangle": _read_rectangle,
    "bitmap": _read_bitmap,
    "alpha_mask": _read_bitmap,
    "line": _read_line,
    "polyline": _read_line,
}
"""Type of an object → function that reads it. Its arguments are the object, (height, width) and `line_width`."""
