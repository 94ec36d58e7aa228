"""Images and masks in folders with names such as images/ and masks/, or side by side in one folder."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pixelwise.data.formats._class_files import read_class_names
from pixelwise.data.formats._filesystem import ImageFile, Listing, abbreviate, is_folder, list_files, list_images
from pixelwise.data.formats._folder_names import (
    FolderRole,
    folder_roles,
    has_mask_word,
    parse_folder_name,
    strip_split,
)
from pixelwise.data.formats._pairing import Pairs, match_masks
from pixelwise.data.formats._splits import find_lists, read_list
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, LabelMap, MultilabelMask, Record, Split
from pixelwise.errors import DataError
from pixelwise.palette import Color


def read_folders(root: Path) -> FormatResult | None:
    """Read images and masks in two folders (images/ masks/, train/ trainannot/) or side by side (1.jpg, 1_mask.png).

    Splits come from folder names (train, val, test …) anywhere in the paths, or from lists (train.txt …). Class names
    come from a class file (see `CLASS_FILES`), and the label map from the mask values. If subfolders of the mask folder
    have one mask each for the same images, the data is multi-label and the subfolders are its classes.

    Raises:
        DataError: Two folders or two files match the same images.
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    files = find_pairs(root, listing)
    if files is None:
        return None
    result = files.to_result()
    return result if result.classes else replace(result, **vars(read_class_names(root, listing)))


def find_pairs(root: Path, listing: Listing) -> "PairedFiles | None":
    """Match the images and masks of a listing.

    Args:
        root: the root of the listing.
        listing: the files of the data set.

    Returns:
        The matched files. None if there are no masks.

    Raises:
        DataError: There are folders of images and of masks without a common name, or the match is ambiguous (see
            `match_masks`).
    """
    files = list(list_images(listing))
    roles = folder_roles({file.folder for file in files})
    masks = [file for file in files if roles[file.folder].role == "masks"]
    images = [file for file in files if roles[file.folder].role == "images"]
    strict = bool(images)
    if masks:
        images = images or [file for file in files if roles[file.folder].role is None]
        pairs = match_masks(images, masks, roles)
        if pairs.masks or pairs.by_class:
            _check_single_data_set(root, masks, roles)
            return PairedFiles(root, listing, images, pairs, roles, strict)
    mask_files = [file for file in files if has_mask_word(file.stem)]
    if mask_files:
        others = [file for file in files if not has_mask_word(file.stem)]
        pairs = match_masks(others, mask_files, {folder: _side_by_side(folder, role) for folder, role in roles.items()})
        if pairs.masks:
            return PairedFiles(root, listing, others, pairs, roles, False)
    if strict and masks:
        raise DataError(
            f"{root}: no image has a mask of the same name: images are {abbreviate(images, 2)}, and masks "
            f"{abbreviate(masks, 2)}; give an image and its mask the same name"
        )
    return None


def _check_single_data_set(root: Path, masks: Sequence[ImageFile], roles: Mapping[str, FolderRole]) -> None:
    """Refuse data sets of different layouts in one folder, for example a/images, a/masks and b/train, b/trainannot."""
    mask_folders: dict[str, set[str]] = defaultdict(set)
    for base in {roles[mask.folder].base for mask in masks}:
        parent, _, name = base.rpartition("/")
        top = parent.split("/")[0]
        mask_folders["" if parse_folder_name(top) != (None, None) else top].add(strip_split(name))
    if len(mask_folders) > 1 and len({frozenset(names) for names in mask_folders.values()}) > 1:
        raise DataError(f"{root}: has several data sets ({abbreviate(sorted(mask_folders))}); use one of the folders")


def _side_by_side(folder: str, role: FolderRole) -> FolderRole:
    """Return the role of a folder in which each mask is next to its image."""
    return replace(role, base=folder, rest=(folder,))


