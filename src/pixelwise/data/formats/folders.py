"""Images and masks in folders with names such as images/ and masks/, or side by side in one folder."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._chosen_masks import match_chosen_masks
from pixelwise.data.formats._class_files import read_class_names
from pixelwise.data.formats._filesystem import ImageFile, Listing, abbreviate, is_folder, list_files, list_images
from pixelwise.data.formats._folder_names import (
    FolderRole,
    folder_roles,
    parse_folder_name,
    without_split,
    words_in_name,
)
from pixelwise.data.formats._mask_folders import find_unnamed_masks, settle_folders
from pixelwise.data.formats._mask_labels import Pairs, to_pairs
from pixelwise.data.formats._pair_lists import read_pair_lists
from pixelwise.data.formats._paired_files import PairedFiles
from pixelwise.data.formats._pairing import match_masks
from pixelwise.data.formats._single_folder import pair_in_one_folder
from pixelwise.data.formats._stems import has_mask_word
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import FormatResult, LabelMap, Record
from pixelwise.errors import DataError
from pixelwise.palette import Color


def read_folders(root: Path, options: LabelOptions | None = None) -> FormatResult | None:
    """Read images and masks in two folders (images/ masks/, train/ trainannot/) or side by side (1.jpg, 1_mask.png).

    Splits come from folder names (train, val, test …) anywhere in the paths, or from lists (train.txt …). Class names
    come from a class file (see `CLASS_FILES`), and the label map from the mask values.

    An image can have several mask files. With one file per class (subfolders of the mask folder, or endings of names),
    the data is multi-label. Files with one object each are merged to one mask. Some files are opened only if the names
    of files and folders do not identify the masks.

    Args:
        root: the data set.
        options: the user's options. With `instances`, all mask files of an image are merged. With `mask_files`, only
            these files are masks.

    Returns:
        The records. None if `root` is not a folder or has no masks.

    Raises:
        DataError: Two folders or two files match the same images, images and masks have no common name, or the folder
            has several data sets.
    """
    if not is_folder(root):
        return None
    listing = list_files(root)
    files = find_pairs(root, listing, options or LabelOptions(), search=True)
    if files is None:
        return None
    result = files.to_result()
    return result if result.classes else replace(result, **vars(read_class_names(root, listing)))


def find_pairs(
    root: Path, listing: Listing, options: LabelOptions | None = None, search: bool = False
) -> PairedFiles | None:
    """Match the images and masks of a listing.

    Args:
        root: the root of the listing.
        listing: the files of the data set.
        options: see `read_folders`.
        search: also find masks that no folder or file name identifies, and choose between folders of masks that match
            the same images. The readers of well-known data sets do not need this.

    Returns:
        The matched files. None if there are no masks.

    Raises:
        DataError: There are folders of images and folders of masks, but no image has a mask of the same name. Or the
            match is ambiguous (see `match_masks`, `to_pairs` and `choose_folder`), or there are several data sets.
    """
    instances = options is not None and options.instances
    files = list(list_images(listing))
    roles = folder_roles({file.folder for file in files})
    masks = [file for file in files if roles[file.folder].role == "masks"]
    images = [file for file in files if roles[file.folder].role == "images"]
    strict = bool(images)
    decisions: list[str] = []
    if options is not None and options.mask_files is not None:
        images, matches = match_chosen_masks(root, files, roles, options.mask_files)
        return PairedFiles(root, listing, images, to_pairs(matches, roles, instances), roles, strict)
    if search and (listed := read_pair_lists(root, listing, files)):
        return _listed_pairs(root, listing, listed, [file for file in images if file not in listed], roles)
    if masks:
        images = images or _unnamed_images(files, masks, roles)
        matches = match_masks(images, masks, roles)
        if matches.masks:
            if search:
                matches, decisions = settle_folders(root, files, images, matches, roles)
            pairs = to_pairs(matches, roles, instances)
            pairs.decisions[:0] = decisions
            _check_single_data_set(root, [*pairs.files(), *pairs.unmatched_masks], roles)
            return PairedFiles(root, listing, images, pairs, roles, strict)
    elif strict and search and (found := find_unnamed_masks(root, files, images, roles)):
        matches, decisions = found
        pairs = to_pairs(matches, roles, instances)
        pairs.decisions[:0] = decisions
        return PairedFiles(root, listing, images, pairs, roles, strict)
    mask_files = [file for file in files if has_mask_word(file.stem)]
    if mask_files:
        others = [file for file in files if not has_mask_word(file.stem)]
        beside = {folder: _side_by_side(folder, role) for folder, role in roles.items()}
        pairs = to_pairs(match_masks(others, mask_files, beside), beside, instances)
        if pairs:
            return PairedFiles(root, listing, others, pairs, roles, False)
    if search and (beside_pairs := pair_in_one_folder(root, files, roles, instances)):
        return PairedFiles(root, listing, *beside_pairs, roles, False)
    if strict and masks:
        raise DataError(
            f"{root}: no image has a mask of the same name: images are {abbreviate(images, 2)}, and masks "
            f"{abbreviate(masks, 2)}; give an image and its mask the same name"
        )
    return None


def _listed_pairs(
    root: Path,
    listing: Listing,
    listed: Mapping[ImageFile, ImageFile],
    images: Sequence[ImageFile],
    roles: Mapping[str, FolderRole],
) -> PairedFiles:
    """Return the pairs from lists, and the images that are not listed.

    A decision is recorded only if the name of a mask does not contain the name of its image.
    """
    pairs = Pairs(masks=dict(listed))
    others = [(image, mask) for image, mask in listed.items() if image.stem not in mask.stem]
    if others:
        image, mask = others[0]
        pairs.decisions.append(
            f"images and masks are matched by the lists of the splits: {mask} is the mask of {image}"
        )
    return PairedFiles(root, listing, [*listed, *images], pairs, roles, False)


def _unnamed_images(
    files: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Mapping[str, FolderRole]
) -> list[ImageFile]:
    """Return the images of a data set in which no folder has a known name for images.

    These are the images in folders whose name contains a word for a role (image_2) if all masks match them. Otherwise
    these are all files in folders without a known role.
    """
    others = [file for file in files if roles[file.folder].role is None]
    resembling = [file for file in others if any(words_in_name(part)[1] for part in file.folder.split("/"))]
    try:
        if resembling and not match_masks(resembling, masks, roles).unmatched:
            return resembling
    except DataError:
        pass
    return others


def _check_single_data_set(root: Path, masks: Sequence[ImageFile], roles: Mapping[str, FolderRole]) -> None:
    """Raise DataError if a folder has data sets of different layouts.

    An example is a/images and a/masks next to b/train and b/trainannot.
    """
    mask_folders: dict[str, set[str]] = defaultdict(set)
    for base in {roles[mask.folder].base for mask in masks}:
        parent, _, name = base.rpartition("/")
        top = parent.split("/")[0]
        mask_folders["" if parse_folder_name(top) != (None, None) else without_split(top)].add(without_split(name))
    if len(mask_folders) > 1 and len({frozenset(names) for names in mask_folders.values()}) > 1:
        shown = abbreviate(sorted(name or "the folder itself" for name in mask_folders))
        raise DataError(f"{root}: has several data sets ({shown}); use one of the folders")


def _side_by_side(folder: str, role: FolderRole) -> FolderRole:
    """Return the role of a folder in which each mask is next to its image."""
    return replace(role, base=folder, rest=(folder,))


def map_records(result: FormatResult, function: Callable[[Record], Record]) -> FormatResult:
    """Apply a function to each record of a result.

    Args:
        result: the records of all splits.
        function: returns the new record for a record.

    Returns:
        The result with the new records.
    """
    train, val, test = (tuple(map(function, records)) for records in (result.train, result.val, result.test))
    return replace(result, train=train, val=val, test=test)


def with_known_classes(
    result: FormatResult, names: Sequence[str], values: Mapping[int, int], palette: Sequence[Color] = ()
) -> FormatResult:
    """Set the classes of a well-known data set.

    Args:
        result: the records.
        names: class names in index order.
        values: mask value → class index, or 255 for "ignore".
        palette: one color per class, or () for the default palette.

    Returns:
        The result with the classes.
    """
    return replace(result, classes=tuple(names), label_map=LabelMap("index", values), palette=tuple(palette))
