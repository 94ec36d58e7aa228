"""CVAT: annotations.xml of "CVAT for images 1.1"."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from pixelwise.data.formats._annotations import check_image_size, require_pycocotools
from pixelwise.data.formats._filesystem import file_starts_with, is_file, is_folder, list_files, read_bytes
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import check_line_width, ellipse, stroke, to_points
from pixelwise.data.formats._image_entries import EntryCollector, ImageEntry, Shape
from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.data.formats._json import is_name, quote
from pixelwise.data.formats._rle import encode_part
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import Annotation, DataIssue, FormatResult, Split
from pixelwise.errors import AnnotationError, DataError
from pixelwise.palette import Color, parse_hex

_HEAD = r"\s*(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*<annotations>"

_MAX_FILES = 50
"""Maximum number of XML files in a folder. A folder with more has one file per image, which is another format."""

_AREA_TAGS = ("polygon", "box", "ellipse", "mask")

_LABEL_TYPES_WITHOUT_AREA = ("points", "polyline", "skeleton", "cuboid", "tag")

_REASONS = {
    "points": "points enclose nothing",
    "skeleton": "a skeleton encloses nothing",
    "polyline": "a line encloses nothing; set `line_width` to draw lines",
}
"""Tag of a shape without an area → the reason why it is left out."""


def read_cvat(root: Path, options: LabelOptions | None = None) -> FormatResult | None:
    """Read "CVAT for images 1.1": annotations.xml and the images, which can be in images/ or images/SUBSET/.

    Polygons, boxes, ellipses and masks are read, and polylines if `line_width` is set. Shapes are drawn by z_order,
    then in the order of the file. Classes are "background" and the labels in the order of the project. An image
    without shapes is all background. The split of an image comes from its subset, or else from its folder. Pixels have
    the same values as in masks that CVAT exports. https://docs.cvat.ai/docs/manual/advanced/xml_format/

    Args:
        root: a folder, or the XML file.
        options: the user's options. Only `line_width` is used.

    Returns:
        The records, or None if there is no such XML file.

    Raises:
        DataError: An XML file is damaged, has tracks of a video, or has no shape with an area.
        ConfigError: `line_width` is out of range.
    """
    paths = _find_files(root)
    if not paths:
        return None
    documents = {path: _parse(path) for path in paths}
    require_pycocotools(paths[0])
    line_width = options.line_width if options else None
    check_line_width(line_width)
    base = root.parent if is_file(root) else root
    collector = EntryCollector(ImageIndex(base, list_files(base)))
    labels: dict[str, Color | None] = {}
    for path, document in documents.items():
        if document.find("track") is not None:
            raise DataError(
                f"{path}: is 'CVAT for video 1.1', whose shapes are tracks; export 'CVAT for images 1.1' or 'COCO 1.0'"
            )
        labels |= _read_labels(document)
        _read_images(path, document, collector, line_width)
    collector.check_has_area(paths[0])
    return collector.result(labels, paths[0], {name: color for name, color in labels.items() if color})


def _find_files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if root.suffix.lower() == ".xml" and file_starts_with(root, _HEAD) else []
    if not is_folder(root):
        return []
    files = []
    for folder, names in list_files(root, depth=2).items():
        names = [name for name in names if name.lower().endswith(".xml")]
        if len(names) <= _MAX_FILES:
            files += [root / folder / name for name in names]
    return [path for path in files if file_starts_with(path, _HEAD)]


def _parse(path: Path) -> Element:
    """Parse an XML file. Raises DataError if it is damaged or has a document type.

    The entities of a document type could expand to gigabytes or include other files.
    """
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise DataError(f"{path}: has a document type (<!DOCTYPE), which CVAT does not write; export it again")

    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(read_bytes(path), True)
        return builder.close()
    except expat.ExpatError as error:
        raise DataError(f"{path}: is not valid XML ({error}); export it again, fix or remove it") from None


def _read_labels(document: Element) -> dict[str, Color | None]:
    """Return label → color for the labels of a task, job or project, without labels that cannot have an area.

    The color is None if the file has no valid color for the label.
    """
    labels: dict[str, Color | None] = {}
    for label in document.iterfind("meta/*/labels/label"):
        name, label_type = (label.findtext("name") or "").strip(), (label.findtext("type") or "").strip()
        # A label with a parent is a point of a skeleton.
        if is_name(name) and label_type not in _LABEL_TYPES_WITHOUT_AREA and label.find("parent") is None:
            try:
                labels[name] = parse_hex((label.findtext("color") or "").strip())
            except ValueError:
                labels[name] = None
    return labels


def _read_images(path: Path, document: Element, collector: EntryCollector, line_width: float | None) -> None:
    """Add the entries of all images of a document to the collector, and issues for entries that cannot be used."""
    base = collector.images.root
    folder = path.parent.relative_to(base).as_posix() if path.parent != base else ""
    unknown_subsets = set()
    for index, element in enumerate(document.iterfind("image")):
        name, subset = element.get("name", ""), element.get("subset", "").strip()
        location = f"{path}, image {quote(element.get('id', f'{index} (from 0)'))}"
        if not is_name(name):
            raise DataError(f"{location}: has no name; export it again")
        split: Split | None = SPLIT_WORDS.get(subset.casefold()) or split_of(subset) or split_of(folder)
        if subset.casefold() not in ("", "default") and split is None:
            unknown_subsets.add(subset)
        image = collector.find(f"{subset}/{name}" if subset else name, location, folder, split)
        if image is None:
            continue
        try:
            size = _image_size(element)
            shapes = tuple(_read_shapes(element, size, location, collector, line_width))
        except AnnotationError as error:
            collector.issues.append(DataIssue("bad outline", location, f"{image}: {error}; fix or remove it"))
        else:
            collector.add(image, ImageEntry(name, location, shapes, size, folder, split))
    if unknown_subsets:
        names = ", ".join(sorted(map(quote, unknown_subsets)))
        message = f"the subsets {names} are no splits (train, val, test); their images are in train"
        collector.issues.append(DataIssue("unknown split", str(path), message, severity="warning"))


def _image_size(element: Element) -> tuple[int, int]:
    try:
        height, width = (int(element.get(key, "")) for key in ("height", "width"))
    except ValueError:
        raise AnnotationError("height and width must be positive integers") from None
    return check_image_size(height, width)


def _read_shapes(
    image: Element, size: tuple[int, int], location: str, collector: EntryCollector, line_width: float | None
) -> Iterator[Shape]:
    """Yield the shapes of an image that are visible and have an area, in drawing order."""
    drawn = []
    for index, element in enumerate(image):
        if element.tag == "tag" or element.get("outside") == "1":
            continue
        if element.tag not in _AREA_TAGS and not (element.tag == "polyline" and line_width):
            if element.tag in _REASONS:
                collector.left_out.add(element.tag, _REASONS[element.tag], location)
            else:
                collector.leave_out(quote(element.tag), "this kind of shape is not supported", location)
            continue
        try:
            label = element.get("label", "").strip()
            if not is_name(label):
                raise AnnotationError("must have a label")
            z_order = _number(element.attrib, "z_order", "0")
            drawn.append((z_order, (label, _to_annotation(element, size, line_width))))
        except AnnotationError as error:
            raise AnnotationError(f"shape {index} (from 0, {element.tag}): {error}") from None
    for _, shape in sorted(drawn, key=lambda item: item[0]):
        yield shape


def _to_annotation(element: Element, size: tuple[int, int], line_width: float | None) -> Annotation:
    """Convert a shape to an annotation with label 0, a placeholder."""
    values = element.attrib
    if element.tag == "mask":
        return Annotation(0, rle=_read_mask(values, size))
    if element.tag == "polyline" and line_width:
        points = _read_points(values)
        if not len(points):
            raise AnnotationError("a polyline must have points")
        return Annotation(0, stroke(points, line_width))
    if element.tag == "polygon":
        points = _read_points(values)
        if len(points) < 3:
            raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
        return Annotation(0, (points,))
    angle = _number(values, "rotation", "0")
    if element.tag == "ellipse":
        x, y, radius_x, radius_y = (_number(values, key) for key in ("cx", "cy", "rx", "ry"))
        points = ellipse(x, y, radius_x, radius_y, angle)
    else:
        left, top, right, bottom = (_number(values, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        points = _box(left, top, right, bottom, angle)
    return Annotation(0, (to_points(points.tolist()),))


def _read_points(values: Mapping[str, str]) -> np.ndarray:
    """Convert the attribute `points`, x,y;x,y;…, to an array (K, 2)."""
    try:
        pairs = [[float(number) for number in pair.split(",")] for pair in values.get("points", "").split(";") if pair]
    except ValueError:
        raise AnnotationError("points must be numbers: x,y;x,y;…") from None
    return to_points(pairs)


def _number(values: Mapping[str, str], key: str, default: str = "") -> float:
    try:
        number = float(values.get(key, default))
    except ValueError:
        raise AnnotationError(f"{key} must be a number") from None
    if not abs(number) < 1e6:
        raise AnnotationError(f"{key} is not a number or is too large")
    return number


def _box(left: float, top: float, right: float, bottom: float, angle: float) -> np.ndarray:
    """Return the corners (4, 2) of a box that is rotated about its center by an angle in degrees, clockwise."""
    center, radians = np.array([left + right, top + bottom]) / 2, np.deg2rad(angle)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - center
    rotation = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return corners @ rotation + center


def _read_mask(values: Mapping[str, str], size: tuple[int, int]) -> dict[str, object]:
    """Return the run lengths of a mask in the whole image, see `Annotation.rle`.

    The attribute `rle` has the lengths of runs that are alternately outside and inside the mask, row by row within the
    box of the mask.
    """
    left, top, width, height = (round(_number(values, key)) for key in ("left", "top", "width", "height"))
    try:
        counts = np.array(values.get("rle", "").split(","), np.int64)
    except (ValueError, OverflowError):
        raise AnnotationError("rle must be integers with commas between them") from None
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise AnnotationError("a mask must have a width and a height of at least 1")
    # A sum in floats cannot overflow.
    if counts.min() < 0 or counts.sum(dtype=np.float64) != width * height:
        raise AnnotationError(f"the runs of its rle do not add up to {width}x{height} pixels")
    inside = np.arange(len(counts)) % 2 == 1
    return encode_part(np.repeat(inside, counts).reshape(height, width), left, top, size)
