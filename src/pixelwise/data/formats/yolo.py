"""The YOLO segmentation format of Ultralytics: one text file of polygons per image, and class names in data.yaml."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pixelwise.data.formats._annotations import LeftOut, assign_class_ids, polygon_result, require_pycocotools
from pixelwise.data.formats._filesystem import (
    ImageFile,
    Listing,
    abbreviate,
    list_files,
    read_lines,
    read_text,
)
from pixelwise.data.formats._folder_names import split_of
from pixelwise.data.formats._geometry import polygon_area, to_points
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._json import quote
from pixelwise.data.formats._yolo_labels import BOX_VALUES, TOLERANCE, find_label_files
from pixelwise.data.formats._yolo_settings import YoloSettings, find_settings
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError, without_name


def read_yolo(root: Path, options: LabelOptions | None = None) -> FormatResult | None:
    """Read a data set in the YOLO segmentation format: data.yaml, images/ and labels/.

    A line of a label file has a class number and the coordinates x, y, x, y, … of a polygon. Coordinates are fractions
    of the image's width and height. Smaller objects are drawn over larger ones. An image without a label file is all
    background.

    Splits come from data.yaml (folders, or lists of images), or else from folder names (images/train, or train/images).
    Class 0 is "background", and the names of the data set follow in order. If no file contains the class names, they
    are made up from the class numbers ("class 0", "class 1", …).
    https://docs.ultralytics.com/datasets/segment/

    Args:
        root: the folder of the data set, or its YAML file.
        options: the user's options. Only `allow_outside` is used.

    Returns:
        The records, classes and issues. None if the data set is not in this format or no image has a label file.

    Raises:
        DataError: data.yaml is damaged or names a folder outside its own without `allow_outside`, its training images
            are missing, or all labels are bounding boxes.
    """
    settings = find_settings(root, options is not None and options.allow_outside)
    if settings is None:
        return None
    listing = list_files(settings.base)
    images = ImageIndex(settings.base, listing)
    by_split, issues = _split_images(settings, images, listing)
    used = {image for in_split in by_split.values() for image in in_split}
    present = {image: file for image, file in find_label_files(listing).items() if image in used}
    if not present:
        return None
    require_pycocotools(settings.path)
    classes, index_of = assign_class_ids(settings.names.values())
    labels = {number: index_of[name] for number, name in settings.names.items()}
    records, new_issues = _read_records(settings.base, by_split, present, labels)
    issues += new_issues + _unmatched_labels(settings.base, listing, set(present.values()))
    issues += unlisted_images_issue(images, used, settings.path)
    if not settings.has_names:
        issues.append(_names_issue(settings))
    return polygon_result(records, classes, issues)


def _names_issue(settings: YoloSettings) -> DataIssue:
    first = next(iter(settings.names.values()))
    message = (
        f"no data.yaml names the classes, so they have their numbers as names ({abbreviate(settings.names.values())}); "
        f"add a data.yaml with the names, or rename a class with `label_map`, for example {first}=cat"
    )
    return DataIssue("no class names", str(settings.path), message, severity="warning")


def _split_images(
    settings: YoloSettings, images: ImageIndex, listing: Listing
) -> tuple[dict[Split, list[ImageFile]], list[DataIssue]]:
    """Return the images of each split, and issues. An image in several splits stays in the first one."""
    by_split: dict[Split, list[ImageFile]] = {split: [] for split in SPLITS}
    if "train" not in settings.folders:
        in_images = [image for image in images if "images" in image.folder.casefold().split("/")]
        for image in in_images or images:
            by_split[split_of(image.folder) or "train"].append(image)
        return by_split, []
    issues: list[DataIssue] = []
    assigned: set[ImageFile] = set()
    for split in SPLITS:
        in_split: dict[ImageFile, None] = {}
        for path in settings.folders.get(split, ()):
            match = _find_path(path, listing)
            if match is None:
                message = f"no such folder or list: {path}; left out"
                issues.append(DataIssue("missing split", str(settings.path), message, severity="warning"))
            elif match.endswith(".txt"):
                listed, new_issues = _read_list(images, match)
                in_split |= dict.fromkeys(listed)
                issues += new_issues
            else:
                prefix = f"{match}/" if match else ""
                in_split |= {i: None for i in images if i.folder == match or i.folder.startswith(prefix)}
        count = len(assigned & in_split.keys())
        if count:
            message = f"{count} image{'s' * (count > 1)} of {split} also in an earlier split; used only there"
            issues.append(DataIssue("image in two splits", str(settings.path), message, severity="warning"))
        by_split[split] = [image for image in in_split if image not in assigned]
        assigned |= in_split.keys()
    missing = [path for path in settings.folders["train"] if _find_path(path, listing) is None]
    if not assigned and missing:
        raise DataError(f"{settings.path}: no such folder or list: {missing[0]}; fix its train, or add it")
    return by_split, issues


def _find_path(path: str, listing: Listing) -> str | None:
    """Return the folder or .txt file of the listing that matches the longest end of a path. None if nothing matches.

    The path can come from another computer, so its beginning can differ and its separators can be backslashes.
    """
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..")]
    for start in range(len(parts) + 1):
        name = "/".join(parts[start:])
        folder, _, file = name.rpartition("/")
        if file.lower().endswith(".txt") and file in listing.get(folder, ()):
            return name
        if name in listing and (name or not parts):
            return name
    return None


def _read_list(images: ImageIndex, name: str) -> tuple[list[ImageFile], list[DataIssue]]:
    path = images.root / name
    listed, issues = [], []
    for line in read_lines(path):
        image = images.find(line, name.rpartition("/")[0], source=path)
        if image is None:
            message = f"no such image here: {quote(line)}; add it, or remove the line"
            issues.append(DataIssue("missing image", str(path), message))
        else:
            listed.append(image)
    return listed, issues


def _unmatched_labels(base: Path, listing: Listing, used: set[tuple[str, str]]) -> list[DataIssue]:
    """Return an issue for each label file without an image."""
    message = "label file without an image; add an image of the same name, or move this file away"
    folders = {folder for folder, _ in used}
    return [
        DataIssue("missing image", str(base / folder / name), message)
        for folder in sorted(folders)
        for name in listing[folder]
        if name.endswith(".txt") and (folder, name) not in used and name != "classes.txt" and "labels" in folder
    ]


def _read_records(
    base: Path,
    by_split: Mapping[Split, Sequence[ImageFile]],
    label_files: Mapping[ImageFile, tuple[str, str]],
    labels: Mapping[int, int],
) -> tuple[dict[Split, list[Record]], list[DataIssue]]:
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    issues: list[DataIssue] = []
    image_of: dict[tuple[str, str], ImageFile] = {}
    box_count = polygon_count = 0
    left_out = LeftOut()
    for split, images in by_split.items():
        for image in images:
            image_path = base / image.folder / image.name
            if image not in label_files:
                records[split].append(Record(image_path, PolygonMask((), f"no label file of {image_path}")))
                continue
            folder, name = label_files[image]
            path = base / folder / name
            other = image_of.setdefault((folder, name), image)
            try:
                if other != image:
                    raise AnnotationError(f"may be of {other} or {image}; give images different names")
                annotations, boxes = _read_annotations(read_text(path), labels)
                polygon_count, box_count = polygon_count + len(annotations), box_count + boxes
                if boxes and not annotations:
                    raise AnnotationError("has only boxes (5 numbers per line); masks need polygons")
                if boxes:
                    left_out.add("box", "masks need polygons", str(path), boxes)
                records[split].append(Record(image_path, PolygonMask(annotations, str(path))))
            except DataError as error:
                issues.append(DataIssue("bad outline", str(path), without_name(error, path)))
    if box_count and not polygon_count:
        raise DataError(
            f"{issues[0].file}: the labels are boxes, not masks; draw polygons, and export them as segmentation"
        )
    return records, issues + left_out.issues()


def _read_annotations(text: str, labels: Mapping[int, int]) -> tuple[tuple[Annotation, ...], int]:
    """Parse the text of a label file. Raise AnnotationError if a line is not valid.

    Returns:
        The polygon annotations from the largest to the smallest, and the number of bounding boxes.
    """
    annotations, box_count = [], 0
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise AnnotationError(f"line {number}: has something other than numbers; fix it") from None
        if values[0] not in labels:
            class_range = f"{min(labels)} to {max(labels)}"
            raise AnnotationError(f"line {number}: {quote(words[0])} is not a class number ({class_range}); fix it")
        if len(values) == 1 + BOX_VALUES:
            box_count += 1
            continue
        try:
            points = to_points(values[1:], 1 + TOLERANCE)
        except AnnotationError as error:
            raise AnnotationError(f"line {number}: {error}; fix it") from None
        if len(points) < 3:
            raise AnnotationError(f"line {number}: a polygon of fewer than 3 points encloses nothing; fix it")
        if points.min() < -TOLERANCE:
            raise AnnotationError(f"line {number}: a point is outside the image; coordinates must be in 0..1; fix it")
        annotation = Annotation(labels[int(values[0])], (points,), relative=True)
        annotations.append((-polygon_area(points), number, annotation))
    return tuple(annotation for *_, annotation in sorted(annotations, key=lambda item: item[:2])), box_count
