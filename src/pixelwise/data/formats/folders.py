"""Images and masks in folders that are named so, or side by side: what most people have."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pixelwise.data.formats._class_files import class_names
from pixelwise.data.formats._filesystem import ImageFile, Listing, is_folder, list_files, list_images, shown
from pixelwise.data.formats._folder_names import (
    FolderRole,
    folder_roles,
    has_mask_suffix,
    parse_folder_name,
    without_split,
)
from pixelwise.data.formats._pairing import Pairs, pair
from pixelwise.data.formats._splits import find_lists, read_list
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, LabelMap, MultilabelMask, Record, Split
from pixelwise.errors import DataError
from pixelwise.palette import Color


def read_folders(root: Path) -> FormatResult | None:
    """Images and masks in two folders (images/ masks/, train/ trainannot/ …) or side by side (001.jpg, 001_mask.png).

    Splits are folders (train, val, test …) anywhere in the paths, or lists (train.txt …). Names of classes come from
    a file beside them (see `class_files.CLASS_FILES`), what masks mean from the masks. Where folders in the folder of
    masks hold a mask each for the same images, the data is multi-label and those folders are its classes.

    Raises DataError for two folders, or two files, that may both be meant.
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    found = find_pairs(root, listing)
    if found is None:
        return None
    layout = found.layout()
    return layout if layout.classes else replace(layout, **vars(class_names(root, listing)))


def find_pairs(root: Path, listing: Listing) -> "PairedFiles | None":
    """Images and masks of a listing; None where there are none.

    Raises DataError where there are folders of images and of masks and no name in the one is in the other, and for
    what is ambiguous (see `pair`).
    """
    there = list(list_images(listing))
    where = folder_roles({each.folder for each in there})
    role = {folder: place.role for folder, place in where.items()}
    masks = [each for each in there if role[each.folder] == "masks"]
    images = [each for each in there if role[each.folder] == "images"]
    strict = bool(images)
    if masks:
        images = images or [each for each in there if role[each.folder] is None]
        pairs = pair(images, masks, where)
        if pairs.masks or pairs.by_class:
            _check_one_data_set(root, masks, where)
            return PairedFiles(root, listing, images, pairs, where, strict)
    beside = [each for each in there if has_mask_suffix(each.stem)]
    if beside:
        others = [each for each in there if not has_mask_suffix(each.stem)]
        pairs = pair(others, beside, {folder: _beside(folder, place) for folder, place in where.items()})
        if pairs.masks:
            return PairedFiles(root, listing, others, pairs, where, False)
    if strict and masks:
        raise DataError(
            f"{root}: no image has a mask of its name: images are {shown(images, 2)}, and masks {shown(masks, 2)}; "
            "give an image and its mask the same name"
        )
    return None


def _check_one_data_set(root: Path, masks: Sequence[ImageFile], where: Mapping[str, FolderRole]) -> None:
    """Refuse a folder of data sets that lie in different ways: a/images with a/masks, b/train with b/trainannot."""
    named: dict[str, set[str]] = defaultdict(set)
    for base in {where[mask.folder].base for mask in masks}:
        above, _, name = base.rpartition("/")
        top = above.split("/")[0]
        named["" if parse_folder_name(top) != (None, None) else top].add(without_split(name))
    if len(named) > 1 and len({frozenset(names) for names in named.values()}) > 1:
        raise DataError(f"{root}: holds data sets of several kinds ({shown(sorted(named))}); point DATA at one of them")


def _beside(folder: str, place: FolderRole) -> FolderRole:
    """The place of files side by side: a mask is in the very folder of its image."""
    return replace(place, base=folder, rest=(folder,))


