"""COCO's JSON of polygons and run lengths, as COCO itself, Roboflow, CVAT and others write it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats._annotations import (
    AnnotationError,
    ImageIndex,
    area_of,
    assign_class_ids,
    file_starts_with,
    is_file,
    is_text,
    is_whole,
    polygon_result,
    printable_prefix,
    read_json,
    split_of,
    to_points,
    unlisted_images_issue,
)
from pixelwise.data.formats._filesystem import is_folder, list_files
from pixelwise.data.formats._folder_names import parse_folder_name
from pixelwise.data.formats._rle import check_run_lengths, empty_rle
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX

_HEAD = r'\s*\{\s*"(info|licenses?|images|annotations|categories|type|videos|contributor)"\s*:'


_PARTS = ("images", "annotations", "categories")


_FOLDERS = ("", "annotations", "annotation")


_MAX_FILES = 50
"""Where there are more JSON files in a folder, they are one an image, which COCO's are not."""


def read_coco(root: Path) -> FormatResult | None:
    """COCO: images, annotations and categories in a JSON, for all images or for each split.

    It is found in the root, in annotations/, or beside the images of a split (_annotations.coco.json); the root may be
    the file itself. Class 0 is "background", then the categories by id. The smaller of two things that overlap is on
    top; crowds are ignored. https://cocodataset.org/#format-data
    """
    paths = _find_files(root)
    files = [file for path in paths if (file := _read(path, paths)) is not None]
    if not files:
        return None
    _check_outlines(files)
    _settle_splits(files, root)
    names = _categories(files)
    classes, index_of = assign_class_ids(names.values())
    labels = {each: index_of[name] for each, name in names.items()}
    base = _base(root)
    images = ImageIndex(base, list_files(base, depth=4))
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    problems: list[DataIssue] = []
    taken: dict[Any, str] = {}
    for file in files:
        found, wrong = _records(file, images, labels, taken)
        records[file.split or "train"] += found
        problems += wrong
    problems += unlisted_images_issue(images, set(taken), files[0].path)
    return polygon_result(records, classes, problems)


@dataclass
class _File:
    """A JSON as it was read; `by_image` has the annotations of each image id."""

    path: Path
    images: list[dict[str, Any]]
    categories: dict[int, tuple[str, object]]
    by_image: dict[int | str, list[dict[str, Any]]] = field(default_factory=dict)
    split: Split | None = None


def _find_files(root: Path) -> list[Path]:
    if is_file(root):
        return [root] if root.suffix.lower() == ".json" and file_starts_with(root, _HEAD) else []
    if not is_folder(root):
        return []
    found = []
    for folder, names in list_files(root, depth=1).items():
        near = folder.casefold() in _FOLDERS or parse_folder_name(folder)[0] is not None
        names = [name for name in names if name.lower().endswith(".json" if near else ".coco.json")]
        own = [name for name in names if name.lower().startswith("instances")]  # beside captions_, person_keypoints_
        if len(names) <= _MAX_FILES:
            found += [root / folder / name for name in own or names]
    return [path for path in found if file_starts_with(path, _HEAD)]


def _base(root: Path) -> Path:
    """The folder that images are looked for in."""
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name.casefold() in _FOLDERS[1:] else root.parent


def _read(path: Path, paths: Sequence[Path]) -> _File | None:
    """A file's images, categories and annotations; None where it is about other things than outlines."""
    content = read_json(path)
    there = [part for part in _PARTS if isinstance(content, dict) and part in content]
    missing = [part for part in _PARTS if part not in there]
    for part in there:
        if not isinstance(content[part], list) or not all(isinstance(each, dict) for each in content[part]):
            raise DataError(f'{path}: "{part}" must be a list of objects; export it again')
    if len(missing) > 1:
        return None
    if missing:
        if len(paths) > 1 or any("caption" in each for each in content.get("annotations", ())):
            return None
        raise DataError(f'{path}: has no "{missing[0]}"; export it again as COCO instances')
    file = _File(path, content["images"], _read_categories(path, content["categories"]))
    by_image: dict[int | str, list[dict[str, Any]]] = defaultdict(list)
    for at, each in enumerate(content["annotations"]):
        image = each.get("image_id")
        if not (is_whole(image) or is_text(image)):
            raise DataError(f"{path}: annotation {at} (from 0) has no image_id; export it again")
        by_image[image].append(each)
    file.by_image = dict(by_image)
    return file


def _read_categories(path: Path, entries: Sequence[dict[str, Any]]) -> dict[int, tuple[str, object]]:
    found: dict[int, tuple[str, object]] = {}
    for at, each in enumerate(entries):
        number, name = each.get("id"), each.get("name")
        if not is_whole(number) or not is_text(name):
            raise DataError(f"{path}: category {at} (from 0) must have an id, 0 or greater, and a name; mend it")
        assert isinstance(number, int) and isinstance(name, str)
        name = name.strip()
        if found.setdefault(number, (name, each.get("supercategory")))[0] != name:
            raise DataError(f"{path}: category {number} is {found[number][0]} and also {name}; give each its own id")
    return found


def _check_outlines(files: list[_File]) -> None:
    """Take out files without outlines (of key points, of boxes) where others have some; DataError where none has."""
    bare = [
        file
        for file in files
        if file.by_image and not any(each.get("segmentation") for many in file.by_image.values() for each in many)
    ]
    if len(bare) == len(files):
        raise DataError(
            f"{bare[0].path}: its annotations have no segmentation, only boxes or points; masks need outlines: "
            "export polygons or run lengths"
        )
    for file in bare:
        files.remove(file)


