"""COCO: JSON files of polygons and run lengths, as COCO itself, Roboflow, CVAT and others write them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats._annotations import assign_class_ids, check_image_size, polygon_result, require_pycocotools
from pixelwise.data.formats._filesystem import ImageFile, file_starts_with, is_file, is_folder, list_files
from pixelwise.data.formats._folder_names import parse_folder_name, split_of
from pixelwise.data.formats._geometry import polygon_area, to_points
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._json import is_index, is_name, quote, read_json
from pixelwise.data.formats._rle import check_rle, empty_rle
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError
from pixelwise.palette import IGNORE_INDEX

_HEAD = r'\s*\{\s*"(info|licenses?|images|annotations|categories|type|videos|contributor)"\s*:'

_SECTIONS = ("images", "annotations", "categories")

_FOLDERS = ("", "annotations", "annotation")

_MAX_FILES = 50
"""A folder with more JSON files has one per image, which is another format."""


def read_coco(root: Path) -> FormatResult | None:
    """Read COCO: images, annotations and categories in one JSON file, or in one for each split.

    The files are in the root, in annotations/, or next to the images of a split (_annotations.coco.json). The root can
    be the file itself. Class 0 is "background", then come the categories by id. Smaller objects cover larger ones.
    Crowds are ignored. https://cocodataset.org/#format-data
    """
    paths = _find_files(root)
    files = [file for path in paths if (file := _read_file(path, paths)) is not None]
    if not files:
        return None
    require_pycocotools(files[0].path)
    _drop_files_without_segmentation(files)
    _assign_splits(files, root)
    names = _merge_categories(files)
    classes, index_of = assign_class_ids(names.values())
    labels = {category: index_of[name] for category, name in names.items()}
    base = _image_root(root)
    images = ImageIndex(base, list_files(base, depth=4))
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    issues: list[DataIssue] = []
    entries: dict[ImageFile, str] = {}
    for file in files:
        new_records, new_issues = _read_records(file, images, labels, entries)
        records[file.split or "train"] += new_records
        issues += new_issues
    issues += unlisted_images_issue(images, set(entries), files[0].path)
    return polygon_result(records, classes, issues)


@dataclass
class _File:
    """The content of one JSON file.

    Attributes:
        path: the file.
        images: its entries for images.
        categories: id → (name, supercategory).
        by_image: image id → annotations.
        split: the split, or None.
    """

    path: Path
    images: list[dict[str, Any]]
    categories: dict[int, tuple[str, object]]
    by_image: dict[int | str, list[dict[str, Any]]] = field(default_factory=dict)
    split: Split | None = None

    def annotations(self) -> Iterable[dict[str, Any]]:
        """Yield the annotations of all images."""
        for annotations in self.by_image.values():
            yield from annotations


def _find_files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if root.suffix.lower() == ".json" and file_starts_with(root, _HEAD) else []
    if not is_folder(root):
        return []
    files = []
    for folder, names in list_files(root, depth=1).items():
        any_name = folder.casefold() in _FOLDERS or parse_folder_name(folder)[0] is not None
        names = [name for name in names if name.lower().endswith(".json" if any_name else ".coco.json")]
        instances = [name for name in names if name.lower().startswith("instances")]  # not captions_, person_keypoints_
        if len(names) <= _MAX_FILES:
            files += [root / folder / name for name in instances or names]
    return [path for path in files if file_starts_with(path, _HEAD)]


def _image_root(root: Path) -> Path:
    """Return the folder whose subfolders have the images."""
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name.casefold() in _FOLDERS[1:] else root.parent


def _read_file(path: Path, paths: Sequence[Path]) -> _File | None:
    """Read a JSON file. Return None if it is not about segmentation."""
    content = read_json(path)
    present = [section for section in _SECTIONS if isinstance(content, dict) and section in content]
    missing = [section for section in _SECTIONS if section not in present]
    for section in present:
        if not isinstance(content[section], list) or not all(isinstance(item, dict) for item in content[section]):
            raise DataError(f'{path}: "{section}" must be a list of objects; export it again')
    if len(missing) > 1:
        return None
    if missing:
        if len(paths) > 1 or any("caption" in item for item in content.get("annotations", ())):
            return None
        raise DataError(f'{path}: has no "{missing[0]}"; export it again as COCO instances')
    by_image: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    for index, annotation in enumerate(content["annotations"]):
        image = annotation.get("image_id")
        if not (is_index(image) or is_name(image)):
            raise DataError(f"{path}: annotation {index} (from 0) has no image_id; export it again")
        by_image[image].append(annotation)
    return _File(path, content["images"], _read_categories(path, content["categories"]), dict(by_image))


def _read_categories(path: Path, items: Sequence[dict[str, Any]]) -> dict[int, tuple[str, object]]:
    """Return id → (name, supercategory)."""
    categories: dict[int, tuple[str, object]] = {}
    for index, item in enumerate(items):
        number, name = item.get("id"), item.get("name")
        if not is_index(number) or not is_name(name):
            raise DataError(f"{path}: category {index} (from 0) must have an id, 0 or greater, and a name; fix it")
        assert isinstance(number, int) and isinstance(name, str)
        name = name.strip()
        first_name = categories.setdefault(number, (name, item.get("supercategory")))[0]
        if first_name != name:
            raise DataError(f"{path}: category {number} is {first_name} and also {name}; give each its own id")
    return categories


def _drop_files_without_segmentation(files: list[_File]) -> None:
    """Remove files of key points or boxes if others have outlines. Raises DataError if none has."""
    without = [
        file for file in files if file.by_image and not any(item.get("segmentation") for item in file.annotations())
    ]
    if len(without) == len(files):
        raise DataError(
            f"{without[0].path}: its annotations have no segmentation, only boxes or points; masks need outlines: "
            "export polygons or run lengths"
        )
    for file in without:
        files.remove(file)


def _assign_splits(files: list[_File], root: Path) -> None:
    """Set the split of each file from its name or folder. If the root is the file, all images are for training."""
    if is_file(root):
        return
    for file in list(files):
        stem = file.path.stem.casefold()
        file.split = split_of(stem) or (split_of(file.path.parent.name) if file.path.parent != root else None)
        if "trainval" in stem and any(split_of(other.path.stem) == "train" for other in files if other is not file):
            files.remove(file)
        elif "trainval" in stem:
            file.split = "train"


def _merge_categories(files: Sequence[_File]) -> dict[int, str]:
    """Return category id → name over all files, sorted by id.

    Roboflow writes category 0 as a heading for the others. It is removed if no annotation uses it.
    """
    categories: dict[int, tuple[str, object]] = {}
    for file in files:
        for number, (name, parent) in file.categories.items():
            first_name = categories.setdefault(number, (name, parent))[0]
            if first_name != name:
                raise DataError(
                    f"{file.path}: category {number} is {name}, but {first_name} in {files[0].path}; export both alike"
                )
    parents = {parent for number, (_, parent) in categories.items() if number != 0 and isinstance(parent, str)}
    used = any(item.get("category_id") == 0 for file in files for item in file.annotations())
    if 0 in categories and categories[0][0] in parents and not used:
        del categories[0]
    if not categories:
        raise DataError(f"{files[0].path}: has no categories; export it with its classes")
    return {number: name for number, (name, _) in sorted(categories.items())}


def _read_records(
    file: _File, images: ImageIndex, labels: Mapping[int, int], entries: dict[ImageFile, str]
) -> tuple[list[Record], list[DataIssue]]:
    """Return the records and issues of a file. `entries` (image → entry) is extended and detects duplicates."""
    records, issues, missing = list[Record](), list[DataIssue](), list[DataIssue]()
    folder = str(file.path.parent.relative_to(images.root)) if file.path.parent.is_relative_to(images.root) else ""
    numbers: set[int | str] = set()
    for index, item in enumerate(file.images):
        number, name = _check_image(file, index, item)
        if number in numbers:
            raise DataError(f"{file.path}: two images have the id {number}; give each its own")
        numbers.add(number)
        entry = f"{file.path}, image {number}"
        image = images.find(name, folder, file.split, source=entry)
        if image is None:
            message = f"no such image here: {name}; add it, or remove its entry"
            missing.append(DataIssue("missing image", entry, message))
        elif image in entries:
            message = f"{name} is listed twice, also as {entries[image]}; keep one entry"
            issues.append(DataIssue("image listed twice", entry, message))
        else:
            entries[image] = entry
            try:
                annotations = _read_annotations(item, file.by_image.get(number, ()), labels)
            except AnnotationError as error:
                issues.append(DataIssue("bad outline", entry, f"{image}: {error}; fix or remove it"))
            else:
                records.append(Record(images.path(image), PolygonMask(annotations, entry)))
    if missing and len(missing) == len(file.images) and file.split not in (None, "train"):
        message = f"none of its {len(missing)} images is here; that split is left out"
        return [], [DataIssue("list without images", str(file.path), message, severity="warning")]
    count = len(file.by_image.keys() - numbers)
    if count:
        message = f"has annotations of {count} image{'s' * (count > 1)} that it does not list; left out"
        issues.append(DataIssue("annotation without image", str(file.path), message, severity="warning"))
    return records, missing + issues


def _check_image(file: _File, index: int, item: Mapping[str, Any]) -> tuple[int | str, str]:
    """Return the id and the file name of an entry for an image."""
    number, name = item.get("id"), item.get("file_name")
    if not (is_index(number) or is_name(number)) or not is_name(name):
        raise DataError(f"{file.path}: image {index} (from 0) must have an id and a file_name; export it again")
    assert isinstance(number, int | str) and isinstance(name, str)
    return number, name


def _read_annotations(
    image: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], labels: Mapping[int, int]
) -> tuple[Annotation, ...]:
    """Return the annotations of an image in drawing order: crowds, then from the largest to the smallest."""
    height, width = image.get("height"), image.get("width")
    size = None if height is None and width is None else check_image_size(height, width)
    drawn = []
    for index, item in enumerate(annotations):
        number = item.get("id", index)
        try:
            crowd = item.get("iscrowd") in (1, True)
            category = item.get("category_id")
            if not isinstance(category, int) or category not in labels:
                raise AnnotationError("its category_id is none of the categories")
            area, polygons, rle = _read_segmentation(item.get("segmentation"), size)
        except AnnotationError as error:
            raise AnnotationError(f"annotation {quote(number)}: {error}") from None
        annotation = Annotation(IGNORE_INDEX if crowd else labels[category], polygons, rle)
        drawn.append((not crowd, -area, number if is_index(number) else index, index, annotation))
    first = (empty_rle(*size),) if size else ()
    return first + tuple(annotation for *_, annotation in sorted(drawn, key=lambda item: item[:-1]))


def _read_segmentation(
    segmentation: object, size: tuple[int, int] | None
) -> tuple[float, tuple[np.ndarray, ...], dict[str, Any] | None]:
    """Return the area in pixels, and the polygons or the run lengths."""
    if isinstance(segmentation, dict):
        area, rle = check_rle(segmentation, size)
        return area, (), rle
    if not isinstance(segmentation, list) or not segmentation:
        raise AnnotationError("has no outline (an empty segmentation), only a box")
    # Annotation tools leave polygons of one or two points behind. They enclose nothing.
    polygons = [points for points in map(to_points, segmentation) if len(points) >= 3]
    if not polygons:
        raise AnnotationError("a polygon of fewer than 3 points encloses nothing")
    return sum(map(polygon_area, polygons)), tuple(polygons), None
