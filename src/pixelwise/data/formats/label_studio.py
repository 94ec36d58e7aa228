"""Label Studio: JSON and JSON-MIN exports."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from pixelwise.data.formats._annotations import assign_class_ids, check_image_size, polygon_result, require_pycocotools
from pixelwise.data.formats._filesystem import (
    IMAGE_SUFFIXES,
    ImageFile,
    file_starts_with,
    is_file,
    is_folder,
    list_files,
)
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import ellipse, rectangle, to_points
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._json import is_name, is_number, quote, read_json
from pixelwise.data.formats._rle import decode_brush_rle, encode_rle
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError

_HEAD = r'\s*\[\s*\{.*"(annotations|annotation_id|original_width)"\s*:'

_MAX_FILES = 50

_GEOMETRY_KEYS = ("points", "rle", "radiusX", "width")

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{6,8}-")
"""Prefix that Label Studio adds to the names of uploaded files."""

_SIZE_KEYS = ("original_height", "original_width")

Region = Mapping[str, Any]


def read_label_studio(root: Path) -> FormatResult | None:
    """Read a JSON or JSON-MIN export of Label Studio, which is in the root or is the root. Images are found by name.

    Polygons, rectangles, ellipses and brush masks are read. Later regions cover earlier ones. Classes are
    "background" and the labels by name. If an image has several annotations, the ground truth is used, or else the last
    one that was not canceled. https://labelstud.io/guide/export
    """
    exports = [(path, content) for path in _find_files(root) if _is_export(content := read_json(path))]
    if not exports:
        return None
    require_pycocotools(exports[0][0])
    base = root.parent if is_file(root) else root
    images = ImageIndex(base, list_files(base, depth=6))
    issues: list[DataIssue] = []
    tasks: dict[ImageFile, _Task] = {}
    labeled: list[tuple[ImageFile, str, list[tuple[str, Annotation]]]] = []
    for path, content in exports:
        for task in _read_tasks(path, content):
            image = _find_image(task, images, issues)
            if image is None:
                continue
            if image in tasks:
                other = f"{tasks[image]} of {tasks[image].path.name}"
                raise DataError(
                    f"{path}: {task} and {other} may both be of {image}; keep one, or give images different names"
                )
            tasks[image] = task
            regions = _select_annotation(task, issues)
            if regions is None:
                continue
            try:
                labeled.append((image, task.location, _read_regions(regions, task.location, issues)))
            except AnnotationError as error:
                issues.append(DataIssue("bad outline", task.location, f"{image}: {error}; fix or remove it"))
    classes, index_of = assign_class_ids(sorted({label for *_, shapes in labeled for label, _ in shapes}))
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for image, location, shapes in labeled:
        annotations = tuple(
            Annotation(index_of[label], shape.polygons, shape.rle, shape.relative) for label, shape in shapes
        )
        records[split_of(image.folder) or "train"].append(
            Record(images.path(image), PolygonMask(annotations, location))
        )
    issues += unlisted_images_issue(images, set(tasks), exports[0][0])
    return polygon_result(records, classes, issues)


@dataclass
class _Task:
    """An image and its annotations.

    Attributes:
        path: the export.
        number: the id of the task.
        image: the name, path or URL of the image.
        annotations: (canceled, ground truth, regions) of each annotation, in order.
    """

    path: Path
    number: object
    image: str
    annotations: list[tuple[bool, bool, list[dict[str, Any]]]] = field(default_factory=list)

    @property
    def location(self) -> str:
        return f"{self.path}, {self}"

    def __str__(self) -> str:
        return f"task {quote(self.number)}"


def _find_files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if root.suffix.lower() == ".json" and file_starts_with(root, _HEAD) else []
    if not is_folder(root):
        return []
    names = [name for name in list_files(root, depth=0)[""] if name.lower().endswith(".json")]
    return [root / name for name in names[:_MAX_FILES] if file_starts_with(root / name, _HEAD)]


def _is_export(content: object) -> bool:
    """Return True if an entry is a task (JSON) or an annotation of a task (JSON-MIN)."""
    return isinstance(content, list) and any(
        isinstance(entry, dict) and (("annotations" in entry and "data" in entry) or "annotation_id" in entry)
        for entry in content
    )


def _read_tasks(path: Path, content: Sequence[object]) -> Iterator[_Task]:
    """Yield the tasks of an export. JSON-MIN has one entry for each annotation of a task."""
    tasks: dict[object, _Task] = {}
    for index, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: entry {index} (from 0) must be an object; export it again")
        number = entry.get("id", f"{index} (from 0)")
        number = number if isinstance(number, int | str) else str(number)
        is_task = "annotations" in entry or "data" in entry
        data = entry.get("data") if is_task else entry
        name = _image_name(data) if isinstance(data, dict) else None
        if name is None:
            raise DataError(f"{path}: task {quote(number)} names no image in its data; export it again")
        task = tasks.get(number)
        if task is None:
            task = tasks[number] = _Task(path, number, name)
        elif is_task or task.image != name:
            raise DataError(f"{path}: two tasks have the id {quote(number)}; export it again")
        if is_task:
            task.annotations += _read_annotations(task, entry.get("annotations"))
        else:
            lists = [value for value in entry.values() if isinstance(value, list)]
            regions = [region for values in lists for region in values if isinstance(region, dict)]
            task.annotations.append((False, False, regions))
    yield from tasks.values()


def _image_name(data: Mapping[str, object]) -> str | None:
    """Return the first value that ends with the suffix of an image."""
    for value in data.values():
        if isinstance(value, str) and is_name(value):
            for name in _candidate_names(value):
                if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES:
                    return value
    return None


def _read_annotations(task: _Task, annotations: object) -> Iterator[tuple[bool, bool, list[dict[str, Any]]]]:
    if not isinstance(annotations, list):
        raise DataError(f'{task.path}: {task} must have a list of "annotations"; export it again')
    for annotation in annotations:
        results = annotation.get("result") if isinstance(annotation, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
            raise DataError(f'{task.path}: {task} has an annotation without a list "result"; export it again')
        regions = []
        for result in results:
            value = result.get("value")
            if isinstance(value, dict):
                image = {key: result[key] for key in (*_SIZE_KEYS, "image_rotation") if key in result}
                regions.append({**value, **image, "id": result.get("id")})
        yield bool(annotation.get("was_canceled")), bool(annotation.get("ground_truth")), regions


def _select_annotation(task: _Task, issues: list[DataIssue]) -> list[dict[str, Any]] | None:
    """Return the regions of the annotation to use. Add an issue and return None if there is none."""
    completed = [annotation for annotation in task.annotations if not annotation[0]]
    if not completed:
        state = "was skipped" if task.annotations else "is not annotated"
        message = f"{task.image} {state} and so has no mask; annotate it, or remove it from the export"
        issues.append(DataIssue("missing mask", task.location, message))
        return None
    selected = next((annotation for annotation in reversed(completed) if annotation[1]), completed[-1])
    if len(completed) > 1:
        which = "the ground truth" if selected[1] else "the last one"
        message = f"has {len(completed)} annotations; {which} is used"
        issues.append(DataIssue("several annotations", task.location, message, severity="warning"))
    return selected[2]


def _candidate_names(name: str) -> Iterator[str]:
    """Yield the file paths that a name, path or URL can mean: as it is, then as a URL."""
    yield name
    try:
        parts = urlsplit(name)
    except ValueError:
        return
    local = parse_qs(parts.query).get("d", [])
    yield local[0] if local else unquote(parts.path)


def _find_image(task: _Task, images: ImageIndex, issues: list[DataIssue]) -> ImageFile | None:
    """Return the image of a task. Add an issue and return None if it is missing."""
    for path in _candidate_names(task.image):
        folder, slash, name = path.replace("\\", "/").rpartition("/")
        for candidate in (name, _UPLOAD_PREFIX.sub("", name, count=1) if _UPLOAD_PREFIX.match(name) else name):
            image = images.find(f"{folder}{slash}{candidate}", source=task.location)
            if image is not None:
                return image
    message = f"no such image here: {quote(task.image)}; put it next to the export, or remove the task"
    issues.append(DataIssue("missing image", task.location, message))
    return None


def _read_regions(regions: Sequence[Region], location: str, issues: list[DataIssue]) -> list[tuple[str, Annotation]]:
    """Return (label, annotation) for each region, in order. Points are left out with a warning."""
    with_label = {str(region.get("id")) for region in regions if region.get("id") and _read_labels(region)}
    annotations, point_count = [], 0
    for index, region in enumerate(regions):
        labels = _read_labels(region)
        if not any(key in region for key in _GEOMETRY_KEYS):
            point_count += "x" in region and bool(labels)
            continue
        if not labels and str(region.get("id")) in with_label:
            continue  # an outline without its label; a second region repeats it with the label
        if len(labels) != 1:
            raise AnnotationError(f"region {index} (from 0) must have one label, and has {len(labels)}")
        try:
            annotations.append((labels[0], _to_annotation(region)))
        except AnnotationError as error:
            raise AnnotationError(f"region {index} (from 0): {error}") from None
    if point_count:
        message = f"{point_count} point{'s' * (point_count > 1)} enclose nothing; left out"
        issues.append(DataIssue("shape without area", location, message, severity="warning"))
    return annotations


def _read_labels(region: Region) -> list[str]:
    """Return the labels of a region: polygonlabels, brushlabels, …, or labels."""
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
    if "points" in region:
        points = to_points(region["points"])
        if len(points) < 3:
            raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
        return Annotation(0, (points / 100,), relative=True)
    is_ellipse = "radiusX" in region
    keys = ("x", "y", "radiusX", "radiusY") if is_ellipse else ("x", "y", "width", "height")
    values: list[Any] = [region.get(key) for key in keys]
    angle: Any = region.get("rotation") or 0
    if not all(is_number(value) and abs(value) <= 1000 for value in (*values, angle)):
        raise AnnotationError(f"{', '.join(keys)} and rotation must be numbers, in percent and degrees")
    # A rotation needs pixels, because one percent of the width and of the height differ in length.
    height, width = _image_size(region) if angle else (100, 100)
    size = np.array((width, height))
    x, y, across, down = (np.array(values).reshape(2, 2) * size / 100).ravel()
    points = (ellipse if is_ellipse else rectangle)(x, y, across, down, angle)
    return Annotation(0, (points / size,), relative=True)


def _image_size(region: Region) -> tuple[int, int]:
    return check_image_size(region.get(_SIZE_KEYS[0]), region.get(_SIZE_KEYS[1]), _SIZE_KEYS)