def _settle_splits(files: list[_File], root: Path) -> None:
    """The split of each file, by its name, or that of its folder; all is for training where the root is the file."""
    if is_file(root):
        return
    for file in list(files):
        stem = file.path.stem.casefold()
        file.split = split_of(stem) or (split_of(file.path.parent.name) if file.path.parent != root else None)
        if "trainval" in stem and any(split_of(other.path.stem) == "train" for other in files if other is not file):
            files.remove(file)
        elif "trainval" in stem:
            file.split = "train"


def _categories(files: Sequence[_File]) -> dict[int, str]:
    """Category id → name, by id, over all files; the one that Roboflow writes as a heading of the others is none."""
    found: dict[int, tuple[str, object]] = {}
    used = {
        each.get("category_id") for file in files for many in file.by_image.values() for each in many if _plain(each)
    }
    for file in files:
        for number, (name, above) in file.categories.items():
            known = found.setdefault(number, (name, above))[0]
            if known != name:
                raise DataError(
                    f"{file.path}: category {number} is {name}, but {known} in {files[0].path}; export both alike"
                )
    heads = {above for number, (_, above) in found.items() if number != 0 and isinstance(above, str)}
    if 0 in found and 0 not in used and found[0][0] in heads:
        del found[0]
    if not found:
        raise DataError(f"{files[0].path}: has no categories; export it with its classes")
    return {number: name for number, (name, _) in sorted(found.items())}


def _plain(annotation: Mapping[str, Any]) -> bool:
    return is_whole(annotation.get("category_id"))


def _records(
    file: _File, images: ImageIndex, labels: Mapping[int, int], taken: dict[Any, str]
) -> tuple[list[Record], list[DataIssue]]:
    """The records of a file; `taken` has what has listed each image so far."""
    records, problems, missing = [], list[DataIssue](), list[DataIssue]()
    near = str(file.path.parent.relative_to(images.root)) if file.path.parent.is_relative_to(images.root) else ""
    seen: set[int | str] = set()
    for at, item in enumerate(file.images):
        number, name = item.get("id"), item.get("file_name")
        if not (is_whole(number) or is_text(number)) or not is_text(name):
            raise DataError(f"{file.path}: image {at} (from 0) must have an id and a file_name; export it again")
        assert isinstance(number, int | str) and isinstance(name, str)
        if number in seen:
            raise DataError(f"{file.path}: two images have the id {number}; give each its own")
        seen.add(number)
        entry = f"{file.path}, image {number}"
        image = images.find(name, near, file.split, entry)
        if image is None:
            what = f"no such image here: {name}; add it, or take out its entry"
            missing.append(DataIssue("missing image", entry, what))
        elif image in taken:
            what = f"{name} is listed twice, also as {taken[image]}; keep one entry"
            problems.append(DataIssue("image listed twice", entry, what))
        else:
            taken[image] = entry
            try:
                shapes = _shapes(item, file.by_image.get(number, ()), labels)
            except AnnotationError as error:
                problems.append(DataIssue("bad outline", entry, f"{image}: {error}"))
            else:
                records.append(Record(images.path(image), PolygonMask(shapes, entry)))
    if missing and len(missing) == len(file.images) and file.split not in (None, "train"):
        what = f"none of its {len(missing)} images is here; that split is left out"
        return [], [DataIssue("list without images", str(file.path), what, severity="warning")]
    lost = len(file.by_image.keys() - seen)
    if lost:
        what = f"has annotations of {lost} image{'s' * (lost > 1)} that it does not list; left out"
        problems.append(DataIssue("annotation without image", str(file.path), what, severity="warning"))
    return records, missing + problems


def _shapes(
    image: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]], labels: Mapping[int, int]
) -> tuple[Annotation, ...]:
    """What is drawn: crowds, then the others from the largest to the smallest. Raises AnnotationError."""
    height, width = image.get("height"), image.get("width")
    size = None
    if height is not None or width is not None:
        if not (is_whole(height) and is_whole(width) and 0 < height * width <= MAX_PIXELS):  # type: ignore[operator]
            raise AnnotationError("its height and width must be whole numbers, of an image that can be; mend them")
        assert isinstance(height, int) and isinstance(width, int)
        size = (height, width)
    drawn = []
    for at, each in enumerate(annotations):
        number = each.get("id", at)
        try:
            crowd = each.get("iscrowd") in (1, True)
            kind = each.get("category_id")
            if not isinstance(kind, int) or kind not in labels:
                raise AnnotationError("its category_id is none of the categories")
            area, polygons, rle = outline(each.get("segmentation"), size)
            shape = Annotation(IGNORE_INDEX if crowd else labels[kind], polygons, rle)
            drawn.append((not crowd, -area, number if is_whole(number) else at, at, shape))
        except AnnotationError as error:
            raise AnnotationError(f"annotation {printable_prefix(str(number))}: {error}; mend or remove it") from None
    first = (empty_rle(*size),) if size else ()
    return first + tuple(shape for *_, shape in sorted(drawn, key=lambda item: item[:-1]))


def outline(
    segmentation: object, size: tuple[int, int] | None
) -> tuple[float, tuple[np.ndarray, ...], dict[str, Any] | None]:
    """The area, the polygons and the run lengths of a segmentation; AnnotationError says what is wrong with it."""
    if isinstance(segmentation, dict):
        area, rle = check_run_lengths(segmentation, size)
        return area, (), rle
    if not isinstance(segmentation, list) or not segmentation:
        raise AnnotationError("has no outline (an empty segmentation), only a box")
    polygons = [to_points(each) for each in segmentation]
    # What tools leave of a slip of the hand: two points enclose nothing.
    polygons = [each for each in polygons if len(each) >= 3]
    if not polygons:
        raise AnnotationError("an outline of fewer than 3 points encloses nothing")
    return sum(map(area_of, polygons)), tuple(polygons), None
