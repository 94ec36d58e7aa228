"""Label Studio: JSON and JSON-MIN exports."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pixelwise.data.formats._annotations import LeftOut, assign_class_ids, polygon_result, require_pycocotools
from pixelwise.data.formats._filesystem import (
    IMAGE_SUFFIXES,
    ImageFile,
    file_starts_with,
    is_file,
    is_folder,
    list_files,
)
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._json import is_name, quote, read_json
from pixelwise.data.formats._label_studio_regions import SIZE_KEYS, read_regions
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError

_HEAD = r'\s*\[\s*\{.*"(annotations|annotation_id|original_width)"\s*:'

_MAX_FILES = 50

_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{6,8}-")
"""Prefix that Label Studio adds to the names of uploaded files."""


def read_label_studio(root: Path) -> FormatResult | None:
    """Read JSON or JSON-MIN exports of Label Studio. Images are found by name.

    Polygons, rectangles, ellipses, brush masks and bitmasks are read. Later regions cover earlier ones. The classes are
    "background" and the labels in alphabetical order. Canceled annotations are not used. If an image has several
    others, the last one that is ground truth is used, or the last one if none is. https://labelstud.io/guide/export

    Args:
        root: the folder of the exports and images, or one export.

    Returns:
        The records and classes. None if there is no export of Label Studio.

    Raises:
        DataError: An export is damaged, or two tasks may be of the same image.
    """
    exports = [(path, content) for path in _find_files(root) if _is_export(content := read_json(path))]
    if not exports:
        return None
    require_pycocotools(exports[0][0])
    base = root.parent if is_file(root) else root
    images = ImageIndex(base, list_files(base, depth=6))
    uploaded: dict[str, list[ImageFile]] = {}
    for image_file in images:
        uploaded.setdefault(_upload_name(image_file.name), []).append(image_file)
    issues: list[DataIssue] = []
    left_out, several = LeftOut(), list[tuple[str, int, bool]]()
    tasks: dict[ImageFile, _Task] = {}
    labeled: list[tuple[ImageFile, str, list[tuple[str, Annotation]]]] = []
    for path, content in exports:
        for task in _read_tasks(path, content):
            image = _find_image(task, images, uploaded, issues)
            if image is None:
                continue
            if image in tasks:
                other = f"{tasks[image]} of {tasks[image].path.name}"
                raise DataError(
                    f"{path}: {task} and {other} may both be of {image}; keep one, or give images different names"
                )
            tasks[image] = task
            regions = _select_annotation(task, issues, several)
            if regions is None:
                continue
            try:
                labeled.append((image, task.location, read_regions(regions, task.location, left_out)))
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
    issues += [*_several_issue(several), *left_out.issues()]
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
    """Return True for a list in which an entry is a task (JSON) or an annotation of a task (JSON-MIN)."""
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
    """Return the first value that ends with the suffix of an image file, or None."""
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
                image = {key: result[key] for key in (*SIZE_KEYS, "image_rotation") if key in result}
                regions.append({**value, **image, "id": result.get("id")})
        canceled = annotation.get("was_cancelled") or annotation.get("was_canceled")
        yield bool(canceled), bool(annotation.get("ground_truth")), regions


def _select_annotation(
    task: _Task, issues: list[DataIssue], several: list[tuple[str, int, bool]]
) -> list[dict[str, Any]] | None:
    """Return the regions of the annotation to use. Add an issue and return None if there is none.

    If there are several annotations, (task, number of annotations, True if the ground truth is used) is added to
    `several`.
    """
    completed = [annotation for annotation in task.annotations if not annotation[0]]
    if not completed:
        state = "was skipped" if task.annotations else "is not annotated"
        message = f"{task.image} {state} and so has no mask; annotate it, or remove it from the export"
        issues.append(DataIssue("missing mask", task.location, message))
        return None
    selected = next((annotation for annotation in reversed(completed) if annotation[1]), completed[-1])
    if len(completed) > 1:
        several.append((task.location, len(completed), selected[1]))
    return selected[2]


def _several_issue(several: Sequence[tuple[str, int, bool]]) -> list[DataIssue]:
    """Return one warning for all tasks with several annotations."""
    if not several:
        return []
    location, count, _ = several[0]
    used = {"the ground truth" if is_truth else "the last one" for *_, is_truth in several}
    others = len(several) - 1
    more = f", and {others} other task{' has' if others == 1 else 's have'} several" if others else ""
    message = f"has {count} annotations{more}; {' or '.join(sorted(used))} is used"
    return [DataIssue("several annotations", location, message, severity="warning")]


def _candidate_names(name: str) -> Iterator[str]:
    """Yield the file paths that a name, path or URL can mean: first the text itself, then the path in the URL.

    The path of a local file of Label Studio is the parameter "d" of the URL.
    """
    yield name
    try:
        parts = urlsplit(name)
    except ValueError:
        return
    local = parse_qs(parts.query).get("d", [])
    yield local[0] if local else unquote(parts.path)


def _upload_name(name: str) -> str:
    """Return the name of an uploaded file: Label Studio replaces spaces by "_" and removes special characters."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))


def _find_image(
    task: _Task, images: ImageIndex, uploaded: Mapping[str, Sequence[ImageFile]], issues: list[DataIssue]
) -> ImageFile | None:
    """Return the image of a task. Add an issue and return None if it is missing.

    Args:
        task: the task.
        images: the images of the data set.
        uploaded: name of an uploaded file in Label Studio, without its prefix → images.
        issues: an issue is added to this list if there is no image.
    """
    for path in _candidate_names(task.image):
        folder, slash, name = path.replace("\\", "/").rpartition("/")
        for candidate in (name, _UPLOAD_PREFIX.sub("", name, count=1) if _UPLOAD_PREFIX.match(name) else name):
            image = images.find(f"{folder}{slash}{candidate}", source=task.location)
            if image is not None:
                return image
        same_upload = uploaded.get(_UPLOAD_PREFIX.sub("", name, count=1), ())
        if len(same_upload) == 1:
            return same_upload[0]
    message = f"no such image here: {quote(task.image)}; put it next to the export, or remove the task"
    issues.append(DataIssue("missing image", task.location, message))
    return None