@dataclass(frozen=True)
class PairedFiles:
    """Matched image and mask files.

    Attributes:
        root: the root of the listing.
        listing: all files of the data set.
        images: the images, with and without masks.
        pairs: the images with their masks.
        roles: folder → its role.
        strict: True if the images are in folders with names for images. Otherwise an image without a mask can be
            unrelated to the data set.
    """

    root: Path
    listing: Listing
    images: Sequence[ImageFile]
    pairs: Pairs
    roles: Mapping[str, FolderRole]
    strict: bool

    def to_result(self) -> FormatResult:
        """Return the records of each split. They have no class names, except for multi-label data."""
        classes = tuple(sorted({name for masks in self.pairs.by_class.values() for name in masks}))
        splits = {image: self._split_of(image) for image in self.images}
        lists = {} if any(splits.values()) else find_lists(self.root, self.listing)
        if lists:
            by_split, issues = self._split_by_lists(lists)
        else:
            by_split = {split: [] for split in SPLITS}
            for image, split in splits.items():
                by_split[split or "train"].append(image)
            issues = self._unmatched_masks()
        groups: Iterable[Sequence[ImageFile]]
        if self.strict or lists:
            groups = by_split.values()
        else:
            by_folder: dict[str, list[ImageFile]] = defaultdict(list)
            for image in self.images:
                by_folder[image.folder].append(image)
            groups = by_folder.values()
        for images in groups:
            issues += self._images_without_masks(images)
        train, val, test = (self._to_records(by_split[split], classes) for split in SPLITS)
        label_map = LabelMap("multilabel") if classes else None
        return FormatResult(train, val, test, classes=classes, label_map=label_map, issues=tuple(issues))

    def _split_of(self, image: ImageFile) -> Split | None:
        split = self.roles[image.folder].split
        if split is None and image in self.pairs.masks:  # all images in one folder, masks in a folder per split
            split = self.roles[self.pairs.masks[image].folder].split
        return split

    def _split_by_lists(self, lists: Mapping[Split, Path]) -> tuple[dict[Split, list[ImageFile]], list[DataIssue]]:
        """Return the images of each list. Without a list for training, all other images are for training."""
        by_split: dict[Split, list[ImageFile]] = {split: [] for split in SPLITS}
        issues: list[DataIssue] = []
        for split, path in lists.items():
            by_split[split], missing = read_list(path, self.images)
            if missing and not by_split[split]:
                if split == "train":
                    raise DataError(f"{path}: none of its lines names an image ({missing[0].file}); fix or remove it")
                message = f"none of its {len(missing)} lines names an image; that split is left out"
                missing = [DataIssue("list without images", str(path), message, severity="warning")]
            issues += missing
        if "train" not in lists:
            listed = {image for images in by_split.values() for image in images}
            by_split["train"] = [image for image in self.images if image not in listed]
        return by_split, issues

    def _to_records(self, images: Sequence[ImageFile], classes: Sequence[str]) -> tuple[Record, ...]:
        folder_path = cache(self.root.joinpath)
        records = []
        for image in images:
            if mask := self.pairs.masks.get(image):
                records.append(Record(folder_path(image.folder) / image.name, folder_path(mask.folder) / mask.name))
            elif by_class := self.pairs.by_class.get(image):
                masks = [by_class.get(name) for name in classes]
                channels = tuple(None if mask is None else folder_path(mask.folder) / mask.name for mask in masks)
                records.append(Record(folder_path(image.folder) / image.name, MultilabelMask(channels)))
        return tuple(records)

    def _images_without_masks(self, images: Sequence[ImageFile]) -> list[DataIssue]:
        """Return an error for each image without a mask; or one warning if none has one, as in some test splits."""
        paired = self.pairs.by_class or self.pairs.masks
        unpaired = [image for image in images if image not in paired]
        if unpaired and len(unpaired) == len(images):
            folder = str(self.root / images[0].folder)
            message = f"none of the {len(images)} images here has a mask; they are left out"
            return [DataIssue("images without masks", folder, message, severity="warning")]
        message = "has no mask; add a mask of the same name, or move the image away"
        return [DataIssue("missing mask", str(self.root / str(image)), message) for image in unpaired]

    def _unmatched_masks(self) -> list[DataIssue]:
        message = "a mask whose image is missing; add an image of the same name, or move the mask away"
        return [DataIssue("missing image", str(self.root / str(mask)), message) for mask in self.pairs.unmatched_masks]


def map_records(result: FormatResult, function: Callable[[Record], Record]) -> FormatResult:
    """Return the result with the function applied to each record."""
    train, val, test = (tuple(map(function, records)) for records in (result.train, result.val, result.test))
    return replace(result, train=train, val=val, test=test)


def with_known_classes(
    result: FormatResult, names: Sequence[str], values: Mapping[int, int], palette: Sequence[Color] = ()
) -> FormatResult:
    """Return the result with the classes of a well-known data set.

    Args:
        result: the records.
        names: class names in index order.
        values: mask value → class index, or 255 for "ignore".
        palette: one color per class, or () for the default palette.
    """
    return replace(result, classes=tuple(names), label_map=LabelMap("index", values), palette=tuple(palette))
