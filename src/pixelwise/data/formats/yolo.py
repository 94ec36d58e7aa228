"""YOLO's text files of outlines, one an image, and the data.yaml that names the classes, as Ultralytics reads them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pixelwise.data.formats._annotations import (
    AnnotationError,
    ImageIndex,
    area_of,
    assign_class_ids,
    is_file,
    is_text,
    is_whole,
    polygon_result,
    printable_prefix,
    split_of,
    to_points,
    unlisted_images_issue,
)
from pixelwise.data.formats._filesystem import ImageFile, Listing, is_folder, list_files, read_lines, read_text
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PolygonMask, Record, Split
from pixelwise.errors import DataError, without_name

SLACK = 1e-3
"""How far outside the image, in shares of it, a point may lie: tools round."""


_YAML = (".yaml", ".yml")


_KEYS: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


_BOX = 4


def read_yolo(root: Path) -> FormatResult | None:
    """YOLO segmentation: data.yaml, images/ and labels/, whose lines are a class and x, y, x, y … in shares.

    Splits are what data.yaml says (folders, or lists of images), else folders (images/train, or train/images). An image
    without a text file is all background. Class 0 is "background", then the names in order; the smaller of two things
    that overlap is on top. https://docs.ultralytics.com/datasets/segment/
    """
    settings = _find_settings(root)
    if settings is None:
        return None
    base = settings.base
    listing = list_files(base)
    images = ImageIndex(base, listing)
    by_split, problems = _split(settings, images, listing)
    where = {image: _label_file(image) for many in by_split.values() for image in many}
    texts = {folder: set(names) for folder, names in listing.items()}
    labeled = {image: label for image, label in where.items() if label[1] in texts.get(label[0], ())}
    if not labeled:
        return None
    classes, index_of = assign_class_ids(settings.names.values())
    labels = {number: index_of[name] for number, name in settings.names.items()}
    records, wrong = _records(base, by_split, labeled, labels)
    problems += wrong + _lone_labels(base, listing, set(labeled.values()))
    problems += unlisted_images_issue(images, set(where), settings.path)
    return polygon_result(records, classes, problems)


@dataclass
class _Settings:
    """What data.yaml, or classes.txt, says; `base` is the folder that its paths start from."""

    path: Path
    base: Path
    names: dict[int, str]
    places: dict[Split, list[str]] = field(default_factory=dict)


def _find_settings(root: Path) -> _Settings | None:
    if is_file(root):
        return _read_settings(root, alone=True) if root.suffix.lower() in _YAML else None
    if not is_folder(root):
        return None
    listing = list_files(root)
    # Other data have files of these names, too.
    labels = [name for folder, names in listing.items() if "labels" in folder.split("/") for name in names]
    if not any(name.endswith(".txt") for name in labels):
        return None
    found = [root / name for name in listing[""] if name.lower().endswith(_YAML)]
    found.sort(key=lambda path: (path.stem.lower() not in ("data", "dataset"), path.name))
    for path in found:
        settings = _read_settings(path)
        if settings is not None:
            return settings
    folders = {folder.casefold() for folder in listing}
    for folder in ("", "labels"):
        if "classes.txt" in listing.get(folder, ()) and {"images", "labels"} <= folders:
            names = read_lines(root / folder / "classes.txt")
            return _Settings(root / folder / "classes.txt", root, dict(enumerate(names)))
    return None


def _read_settings(path: Path, alone: bool = False) -> _Settings | None:
    """What a YAML file says; None where it is about something else. `alone`: whether DATA is this file."""
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = " ".join(str(error).split())[:200]
        if path.stem.lower() in ("data", "dataset"):
            raise DataError(f"{path}: is no YAML ({first}); mend it") from None
        return None
    if not isinstance(content, dict) or not {"names", "nc"} & set(content):
        return None
    places: dict[Split, list[str]] = {}
    for split, keys in _KEYS.items():
        value: Any = next((content[key] for key in keys if content.get(key)), [])
        values = value if isinstance(value, list) else [value]
        if not all(map(is_text, values)):
            raise DataError(f'{path}: "{split}" must be a folder, a list of folders, or a .txt file; mend it')
        if values:
            places[split] = values
    base = path.parent
    if is_text(content.get("path")):
        other = base / content["path"]
        # Where a folder was asked for, nothing outside it is read.
        if is_folder(other) and (alone or other.resolve().is_relative_to(base.resolve())):
            base = other
    return _Settings(path, base, _read_names(path, content), places)


def _read_names(path: Path, content: Mapping[Any, Any]) -> dict[int, str]:
    names, count = content.get("names"), content.get("nc")
    if count is not None and not (is_whole(count) and count < 1 << 16):
        raise DataError(f"{path}: nc must be the number of classes; mend it")
    if names is None:
        names = [f"class {number}" for number in range(count or 0)]
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{path}: names must be a list of names, or number: name for each class; mend it")
    found = {}
    for number, name in names.items():
        name = str(name) if is_whole(name) else name
        if not is_whole(number) or not is_text(name):
            raise DataError(
                f"{path}: the name of class {number} must be text (put yes, no, on, off and null in quotes); mend it"
            )
        found[number] = name.strip()
    if count is not None and count != len(found):
        raise DataError(f"{path}: nc is {count}, but there are {len(found)} names; mend the one that is wrong")
    return dict(sorted(found.items()))


def _split(
    settings: _Settings, images: ImageIndex, listing: Listing
) -> tuple[dict[Split, list[ImageFile]], list[DataIssue]]:
    """The images of each split; one that several splits name is in the first of them."""
    by_split: dict[Split, list[ImageFile]] = {split: [] for split in SPLITS}
    everything = [image for many in images.by_name.values() for image in many]
    if "train" not in settings.places:
        for image in everything:
            if "images" in image.folder.casefold().split("/"):
                by_split[split_of(image.folder) or "train"].append(image)
        return by_split, []
    problems: list[DataIssue] = []
    taken: set[ImageFile] = set()
    for split, places in settings.places.items():
        found: dict[ImageFile, None] = {}
        for place in places:
            named = _lookup(place, listing)
            if named is None:
                what = f"no such folder or list: {place}"
                if split == "train":
                    raise DataError(f"{settings.path}: {what}; mend its train, or add it")
                problems.append(DataIssue("missing split", str(settings.path), f"{what}; left out", severity="warning"))
            elif named.endswith(".txt"):
                more, wrong = _read_list(images, named)
                found |= dict.fromkeys(more)
                problems += wrong
            else:
                below = f"{named}/" if named else ""
                found |= {each: None for each in everything if each.folder == named or each.folder.startswith(below)}
        twice = len(taken & found.keys())
        if twice:
            what = f"{twice} image{'s' * (twice > 1)} of {split} stand in a split before it, and are left there"
            problems.append(DataIssue("image in two splits", str(settings.path), what, severity="warning"))
        by_split[split] = [image for image in found if image not in taken]
        taken |= found.keys()
    return by_split, problems


def _lookup(place: str, listing: Listing) -> str | None:
    """The folder or .txt file that a path means, on whatever machine it was written: the longest end that is here."""
    parts = [part for part in re.split(r"[\\/]+", place) if part not in ("", ".", "..")]
    for at in range(len(parts) + 1):
        name = "/".join(parts[at:])
        folder, _, file = name.rpartition("/")
        if file.lower().endswith(".txt") and file in listing.get(folder, ()):
            return name
        if name in listing and (name or not parts):
            return name
    return None


def _read_list(images: ImageIndex, name: str) -> tuple[list[ImageFile], list[DataIssue]]:
    path = images.root / name
    found, problems = [], []
    for line in read_lines(path):
        image = images.find(line, name.rpartition("/")[0], where=path)
        if image is None:
            what = f"no such image here: {printable_prefix(line)}; add it, or take out the line"
            problems.append(DataIssue("missing image", str(path), what))
        else:
            found.append(image)
    return found, problems


def _label_file(image: ImageFile) -> tuple[str, str]:
    """The folder and name of the text file of an image: the last "images" in its path is "labels"."""
    parts = image.folder.split("/")
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return "/".join(parts), f"{image.stem}.txt"


def _lone_labels(base: Path, listing: Listing, used: set[tuple[str, str]]) -> list[DataIssue]:
    what = "outlines whose image is missing; add the image under the same name, or move this file away"
    folders = {folder for folder, _ in used}
    return [
        DataIssue("missing image", str(base / folder / name), what)
        for folder in sorted(folders)
        for name in listing[folder]
        if name.endswith(".txt") and (folder, name) not in used and name != "classes.txt" and "labels" in folder
    ]


def _records(
    base: Path,
    by_split: Mapping[Split, Sequence[ImageFile]],
    labeled: Mapping[ImageFile, tuple[str, str]],
    labels: Mapping[int, int],
) -> tuple[dict[Split, list[Record]], list[DataIssue]]:
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    problems: list[DataIssue] = []
    taken: dict[tuple[str, str], ImageFile] = {}
    boxes = drawn = 0
    for split, images in by_split.items():
        for image in images:
            path_of_image = base / image.folder / image.name
            if image not in labeled:
                records[split].append(Record(path_of_image, PolygonMask((), f"no outlines of {path_of_image}")))
                continue
            folder, name = labeled[image]
            path = base / folder / name
            other = taken.setdefault((folder, name), image)
            try:
                if other != image:
                    raise AnnotationError(f"may be of {other} or {image}; give each image a name of its own")
                shapes, of_boxes = _read_shapes(read_text(path), labels)
                drawn, boxes = drawn + len(shapes), boxes + of_boxes
                if of_boxes:
                    raise AnnotationError("holds boxes (5 numbers a line); masks need outlines")
                records[split].append(Record(path_of_image, PolygonMask(shapes, str(path))))
            except (AnnotationError, DataError) as error:
                problems.append(DataIssue("bad outline", str(path), without_name(error, path)))
    if boxes and not drawn:
        raise DataError(f"{problems[0].file}: these are boxes, no masks: label outlines, and export as segmentation")
    return records, problems


def _read_shapes(text: str, labels: Mapping[int, int]) -> tuple[tuple[Annotation, ...], int]:
    """The things of a text file from the largest to the smallest, and how many boxes are among its lines."""
    found, boxes = [], 0
    for at, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise AnnotationError(f"line {at}: holds something else than numbers; mend it") from None
        if values[0] not in labels:
            raise AnnotationError(
                f"line {at}: {printable_prefix(words[0])} is no class number ({min(labels)} to {max(labels)}); fix it"
            )
        if len(values) == 1 + _BOX:
            boxes += 1
            continue
        try:
            points = to_points(values[1:], 1 + SLACK)
        except AnnotationError as error:
            raise AnnotationError(f"line {at}: {error}; mend it") from None
        if len(points) < 3:
            raise AnnotationError(f"line {at}: an outline of fewer than 3 points encloses nothing; mend it")
        if points.min() < -SLACK:
            raise AnnotationError(
                f"line {at}: a point is outside the image; points are shares of it, in 0 to 1; mend it"
            )
        found.append((-area_of(points), at, Annotation(labels[int(values[0])], (points,), relative=True)))
    return tuple(shape for *_, shape in sorted(found, key=lambda item: item[:2])), boxes
