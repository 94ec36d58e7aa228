"""Label Studio's JSON and JSON-MIN exports."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from pixelwise.data.formats._annotations import (
    AnnotationError,
    ImageIndex,
    assign_class_ids,
    ellipse,
    file_starts_with,
    is_file,
    is_number,
    is_text,
    is_whole,
    polygon_result,
    printable_prefix,
    read_json,
    rectangle,
    split_of,
    to_points,
    unlisted_images_issue,
)
from pixelwise.data.formats._filesystem import IMAGE_SUFFIXES, ImageFile, is_folder, list_files
from pixelwise.data.formats._rle import decode_brush_rle, run_lengths
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import DataError

_HEAD = r'\s*\[\s*\{.*"(annotations|annotation_id|original_width)"\s*:'


_MAX_FILES = 50


_GEOMETRY = ("points", "rle", "radiusX", "width")


_PREFIX = re.compile(r"[0-9a-f]{6,8}-")
"""What Label Studio puts before the name of a file that was uploaded."""


def read_label_studio(root: Path) -> FormatResult | None:
    """Label Studio: a JSON or JSON-MIN export, in the root or the root itself; images are found by name.

    Polygons, rectangles, ellipses and brush masks; later regions are on top. Classes are the labels by name after
    "background". Of several annotations of an image the ground truth counts, else the last one that was not canceled.
    https://labelstud.io/guide/export
    """
    paths = _find_files(root)
    read = [(path, content) for path in paths if _is_export(content := read_json(path))]
    if not read:
        return None
    base = root.parent if is_file(root) else root
    images = ImageIndex(base, list_files(base, depth=6))
    problems: list[DataIssue] = []
    taken: dict[ImageFile, str] = {}
    drawn: list[tuple[ImageFile, str, list[tuple[str, Annotation]]]] = []
    for path, content in read:
        for task in _tasks(path, content):
            image = _image(task, images, problems)
            if image is None:
                continue
            if image in taken:
                raise DataError(
                    f"{path}: {task} and {taken[image]} may both be of {image}; keep one, or give images other names"
                )
            taken[image] = f"{task} of {path.name}"
            regions = _chosen(task, f"{path}, {task}", problems)
            if regions is not None:
                try:
                    drawn.append((image, f"{path}, {task}", _shapes(regions, f"{path}, {task}", problems)))
                except AnnotationError as error:
                    problems.append(DataIssue("bad outline", f"{path}, {task}", f"{image}: {error}; mend or remove it"))
    classes, labels = assign_class_ids(sorted({label for *_, shapes in drawn for label, _ in shapes}))
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for image, name, shapes in drawn:
        own = tuple(Annotation(labels[each], shape.polygons, shape.rle, shape.relative) for each, shape in shapes)
        records[split_of(image.folder) or "train"].append(Record(images.path(image), PolygonMask(own, name)))
    problems += unlisted_images_issue(images, set(taken), read[0][0])
    return polygon_result(records, classes, problems)


@dataclass
class _Task:
    """An image and its annotations: (canceled, ground truth, regions) each, in order."""

    path: Path
    number: object
    image: str
    annotations: list[tuple[bool, bool, list[dict[str, Any]]]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"task {printable_prefix(str(self.number))}"


def _find_files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if root.suffix.lower() == ".json" and file_starts_with(root, _HEAD) else []
    if not is_folder(root):
        return []
    names = [name for name in list_files(root, depth=0)[""] if name.lower().endswith(".json")]
    return [root / name for name in names[:_MAX_FILES] if file_starts_with(root / name, _HEAD)]


def _is_export(content: object) -> bool:
    """Whether any entry is a task, with its annotations or, in JSON-MIN, with the regions themselves."""
    return isinstance(content, list) and any(
        isinstance(each, dict) and (("annotations" in each and "data" in each) or "annotation_id" in each)
        for each in content
    )


def _tasks(path: Path, content: Sequence[object]) -> Iterator[_Task]:
    """The tasks of an export; in JSON-MIN each annotation of a task is an entry of its own."""
    tasks: dict[object, _Task] = {}
    for at, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise DataError(f"{path}: entry {at} (from 0) must be an object; export it again")
        number = entry.get("id", f"{at} (from 0)")
        number = number if isinstance(number, int | str) else str(number)
        whole = "annotations" in entry or "data" in entry
        data = entry.get("data") if whole else entry
        name = _image_name(data) if isinstance(data, dict) else None
        if name is None:
            raise DataError(f"{path}: task {printable_prefix(str(number))} names no image in its data; export it again")
        task = tasks.get(number)
        if task is None:
            task = tasks[number] = _Task(path, number, name)
        elif whole or task.image != name:
            raise DataError(f"{path}: two tasks have the id {printable_prefix(str(number))}; export it again")
        if whole:
            task.annotations += _annotations(path, task, entry.get("annotations"))
        else:
            lists = [value for value in entry.values() if isinstance(value, list)]
            regions = [each for many in lists for each in many if isinstance(each, dict)]
            task.annotations.append((False, False, regions))
    yield from tasks.values()


def _image_name(data: Mapping[str, object]) -> str | None:
    """The first value that ends like the name of an image."""
    for value in data.values():
        if isinstance(value, str) and is_text(value):
            for name in _readings(value):
                if name.rpartition(".")[2].lower() in IMAGE_SUFFIXES:
                    return value
    return None


def _annotations(path: Path, task: _Task, entries: object) -> Iterator[tuple[bool, bool, list[dict[str, Any]]]]:
    if not isinstance(entries, list):
        raise DataError(f'{path}: {task} must have a list of "annotations"; export it again')
    for each in entries:
        results = each.get("result") if isinstance(each, dict) else None
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise DataError(f'{path}: {task} has an annotation without a list "result"; export it again')
        regions = []
        for one in results:
            value = one.get("value")
            if isinstance(value, dict):
                outer = {key: one[key] for key in ("original_width", "original_height", "image_rotation") if key in one}
                regions.append({**value, **outer, "id": one.get("id")})
        yield bool(each.get("was_canceled")), bool(each.get("ground_truth")), regions


def _chosen(task: _Task, where: str, problems: list[DataIssue]) -> list[dict[str, Any]] | None:
    """The regions of the annotation that counts; None, with a problem, where there is none."""
    there = [each for each in task.annotations if not each[0]]
    if not there:
        state = "was skipped" if task.annotations else "is not annotated"
        what = f"{task.image} {state} and so has no mask; annotate it, or take it out of the export"
        problems.append(DataIssue("missing mask", where, what))
        return None
    best = next((each for each in reversed(there) if each[1]), there[-1])
    if len(there) > 1:
        which = "the ground truth" if best[1] else "the last one"
        what = f"has {len(there)} annotations; {which} is taken"
        problems.append(DataIssue("several annotations", where, what, severity="warning"))
    return best[2]


def _readings(name: str) -> Iterator[str]:
    """The file that a name, a path or a URL means: as it is, then as a URL."""
    yield name
    try:
        parts = urlsplit(name)
    except ValueError:
        return
    local = parse_qs(parts.query).get("d", [])
    yield local[0] if local else unquote(parts.path)


def _image(task: _Task, images: ImageIndex, problems: list[DataIssue]) -> ImageFile | None:
    """The image of a task; None, with a problem, where it is not here."""
    where = f"{task.path}, {task}"
    for name in _readings(task.image):
        folder, slash, last = name.replace("\\", "/").rpartition("/")
        for each in (last, _PREFIX.sub("", last, count=1) if _PREFIX.match(last) else last):
            image = images.find(f"{folder}{slash}{each}", where=where)
            if image is not None:
                return image
    what = f"no such image here: {printable_prefix(task.image)}; put it beside the export, or take out the task"
    problems.append(DataIssue("missing image", where, what))
    return None


def _shapes(
    regions: Sequence[Mapping[str, Any]], where: str, problems: list[DataIssue]
) -> list[tuple[str, Annotation]]:
    """(label, shape) in order. Raises AnnotationError."""
    named = {str(each.get("id")) for each in regions if each.get("id") and _labels(each)}
    found, left_out = [], 0
    for at, region in enumerate(regions):
        labels = _labels(region)
        if not any(key in region for key in _GEOMETRY):
            left_out += "x" in region and bool(labels)  # a point
            continue
        if not labels and str(region.get("id")) in named:
            continue  # the outline alone, which comes with its label once more
        if len(labels) != 1:
            raise AnnotationError(f"region {at} (from 0) must have one label, and has {len(labels)}")
        try:
            found.append((labels[0], _shape(region)))
        except AnnotationError as error:
            raise AnnotationError(f"region {at} (from 0): {error}") from None
    if left_out:
        what = f"{left_out} point{'s' * (left_out > 1)} cannot be drawn; left out"
        problems.append(DataIssue("shape without area", where, what, severity="warning"))
    return found


def _labels(region: Mapping[str, Any]) -> list[str]:
    """The labels of a region: polygonlabels, brushlabels …, or labels."""
    for key, value in region.items():
        if key.endswith("labels") and isinstance(value, list):
            if not all(map(is_text, value)):
                raise AnnotationError(f"{key} must be names")
            return [each.strip() for each in value]
    return []


def _shape(region: Mapping[str, Any]) -> Annotation:
    if region.get("image_rotation"):
        raise AnnotationError("the image was turned in Label Studio; turn the image itself and outline it anew")
    if "rle" in region:
        width, height = _size(region)
        return Annotation(0, rle=run_lengths(decode_brush_rle(region["rle"], height, width)))
    if "points" in region:
        points = to_points(region["points"])
        if len(points) < 3:
            raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
        return Annotation(0, (points / 100,), relative=True)
    keys = ("x", "y", "radiusX", "radiusY") if "radiusX" in region else ("x", "y", "width", "height")
    values: list[Any] = [region.get(key) for key in keys]
    angle: Any = region.get("rotation") or 0
    if not all(is_number(each) and abs(each) <= 1000 for each in (*values, angle)):
        raise AnnotationError(f"{', '.join(keys)} and rotation must be numbers, in percent and degrees")
    # Turns are turns in pixels: a share of the width is not as long as a share of the height.
    size = _size(region) if angle else (100, 100)
    x, y, across, down = (each * size[at % 2] / 100 for at, each in enumerate(values))
    points = (ellipse if "radiusX" in region else rectangle)(x, y, across, down, angle)
    return Annotation(0, (points / np.array(size),), relative=True)


def _size(region: Mapping[str, Any]) -> tuple[int, int]:
    width, height = region.get("original_width"), region.get("original_height")
    if not (is_whole(width) and is_whole(height) and 0 < width * height <= MAX_PIXELS):  # type: ignore[operator]
        raise AnnotationError("original_width and original_height must be whole numbers, of an image that can be")
    assert isinstance(width, int) and isinstance(height, int)
    return width, height