@dataclass(frozen=True)
class PairedFiles:
    """Images and masks as names, on their way to records.

    `strict`: whether the images are in folders named for images; else images that have no mask may be anything.
    """

    root: Path
    listing: Listing
    images: Sequence[ImageFile]
    pairs: Pairs
    folder_roles: Mapping[str, FolderRole]
    strict: bool

    def layout(self) -> FormatResult:
        """The records of each split, without names of classes."""
        classes = tuple(sorted({name for masks in self.pairs.by_class.values() for name in masks}))
        splits = {image: self._split(image) for image in self.images}
        problems: list[DataIssue] = []
        lists = {} if any(splits.values()) else find_lists(self.root, self.listing)
        if lists:
            by_split, problems = self._listed(lists)
        else:
            by_split = {split: [] for split in SPLITS}
            for image, split in splits.items():
                by_split[split or "train"].append(image)
            problems += self._lone_masks()
        records: dict[Split, tuple[Record, ...]] = {}
        for split, images in by_split.items():
            records[split] = self._records(images, classes)
            if self.strict or lists:
                problems += self._bare(images)
        if not (self.strict or lists):
            in_folders: dict[str, list[ImageFile]] = defaultdict(list)
            for image in self.images:
                in_folders[image.folder].append(image)
            for images in in_folders.values():
                problems += self._bare(images)
        return FormatResult(
            records["train"],
            records["val"],
            records["test"],
            classes=classes,
            label_map=LabelMap("multilabel") if classes else None,
            issues=tuple(problems),
        )

    def _split(self, image: ImageFile) -> Split | None:
        split = self.folder_roles[image.folder].split
        if split is None and image in self.pairs.masks:  # all images in one folder, masks by split
            split = self.folder_roles[self.pairs.masks[image].folder].split
        return split

    def _listed(self, lists: Mapping[Split, Path]) -> tuple[dict[Split, list[ImageFile]], list[DataIssue]]:
        """The images that lists name; without a list for training, those that no list names train."""
        by_split: dict[Split, list[ImageFile]] = {split: [] for split in SPLITS}
        problems: list[DataIssue] = []
        for split, path in lists.items():
            by_split[split], missing = read_list(path, self.images)
            if missing and not by_split[split]:
                if split == "train":
                    raise DataError(f"{path}: none of its lines names an image ({missing[0].file}); mend or remove it")
                what = f"none of its {len(missing)} lines names an image; that split is left out"
                missing = [DataIssue("list without images", str(path), what, severity="warning")]
            problems += missing
        if "train" not in lists:
            elsewhere = {image for images in by_split.values() for image in images}
            by_split["train"] = [image for image in self.images if image not in elsewhere]
        return by_split, problems

    def _records(self, images: Sequence[ImageFile], classes: Sequence[str]) -> tuple[Record, ...]:
        path = cache(self.root.joinpath)  # of a folder, made once
        records = []
        for image in images:
            if mask := self.pairs.masks.get(image):
                records.append(Record(path(image.folder) / image.name, path(mask.folder) / mask.name))
            elif by_class := self.pairs.by_class.get(image):
                masks = [by_class.get(name) for name in classes]
                layers = tuple(None if each is None else path(each.folder) / each.name for each in masks)
                records.append(Record(path(image.folder) / image.name, MultilabelMask(layers)))
        return tuple(records)

    def _bare(self, images: Sequence[ImageFile]) -> list[DataIssue]:
        """A problem for each image without a mask; where they all are, as in a test split, a note for all of them."""
        paired = self.pairs.by_class or self.pairs.masks
        bare = [image for image in images if image not in paired]
        if bare and len(bare) == len(images):
            folder = str(self.root / images[0].folder)
            what = f"none of the {len(images)} images here has a mask; they are left out"
            return [DataIssue("images without masks", folder, what, severity="warning")]
        what = "has no mask; add it among the masks under the same name, or move the image away"
        return [DataIssue("missing mask", str(self.root / str(image)), what) for image in bare]

    def _lone_masks(self) -> list[DataIssue]:
        what = "a mask whose image is missing; add the image under the same name, or move the mask away"
        return [DataIssue("missing image", str(self.root / str(mask)), what) for mask in self.pairs.lone_masks]


def filter_files(listing: Listing, wanted: Callable[[str, str], bool]) -> Listing:
    """The files of a listing for which `wanted(folder, name)` holds."""
    return {folder: [name for name in names if wanted(folder, name)] for folder, names in listing.items()}


def map_records(layout: FormatResult, change: Callable[[Record], Record]) -> FormatResult:
    """A layout with every record changed."""
    train, val, test = (tuple(map(change, records)) for records in (layout.train, layout.val, layout.test))
    return replace(layout, train=train, val=val, test=test)


def with_known_classes(
    layout: FormatResult, names: Sequence[str], values: Mapping[int, int], palette: Sequence[Color] = ()
) -> FormatResult:
    """A layout with the classes of a known data set and what its masks' values mean."""
    return replace(layout, classes=tuple(names), label_map=LabelMap("index", values), palette=tuple(palette))
