"""Records of matched image and mask files, their splits, and the issues of files without a partner."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile, Listing
from pixelwise.data.formats._folder_names import FolderRole, words_in_name
from pixelwise.data.formats._mask_labels import Pairs
from pixelwise.data.formats._split_tables import find_split_table
from pixelwise.data.formats._splits import find_lists, keep_first_split, read_list, split_of_stem, unclear_lists
from pixelwise.data.io.unreadable_formats import UNREADABLE, suffix_of
from pixelwise.data.schema import (
    SPLITS,
    BytesSource,
    DataIssue,
    FormatResult,
    LabelMap,
    MergedMask,
    MultilabelMask,
    Record,
    Split,
)
from pixelwise.errors import DataError


@dataclass(frozen=True)
class PairedFiles:
    """Matched image and mask files.

    Attributes:
        root: the root of the listing.
        listing: all files of the data set.
        images: the images, with and without masks.
        pairs: the images that have masks, with those masks.
        roles: folder → its role (images or masks) and its split.
        strict: True if the images are in folders whose names are words for images. If False, an image without a mask
            can be unrelated to the data set.
    """

    root: Path
    listing: Listing
    images: Sequence[ImageFile]
    pairs: Pairs
    roles: Mapping[str, FolderRole]
    strict: bool

    def to_result(self) -> FormatResult:
        """Return the records of each split. The result has class names for multi-label data only.

        Raises:
            DataError: No line of the list for training names an image.
        """
        classes = tuple(sorted({name for masks in self.pairs.by_class.values() for name in masks}))
        splits = {image: self._split_of(image) for image in self.images}
        lists = {} if any(splits.values()) else find_lists(self.root, self.listing, self.images)
        table = None
        if not lists and not any(splits.values()):
            table = find_split_table(self.root, self.listing, self.images)
            splits = splits if table else self._splits_of_stems() or splits
        if lists:
            by_split, issues = self._split_by_lists(lists)
        elif table:
            by_split, issues = table.images, list(table.issues)
            self.pairs.decisions.append(f"the splits are those in {table.file.name}")
        else:
            by_split = {split: [] for split in SPLITS}
            for image, split in splits.items():
                by_split[split or "train"].append(image)
            issues = self._unmatched_masks()
            issues += self._unclear_splits(splits)
        groups: Iterable[Sequence[ImageFile]]
        if self.strict or lists or table:
            groups = by_split.values()
        else:
            by_folder: dict[str, list[ImageFile]] = defaultdict(list)
            for image in self.images:
                by_folder[image.folder].append(image)
            groups = by_folder.values()
        for images in groups:
            issues += self._images_without_masks(images)
        if self.pairs.decisions:  # one issue with all decisions, because only the first issue of each kind is printed
            text = "; ".join(self.pairs.decisions)
            issues.append(DataIssue("choice of masks", str(self.root), text, severity="warning"))
        train, val, test = (self._to_records(by_split[split], classes) for split in SPLITS)
        label_map = LabelMap("multilabel") if classes else None
        return FormatResult(train, val, test, classes=classes, label_map=label_map, issues=tuple(issues))

    def _split_of(self, image: ImageFile) -> Split | None:
        split = self.roles[image.folder].split
        if split is None and image in self.pairs.masks:  # images in one folder, masks in a folder per split
            split = self.roles[self.pairs.masks[image].folder].split
        return split

    def _splits_of_stems(self) -> dict[ImageFile, Split | None]:
        """Return the split of each image if the file names begin with it (train_1, testA_1).

        Return {} if the name of an image with a mask begins with no split, or if all begin with the same split.
        """
        splits = {image: split_of_stem(image.stem) for image in self.images if image in self.pairs}
        if not all(splits.values()) or len(set(splits.values())) < 2:
            return {}
        self.pairs.decisions.append("the splits are those that the names of the images begin with")
        return {image: split_of_stem(image.stem) for image in self.images}

    def _split_by_lists(self, lists: Mapping[Split, Path]) -> tuple[dict[Split, list[ImageFile]], list[DataIssue]]:
        """Return the images of each list, and the issues of lines that name no image.

        If no list is for training, all images that are in no list are for training.
        """
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
        by_split, repeated = keep_first_split(by_split, next(iter(lists.values())).parent)
        if "train" not in lists:
            listed = {image for images in by_split.values() for image in images}
            by_split["train"] = [image for image in self.images if image not in listed]
        return by_split, issues + repeated

    def _to_records(self, images: Sequence[ImageFile], classes: Sequence[str]) -> tuple[Record, ...]:
        folder_path = cache(self.root.joinpath)

        def path(file: ImageFile) -> Path:
            return folder_path(file.folder) / file.name

        def mask_of(files: Sequence[ImageFile]) -> BytesSource | MergedMask | None:
            if not files:
                return None
            return path(files[0]) if len(files) == 1 else MergedMask(tuple(map(path, files)))

        records = []
        for image in images:
            if mask := self.pairs.masks.get(image):
                records.append(Record(path(image), path(mask)))
            elif files := self.pairs.merged.get(image):
                records.append(Record(path(image), mask_of(files)))
            elif by_class := self.pairs.by_class.get(image):
                channels = tuple(mask_of(by_class.get(name, ())) for name in classes)
                records.append(Record(path(image), MultilabelMask(channels)))
        return tuple(records)

    def _images_without_masks(self, images: Sequence[ImageFile]) -> list[DataIssue]:
        """Return an error for each image without a mask.

        If no image has a mask, as in some test splits, return one warning instead.
        """
        unpaired = [image for image in images if image not in self.pairs]
        if unpaired and len(unpaired) == len(images):
            folder = str(self.root / images[0].folder)
            message = f"none of the {len(images)} images here has a mask; they are left out"
            return [DataIssue("images without masks", folder, message, severity="warning")]
        message = "has no mask; add a mask of the same name, or move the image away"
        return [DataIssue("missing mask", str(self.root / str(image)), message) for image in unpaired]

    def _unmatched_masks(self) -> list[DataIssue]:
        if not self.pairs.unmatched_masks:
            return []
        others = {}  # stem → file in an unsupported format that may be the image: IMG_1.dng
        for folder, names in self.listing.items():
            for name in names:
                if suffix_of(name) in UNREADABLE:
                    others[name.partition(".")[0]] = f"{folder}/{name}" if folder else name
        issues = []
        for mask in self.pairs.unmatched_masks:
            message = "a mask whose image is missing; add an image of the same name, or move the mask away"
            if other := others.get(mask.stem):
                message = f"its image may be {other}, which cannot be read; save that as JPEG or PNG"
            issues.append(DataIssue("missing image", str(self.root / str(mask)), message))
        return issues

    def _unclear_splits(self, splits: Mapping[ImageFile, Split | None]) -> list[DataIssue]:
        """Return a warning for each folder or list whose name resembles that of a split but is not used as one."""
        names = {
            self.roles[image.folder].unclear for image, split in splits.items() if split is None and image in self.pairs
        }
        files = [self.root / name for name in sorted(names - {""}) if words_in_name(name)[0] != "train"]
        if not any(splits.values()):
            files += unclear_lists(self.root, self.listing)
        message = "resembles the name of a split and is not used as one; use train, val and test as names of splits"
        return [DataIssue("unclear split", str(file), message, severity="warning") for file in files]
