"""VGG Image Annotator (VIA), versions 1, 2 and 3: JSON or CSV files of regions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from pixelwise.data.formats._annotations import BACKGROUND, require_pycocotools
from pixelwise.data.formats._filesystem import abbreviate, file_starts_with, is_file, is_folder, list_files
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import check_line_width, ellipse, rectangle, stroke, to_points
from pixelwise.data.formats._image_entries import EntryCollector, ImageEntry, Shape
from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.data.formats._json import is_name, is_number, quote
from pixelwise.data.formats._via_files import Region, ViaFile, ViaImage, is_via_csv, read_via_file
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import Annotation, DataIssue, FormatResult
from pixelwise.errors import AnnotationError, DataError

_HEAD = r'\s*\{.*"(regions|_via_img_metadata|_via_settings|fid_list|shared_fname|aname|pname)"\s*:'

_MAX_FILES = 50
"""A folder with more JSON and CSV files has one per image, which is another format."""

_SINGLE_CLASS = "foreground"
"""Class of all regions if regions have no attributes."""

_MIN_UNIQUE = 4
"""An attribute is not the class if at least this many regions have it and all its values differ."""

_LINES = ("line", "polyline")

_REASONS = {
    "point": "a point encloses nothing",
    **dict.fromkeys(_LINES, "a line encloses nothing; set `line_width` to draw lines"),
}
"""Name of a shape without an area → the reason why it is left out."""

_KEYS: dict[object, tuple[str, ...]] = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}
"""Name of a shape → keys of its numbers. Other shapes have the lists all_points_x and all_points_y."""

_DRAWN = (*_KEYS, "polygon", "extreme_rect", *_LINES)


def read_via(root: Path, options: LabelOptions | None = None) -> FormatResult | None:
    """Read VIA files: via_region_data.json, a CSV file or a project.

    Polygons, rectangles, circles and ellipses are read. Lines are read if `line_width` is set. Later regions cover
    earlier ones. A listed image without regions is all background. The split of an image comes from the name of the
    VIA file, or else from a folder name. https://www.robots.ox.ac.uk/~vgg/software/via/

    Classes are "background" and the values of one region attribute. If there are several attributes, the class
    attribute is the one with a value in `classes` or `label_map`. If no attribute has one, the class attribute is the
    only one with a list of options, or else the only one with repeated values.

    Args:
        root: the JSON or CSV file, or a folder. Files are searched in the folder and up to two folders below it.
        options: the user's options.

    Returns:
        The records, classes and issues. None if there is no VIA file.

    Raises:
        DataError: A file is damaged, several attributes can be the class, no region has an area, or pycocotools is not
            installed.
        ConfigError: `line_width` is out of range.
    """
    files = [file for path in _find_files(root) if (file := read_via_file(path)) is not None]
    if not files:
        return None
    path = files[0].path
    require_pycocotools(path)
    line_width = options.line_width if options else None
    check_line_width(line_width)
    base = root.parent if is_file(root) else root
    collector = EntryCollector(ImageIndex(base, list_files(base)))
    attribute, message = _choose_attribute(files, options or LabelOptions())
    if message:
        collector.issues.append(DataIssue("class attribute", str(path), message, severity="warning"))
    for file in files:
        _read_images(file, attribute, collector, line_width)
    collector.check_has_area(path)
    declared = [name for file in files for name in file.options.get(attribute or "", ())]
    return collector.result(declared or ([] if attribute else [_SINGLE_CLASS]), path)


def _find_files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if _is_via(root) else []
    if not is_folder(root):
        return []
    files = []
    for folder, names in list_files(root, depth=2).items():
        names = [name for name in names if name.lower().endswith((".json", ".csv"))]
        if len(names) <= _MAX_FILES:
            files += [root / folder / name for name in names]
    return [path for path in files if _is_via(path)]


def _is_via(path: Path) -> bool:
    return is_via_csv(path) or (path.suffix.lower() == ".json" and file_starts_with(path, _HEAD))


def _choose_attribute(files: Sequence[ViaFile], options: LabelOptions) -> tuple[str | None, str]:
    """Return the region attribute that names the class, and a message for the user or "".

    The attribute is None if no region has attributes.

    Raises:
        DataError: Several attributes can name the class.
    """
    values: dict[str, Counter[str]] = {}
    for file in files:
        for region in (region for image in file.images for region in image.regions):
            for name, value in _attributes(region).items():
                values.setdefault(name, Counter()).update(_texts(value))
    values = {name: counts for name, counts in values.items() if counts}
    if not values:
        return None, f"its regions have no attributes; all regions have the class {_SINGLE_CLASS}"
    if len(values) == 1:
        return next(iter(values)), ""
    requested = {*options.classes, *(text for text, _ in options.value_names)} - {BACKGROUND}
    named = [name for name, counts in values.items() if requested & counts.keys()]
    with_options = [name for name in values if any(name in file.options for file in files)]
    # An attribute with a different value in every region is a number or a note, not a class.
    repeated = [name for name, counts in values.items() if len(counts) < max(_MIN_UNIQUE, counts.total())]
    listed = " and ".join(f"'{quote(name)}' ({abbreviate(map(quote, values[name]))})" for name in values)
    reasons = [(named, "has the given classes")]
    if not named:
        reasons += [
            (with_options, "is the only one with a list of options"),
            (repeated, "is the only one with repeated values"),
        ]
    for names, reason in reasons:
        if len(names) == 1:
            return names[0], f"the region attribute '{quote(names[0])}' is the class: it {reason} (of {listed})"
    raise DataError(
        f"{files[0].path}: its regions have the attributes {listed}; set `classes` to the values of the one that names "
        "the class"
    )


def _attributes(region: Region) -> Mapping[str, object]:
    attributes = region.get("region_attributes")
    return attributes if isinstance(attributes, dict) else {}


def _texts(value: object) -> list[str]:
    """Return the values of an attribute: the selected options of checkboxes, or one value, or [] if it is empty."""
    if isinstance(value, dict):
        return [str(key).strip() for key, is_set in value.items() if is_set]
    text = "" if value is None else str(value).strip()
    return [text] if text else []


def _read_images(file: ViaFile, attribute: str | None, collector: EntryCollector, line_width: float | None) -> None:
    """Add the entries of all images of a file."""
    base = collector.images.root
    folder = file.path.parent.relative_to(base).as_posix() if file.path.parent != base else ""
    split = split_of(file.path.stem) or split_of(folder)
    if file.skipped:
        message = f"{file.skipped} file{'s are not images' if file.skipped > 1 else ' is not an image'}; left out"
        collector.issues.append(DataIssue("not an image", str(file.path), message, severity="warning"))
    for item in file.images:
        image = collector.find(_file_name(item.name), item.location, folder, split)
        if image is None:
            continue
        try:
            shapes = tuple(_read_regions(item, attribute, collector, line_width))
        except AnnotationError as error:
            collector.issues.append(DataIssue("bad outline", item.location, f"{image}: {error}; fix or remove it"))
        else:
            collector.add(image, ImageEntry(image.name, item.location, shapes, None, folder, split))


def _file_name(name: str) -> str:
    """Return the path in an image name that is a URL. Return other names unchanged."""
    if "://" not in name:
        return name
    try:
        return unquote(urlsplit(name).path)
    except ValueError:
        return name


def _read_regions(
    image: ViaImage, attribute: str | None, collector: EntryCollector, line_width: float | None
) -> Iterator[Shape]:
    """Yield the shapes of an image. A region with no class or several classes has the label None (ignore)."""
    for index, region in enumerate(image.regions):
        shape = region.get("shape_attributes")
        kind = shape.get("name") if isinstance(shape, dict) else None
        try:
            if not isinstance(shape, dict) or not isinstance(kind, str):
                raise AnnotationError('must have "shape_attributes" with a name')
            if kind in _REASONS and not (kind in _LINES and line_width):
                collector.left_out.add(kind, _REASONS[kind], image.location)
                continue
            if kind not in _DRAWN:
                collector.leave_out(quote(kind), "this type of region is not supported", image.location)
                continue
            annotation = _to_annotation(shape, kind, line_width)
            texts = [_SINGLE_CLASS] if attribute is None else _texts(_attributes(region).get(attribute))
            if not all(map(is_name, texts)):
                raise AnnotationError(f"'{quote(attribute)}' must be a name")
        except AnnotationError as error:
            raise AnnotationError(f"region {index} (from 0): {error}") from None
        if len(texts) != 1:
            number = "several values" if texts else "no value"
            collector.add_ignored(f"a region with {number} of '{quote(attribute)}'", image.location)
        yield texts[0] if len(texts) == 1 else None, annotation


def _to_annotation(shape: Mapping[str, Any], kind: str, line_width: float | None) -> Annotation:
    """Return a region as an annotation with label 0."""
    if kind in _KEYS:
        points = _outline(kind, _numbers(shape, _KEYS[kind]), shape.get("theta") or 0)
        return Annotation(0, (to_points(points.tolist()),))
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys) or not xs:
        raise AnnotationError("all_points_x and all_points_y must be lists of equal length")
    points = to_points([list(pair) for pair in zip(xs, ys, strict=True)])
    if kind in _LINES and line_width:
        return Annotation(0, stroke(points, line_width))
    if kind == "extreme_rect":
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return Annotation(0, (rectangle(left, top, right - left, bottom - top),))
    if len(points) < 3:
        raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
    return Annotation(0, (points,))


def _numbers(shape: Mapping[str, Any], keys: Iterable[str]) -> list[float]:
    values = [shape.get(key) for key in keys]
    if not all(is_number(value) for value in values):
        raise AnnotationError(f"{', '.join(keys)} must be numbers")
    return [float(value) for value in values if value is not None]


def _outline(kind: str, numbers: Sequence[float], theta: object) -> np.ndarray:
    """Return the outline (K, 2) of a rectangle, a circle or an ellipse. Rotate only ellipses, by `theta` radians."""
    if kind == "rect":
        return rectangle(*numbers)
    if kind == "circle":
        x, y, radius = numbers
        return ellipse(x, y, radius, radius)
    if not isinstance(theta, int | float) or not is_number(theta):
        raise AnnotationError("theta must be a number")
    x, y, radius_x, radius_y = numbers
    return ellipse(x, y, radius_x, radius_y, float(np.rad2deg(theta)))
