"""Matching of images and masks by their paths."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from pixelwise.data.formats._filesystem import ImageFile, abbreviate
from pixelwise.data.formats._matches import (
    Key,
    Matches,
    Roles,
    match_folders_named_as_images,
    match_folders_of_one_image,
    match_labels,
    splits_count,
)
from pixelwise.data.formats._stems import StemKey, affix_keys, mask_word_of, stem_keys
from pixelwise.errors import DataError

FolderKey = Callable[[tuple[str, ...]], Key]
"""`FolderRole.rest` → those folders that an image and its mask have in common."""


def match_masks(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches:
    """Match images with masks. The first rule that matches any image is used.

    If rule 1, 3 or 4 leaves out images and masks, rule 5 is used if it matches all images. The rules in order:

    1. the same relative path;
    2. the image's name and a folder of masks of that name (001.jpg, 001/a.png, 001/b.png), if all masks and at least
       half of the images match;
    3. the same path with one folder of masks per class;
    4. the same name in any folder;
    5. names without the beginnings and endings that all images, and all masks, have in common, or only the numbers in
       these names, if each mask then has an image of its own;
    6. rule 5 with one folder of masks per class (001.jpg, MA/001_MA.png, HE/001_HE.png);
    7. the image's name and a label (001_disc.png, 001_box.png), if all masks match;
    8. the only image in a folder, and all masks in the folder for its masks.

    Args:
        images: the image files.
        masks: the mask files.
        roles: the roles of their folders.

    Returns:
        The matched images and masks, and the masks without an image.

    Raises:
        DataError: A mask matches two images.
    """
    keys = stem_keys(images)
    matches = _match(images, masks, roles, _all_folders, _all_folders, keys)
    if matches.masks:
        return _or_one_to_one(_with_mask_words(matches), images, masks, roles)
    if not any(roles[file.folder].rest for file in (*images, *masks)):
        return match_by_parts(images, masks, roles) or Matches(unmatched=list(masks))
    if named := match_folders_named_as_images(images, masks, roles):
        return named
    for mask_key, class_of in _CLASS_FOLDERS:
        matches = _match(images, masks, roles, _all_folders, mask_key, keys)
        if matches.masks:
            return _or_one_to_one(_with_folder_labels(matches, class_of, roles), images, masks, roles)
    matches = _match(images, masks, roles, _no_folders, _no_folders, keys)
    if matches.masks:
        return _or_one_to_one(matches, images, masks, roles)
    return match_by_parts(images, masks, roles) or Matches(unmatched=list(masks))


def match_by_parts(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches | None:
    """Match images with masks by the rules 5 to 8 of `match_masks`.

    Args:
        images: the image files.
        masks: the mask files.
        roles: the roles of their folders.

    Returns:
        The result of the first rule that matches all masks, or None if there is none.
    """
    rules = (_match_one_to_one, _match_class_folders, match_labels, match_folders_of_one_image)
    return next((matches for rule in rules if (matches := rule(images, masks, roles))), None)


def _with_mask_words(matches: Matches) -> Matches:
    """Label masks with the words for masks at the end of their names: "mask_1" for 1_mask_1.png.

    No labels are added unless all masks have such a word, one of the words has a number, and no two masks of an image
    have the same word in one folder.
    """
    words = {mask: mask_word_of(mask.stem) for each in matches.masks.values() for mask in each}
    if all(words.values()) and any(word[-1:].isdigit() for word in words.values()):
        several = [each for each in matches.masks.values() if len(each) > 1]
        if all(len({(mask.folder, words[mask]) for mask in each}) == len(each) for each in several):
            matches.labels = words
    return matches


def _with_folder_labels(matches: Matches, class_of: Callable[[tuple[str, ...]], str], roles: Roles) -> Matches:
    """Label masks with the folders of their classes, if an image has masks in at least two folders."""
    if any(len({mask.folder for mask in each}) > 1 for each in matches.masks.values()):
        matches.by_folder = True
        matches.labels = {mask: class_of(roles[mask.folder].rest) for each in matches.masks.values() for mask in each}
    return matches


def _or_one_to_one(matches: Matches, images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches:
    """Return the matches, or those of rule 5 if the matches leave out images and masks and rule 5 leaves out none.

    Equal numbers do not always belong together: img_100 and the mask 100 can be parts of two different pairs.
    """
    if matches.unmatched and len(matches.masks) < len(images):
        others = _match_one_to_one(images, masks, roles)
        if others is not None and len(others.masks) == len(images):
            return others
    return matches


def _all_folders(folders: tuple[str, ...]) -> Key:
    return folders


def _no_folders(folders: tuple[str, ...]) -> Key:
    return ()


def _without_first(folders: tuple[str, ...]) -> Key:
    return folders[1:] if folders else None


def _first(folders: tuple[str, ...]) -> str:
    return folders[0]


def _without_last(folders: tuple[str, ...]) -> Key:
    return folders[:-1] if folders else None


def _last(folders: tuple[str, ...]) -> str:
    return folders[-1]


_CLASS_FOLDERS = ((_without_last, _last), (_without_first, _first))
"""Functions for a class folder that is the last, or the first, folder of a mask's path.

