"""COCO panoptic: PNG files whose colors are segment ids, and JSON files with the category of each segment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.data.formats._annotations import assign_class_ids, polygon_result
from pixelwise.data.formats._coco_files import check_image, find_json_files, image_root, read_categories
from pixelwise.data.formats._filesystem import ImageFile, Listing, filter_files, is_file, list_files
from pixelwise.data.formats._folder_names import parse_folder_name, split_of
from pixelwise.data.formats._image_index import ImageIndex, unlisted_images_issue
from pixelwise.data.formats._json import is_index, is_name, quote, read_json
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, PolygonMask, Record, Split, ValueImage
from pixelwise.errors import AnnotationError, DataError
from pixelwise.palette import IGNORE_INDEX

_MAX_ID = 1 << 24


@dataclass(frozen=True)
class _File:
    """The content of one JSON file.

    Attributes:
        path: the file.
        images: image id → file name.
        annotations: the section "annotations": one entry per mask.
        categories: category id → (name, supercategory).
        has_stuff: True if a category is stuff, such as sky. Other categories are things, such as cars.
        split: the split in the name of the file or its folder, or None.
    """

    path: Path
    images: dict[int | str, str]
    annotations: list[dict[str, Any]]
    categories: dict[int, tuple[str, object]]
    has_stuff: bool
    split: Split | None


def read_coco_panoptic(root: Path) -> FormatResult | None:
    """Read COCO panoptic: panoptic_train2017.json and panoptic_train2017/*.png, in the root or in annotations/.

    Each category becomes a class. Its segments belong to the class with or without "iscrowd". Pixels without a segment
    (value 0) are ignored if some categories are stuff, because then every pixel should have a segment. Otherwise they
    are background. https://cocodataset.org/#format-data

    Args:
        root: the folder of the data set, or its JSON file.

    Returns:
        The records, or None if there is no panoptic JSON file.

    Raises:
        DataError: A JSON file is damaged, the files contradict each other, or the PNG files are missing.
    """
    files = [file for path in find_json_files(root, "panoptic") if (file := _read_file(path, root)) is not None]
    if not files:
        return None
    names = _merge_categories(files)
    has_stuff = any(file.has_stuff for file in files)
    classes, index_of = assign_class_ids(names.values(), has_background=not has_stuff)
    labels = {category: index_of[name] for category, name in names.items()}
    base = image_root(root)
    listing = list_files(base, depth=4)
    mask_folders = _mask_folders(files, listing)
    images = ImageIndex(base, filter_files(listing, lambda folder, _: folder not in mask_folders))
    masks = ImageIndex(base, filter_files(listing, lambda folder, _: folder in mask_folders))
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    issues = [DataIssue("pixels without a segment", str(files[0].path), _void_message(has_stuff), "warning")]
    listed: set[ImageFile] = set()
    for file in files:
        void = (0, IGNORE_INDEX if has_stuff else 0)
        new_records, new_issues = _read_records(file, images, masks, labels, void, listed)
        records[file.split or "train"] += new_records
        issues += new_issues
    issues += unlisted_images_issue(images, listed, files[0].path)
    return polygon_result(records, classes, issues)


def _void_message(has_stuff: bool) -> str:
    """Return the message about the meaning of pixels without a segment."""
    if has_stuff:
        return "pixels without a segment are ignored: some categories are stuff, so every pixel was to be labeled"
    return "pixels without a segment are background, because all categories are things; `unlabeled` can ignore them"


def _read_file(path: Path, root: Path) -> _File | None:
    """Read a JSON file. Return None if it is not panoptic."""
    content = read_json(path)
    sections = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(section), list) and all(isinstance(item, dict) for item in content[section])
        for section in sections
    ):
        return None
    if not any("segments_info" in item for item in content["annotations"]):
        return None
    images: dict[int | str, str] = {}
    for index, item in enumerate(content["images"]):
        number, name = check_image(path, index, item)
        if number in images:
            raise DataError(f"{path}: two images have the id {number}; give each its own")
        images[number] = name
    has_stuff = any(item.get("isthing") == 0 for item in content["categories"])
    split = None
    if not is_file(root):
        split = split_of(path.stem.casefold()) or (split_of(path.parent.name) if path.parent != root else None)
    categories = read_categories(path, content["categories"])
    return _File(path, images, content["annotations"], categories, has_stuff, split)


def _merge_categories(files: Sequence[_File]) -> dict[int, str]:
    """Return category id → name of all files, sorted by id. Raise DataError if files give an id different names."""
    names: dict[int, str] = {}
    for file in files:
        for number, (name, _) in file.categories.items():
            if names.setdefault(number, name) != name:
                raise DataError(
                    f"{file.path}: category {number} is {name}, but {names[number]} in another file; export both alike"
                )
    return dict(sorted(names.items()))


def _mask_folders(files: Sequence[_File], listing: Listing) -> set[str]:
    """Return the folders that contain PNG files of the annotations.

    Images can have the same file names as masks. So folders with a name for panoptic masks come first, then folders
    with another name for masks. Any other folder is used only if there are none of these.

    Raises:
        DataError: No folder contains such a file.
    """
    names = {str(item.get("file_name")).replace("\\", "/").rpartition("/")[2] for f in files for item in f.annotations}
    counts = Counter({folder: len(names.intersection(here)) for folder, here in listing.items()})
    folders = [folder for folder, count in counts.items() if count]
    stems = {file.path.stem.casefold() for file in files}
    for is_for_masks in (
        lambda folder: folder.rpartition("/")[2].casefold() in stems or "panoptic" in folder.casefold(),
        lambda folder: parse_folder_name(folder.rpartition("/")[2])[1] == "masks",
        lambda folder: True,
    ):
        found = {folder for folder in folders if is_for_masks(folder)}
        if found:
            return found
    path = files[0].path
    raise DataError(f"{path}: none of its PNG files is here; unpack {path.stem}.zip next to it")


def _read_records(
    file: _File,
    images: ImageIndex,
    masks: ImageIndex,
    labels: Mapping[int, int],
    void: tuple[int, int],
    listed: set[ImageFile],
) -> tuple[list[Record], list[DataIssue]]:
    """Return the records and issues of a JSON file. Add its images to `listed`."""
    records, issues, missing = list[Record](), list[DataIssue](), list[DataIssue]()
    folder = str(file.path.parent.relative_to(images.root)) if file.path.parent.is_relative_to(images.root) else ""
    annotated = {item.get("image_id"): item for item in file.annotations if isinstance(item.get("image_id"), int | str)}
    for number, name in file.images.items():
        entry = f"{file.path}, image {number}"
        image = images.find(name, folder, file.split, source=entry)
        if image is None:
            missing.append(
                DataIssue("missing image", entry, f"no such image here: {name}; add it, or remove its entry")
            )
            continue
        if image in listed:
            issues.append(DataIssue("image listed twice", entry, f"{name} is listed twice; keep one entry"))
            continue
        listed.add(image)
        try:
            mask = _read_mask(annotated.get(number), file, masks, labels, void)
        except AnnotationError as error:
            issues.append(DataIssue("bad outline", entry, f"{image}: {error}"))
        else:
            records.append(Record(images.path(image), mask))
    if missing and len(missing) == len(file.images) and file.split not in (None, "train"):
        message = f"none of its {len(missing)} images is here; that split is left out"
        return [], [DataIssue("list without images", str(file.path), message, severity="warning")]
    return records, missing + issues


def _read_mask(
    annotation: Mapping[str, Any] | None,
    file: _File,
    masks: ImageIndex,
    labels: Mapping[int, int],
    void: tuple[int, int],
) -> PolygonMask:
    """Return the mask of an image. Raise AnnotationError if the mask or its annotation is missing or damaged."""
    if annotation is None:
        raise AnnotationError("has no annotation; add one, or remove the image from the list")
    name, segments = annotation.get("file_name"), annotation.get("segments_info")
    found = isinstance(name, str) and is_name(name)
    mask = masks.find(str(name), file.path.stem, file.split, source=file.path) if found else None
    if mask is None:
        raise AnnotationError(f"its mask {quote(name)} is not here; add it")
    class_ids = [void]
    for item in segments if isinstance(segments, list) else []:
        number, category = (item.get("id"), item.get("category_id")) if isinstance(item, dict) else (None, None)
        if not (isinstance(number, int) and 0 < number < _MAX_ID):
            raise AnnotationError("a segment must have an id from 1 to 16777215; export it again")
        if not (isinstance(category, int) and is_index(category) and category in labels):
            raise AnnotationError(f"the category_id of segment {number} is not one of the categories; fix it")
        red, green, blue = number & 255, number >> 8 & 255, number >> 16
        class_ids.append((red << 16 | green << 8 | blue, labels[category]))
    path = masks.path(mask)
    return PolygonMask((), str(path), void[1], ValueImage(path, "rgb", tuple(class_ids)))
