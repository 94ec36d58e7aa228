"""COCO: JSON files of polygons and run lengths, written by COCO itself, Roboflow, CVAT and other programs."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.data.formats._annotations import LeftOut, assign_class_ids, polygon_result, require_pycocotools
from pixelwise.data.formats._coco_annotations import CrowdRule, read_annotations
from pixelwise.data.formats._coco_files import check_image, find_json_files, image_root, read_categories
from pixelwise.data.formats._filesystem import ImageFile, is_file, list_files
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._json import is_index, is_name, read_json
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError

_SECTIONS = ("images", "annotations", "categories")


def read_coco(root: Path) -> FormatResult | None:
    """Read COCO: images, annotations and categories in one JSON file, or in one JSON file per split.

    The files are in the root, in annotations/, or next to the images of a split (_annotations.coco.json). The root can
    be the JSON file itself. Class 0 is "background". The categories follow in the order of their ids. Smaller objects
    cover larger ones. The pixels of crowds are ignored, see `CrowdRule`. https://cocodataset.org/#format-data
    """
    paths = find_json_files(root, "instances")  # not captions_, person_keypoints_, panoptic_
    files = [file for path in paths if (file := _read_file(path, paths)) is not None]
    if not files:
        return None
    require_pycocotools(files[0].path)
    _drop_files_without_segmentation(files)
    _assign_splits(files, root)
    names = _merge_categories(files)
    classes, index_of = assign_class_ids(names.values())
    labels = {category: index_of[name] for category, name in names.items()}
    base = image_root(root)
    images = ImageIndex(base, list_files(base, depth=4))
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    issues: list[DataIssue] = []
    annotations = [item for file in files for item in file.annotations()]
    reading = _Reading(images, labels, CrowdRule.of(annotations, names))
    entries = reading.entries
    for file in files:
        new_records, new_issues = _read_records(file, reading)
        records[file.split or "train"] += new_records
        issues += new_issues
    issues += [*reading.crowds.issues(annotations, names, files[0].path), *reading.left_out.issues()]
    issues += unlisted_images_issue(images, set(entries), files[0].path)
    return polygon_result(records, classes, issues)


@dataclass
class _File:
    """The content of one JSON file.

    Attributes:
        path: the file.
        images: the entries of its images.
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


def _read_file(path: Path, paths: Sequence[Path]) -> _File | None:
    """Read a JSON file. Return None if it is for another task than semantic or instance segmentation."""
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
    if any("segments_info" in annotation for annotation in content["annotations"]):
        return None  # panoptic
    for index, annotation in enumerate(content["annotations"]):
        image = annotation.get("image_id")
        if not (is_index(image) or is_name(image)):
            raise DataError(f"{path}: annotation {index} (from 0) has no image_id; export it again")
        by_image[image].append(annotation)
    return _File(path, content["images"], read_categories(path, content["categories"]), dict(by_image))


def _drop_files_without_segmentation(files: list[_File]) -> None:
    """Remove files that have only key points or boxes. Raise DataError if no file has outlines."""
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
    """Set the split of each file from its name or its folder's name.

    If the root is a JSON file, no split is set, and all images are used for training. A trainval file is removed if
    there is a train file, and is the train split otherwise.
    """
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

    Roboflow writes a category 0 that is the supercategory of the others. It is removed if no annotation uses it.
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


@dataclass
class _Reading:
    """The state that is shared by all files of a data set while they are read.

    Attributes:
        images: the images of the data set.
        labels: category id → class index.
        crowds: the rule that detects crowds.
        left_out: counts the annotations without an outline.
        entries: image → text that names its entry. Detects images that are listed twice.
    """

    images: ImageIndex
    labels: Mapping[int, int]
    crowds: CrowdRule
    left_out: LeftOut = field(default_factory=LeftOut)
    entries: dict[ImageFile, str] = field(default_factory=dict)


def _read_records(file: _File, reading: _Reading) -> tuple[list[Record], list[DataIssue]]:
    """Return the records and issues of a file, and add its images to `reading.entries`."""
    images, entries = reading.images, reading.entries
    records, issues, missing = list[Record](), list[DataIssue](), list[DataIssue]()
    folder = str(file.path.parent.relative_to(images.root)) if file.path.parent.is_relative_to(images.root) else ""
    numbers: set[int | str] = set()
    for index, item in enumerate(file.images):
        number, name = check_image(file.path, index, item)
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
                items = file.by_image.get(number, ())
                annotations = read_annotations(item, items, reading.labels, reading.crowds, reading.left_out, entry)
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