Each pair is (function for the folders that the image has too, function for the class folder).
"""


def _match(
    images: Sequence[ImageFile],
    masks: Sequence[ImageFile],
    roles: Roles,
    image_folder_key: FolderKey,
    mask_folder_key: FolderKey,
    keys: Sequence[tuple[StemKey, StemKey]],
) -> Matches:
    """Match images and masks that have the same folder key and the same stem key.

    Each pair of stem keys is tried in turn for the masks that are not matched yet. Raises DataError if a mask matches
    two images.
    """
    use_splits = splits_count(images, masks, roles)

    def places(folder_key: FolderKey, files: Sequence[ImageFile]) -> dict[str, Key]:
        found: dict[str, Key] = {}
        for folder in {file.folder for file in files}:
            folders = folder_key(roles[folder].rest)
            found[folder] = None if folders is None else ((roles[folder].split or "") if use_splits else "", *folders)
        return found

    image_places, mask_places = places(image_folder_key, images), places(mask_folder_key, masks)
    if not any(place is not None for place in mask_places.values()):
        return Matches(unmatched=list(masks))
    matches: dict[ImageFile, list[ImageFile]] = defaultdict(list)
    unmatched = list(masks)
    for image_stem_key, mask_stem_key in keys:
        if not unmatched:
            break
        images_by_key: dict[tuple[Key, str], list[ImageFile]] = defaultdict(list)
        for image in images:
            images_by_key[image_places[image.folder], image_stem_key(image)].append(image)
        remaining = []
        for mask in unmatched:
            place = mask_places[mask.folder]
            candidates = [] if place is None else images_by_key.get((place, mask_stem_key(mask)), [])
            if len(candidates) > 1:
                raise DataError(
                    f"{mask}: the names of two images match this mask ({abbreviate(candidates)}); "
                    "move the image away that is not in the data set"
                )
            if candidates:
                matches[candidates[0]].append(mask)
            else:
                remaining.append(mask)
        unmatched = remaining
    return Matches(dict(matches), unmatched=unmatched)


def _match_one_to_one(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches | None:
    """Match images and masks by `affix_keys`. Return None unless each mask then has its own image."""
    for image_stem, mask_stem, is_number in affix_keys(images, masks):
        try:
            matches = _match(images, masks, roles, _all_folders, _all_folders, [(image_stem, mask_stem)])
        except DataError:
            continue
        one_to_one = not matches.unmatched and all(len(each) == 1 for each in matches.masks.values())
        if one_to_one and (not is_number or _match_whole_splits(matches, images, roles)):
            if any(image.stem.casefold() not in mask.stem.casefold() for image, (mask,) in matches.masks.items()):
                image, (mask,) = next(iter(matches.masks.items()))
                matches.note = f"names are matched by what differs between them: {mask} is the mask of {image}"
            return matches
    return None


def _match_whole_splits(matches: Matches, images: Sequence[ImageFile], roles: Roles) -> bool:
    """Return True if all images are matched, except images in splits without any match."""
    splits = {roles[image.folder].split for image in matches.masks}
    return all(image in matches.masks for image in images if roles[image.folder].split in splits)


def _match_class_folders(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches | None:
    """Match images by `affix_keys` with masks in one folder per class.

    Return None unless all masks match and each folder has at most one mask of each image.
    """
    for mask_key, class_of in _CLASS_FOLDERS if all(roles[mask.folder].rest for mask in masks) else ():
        for image_stem, mask_stem, _ in affix_keys(images, masks):
            try:
                matches = _match(images, masks, roles, _all_folders, mask_key, [(image_stem, mask_stem)])
            except DataError:
                continue
            one_each = all(len({mask.folder for mask in each}) == len(each) for each in matches.masks.values())
            if not matches.unmatched and one_each:
                return _with_folder_labels(matches, class_of, roles)
    return None
