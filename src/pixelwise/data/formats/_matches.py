"""Rules that match an image with several masks: labels in the names of masks, and folders for single images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._folder_names import FolderRole
from pixelwise.data.formats._stems import base_of, split_labels

Key = tuple[str, ...] | None
"""The parts of their paths that an image and its mask have in common. None if a path has too few parts."""

Roles = Mapping[str, FolderRole]
"""Folder → its role, for every folder with images or masks."""


@dataclass
class Matches:
    """Images with all masks that match them.

    Attributes:
        masks: image → its masks.
        labels: mask → the part of its path in which it differs from the other masks of its image. This is the folder
            of its class, or the text beside the image's name. Empty if masks have no such part.
        by_folder: True if the labels are names of folders.
        unmatched: masks without an image.
        note: the rule in words for the user, if the names of an image and its mask differ in more than words for
            masks. Else "".
    """

    masks: dict[ImageFile, list[ImageFile]] = field(default_factory=dict)
    labels: dict[ImageFile, str] = field(default_factory=dict)
    by_folder: bool = False
    unmatched: list[ImageFile] = field(default_factory=list)
    note: str = ""


def splits_count(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> bool:
    """Return True if splits restrict the matching: a mask then only matches images of its own split.

    Args:
        images: the image files.
        masks: the mask files.
        roles: the roles of their folders.

    Returns:
        True if the folders of some images and of some masks name a split.
    """
    return all(any(roles[file.folder].split for file in files) for files in (images, masks))


def _by_place(files: Sequence[ImageFile], roles: Roles, use_splits: bool) -> dict[Key, list[ImageFile]]:
    """Group files by their split and by `FolderRole.rest` of their folder."""
    places: dict[Key, list[ImageFile]] = defaultdict(list)
    for file in files:
        places[_place(file, roles, use_splits)].append(file)
    return places


def _place(file: ImageFile, roles: Roles, use_splits: bool) -> tuple[str, ...]:
    role = roles[file.folder]
    return ((role.split or "") if use_splits else "", *role.rest)


def match_labels(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches | None:
    """Match masks whose stem consists of the stem of an image and a label (001.png, 001_disc.png).

    Images and masks are matched within the same folders. If that fails, they are matched within the same split.

    Args:
        images: the image files.
        masks: the mask files.
        roles: the roles of their folders.

    Returns:
        The matches. None if the stem of any mask does not have this form, or if two images have the same stem.
    """
    use_splits = splits_count(images, masks, roles)
    for depth in (None, 1):  # None compares the split and all folders, 1 the split alone

        def place_of(file: ImageFile, depth: int | None = depth) -> tuple[str, ...]:
            return _place(file, roles, use_splits)[:depth]

        places: dict[tuple[str, ...], dict[str, ImageFile]] = defaultdict(dict)
        for image in images:
            places[place_of(image)][base_of(image.stem)] = image
        if sum(map(len, places.values())) < len(images):  # two images have the same stem
            continue
        bases = {mask: places.get(place_of(mask), {}) for mask in masks}
        split = split_labels(masks, bases.__getitem__)
        if split is None:
            continue
        matches = Matches()
        for image, label, mask in split:
            matches.masks.setdefault(image, []).append(mask)
            matches.labels[mask] = label
        return matches
    return None


def match_folders_of_one_image(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches | None:
    """Match the only image in a folder with all masks in the folder for its masks: ID/images/…, ID/masks/…

    Args:
        images: the image files.
        masks: the mask files.
        roles: the roles of their folders.

    Returns:
        The matches. None if all images are in one folder, a folder has several images, or masks have no image.
    """
    use_splits = splits_count(images, masks, roles)
    places = _by_place(images, roles, use_splits)
    if len(places) < 2 or any(len(there) > 1 for there in places.values()):
        return None
    matches = Matches()
    for place, there in _by_place(masks, roles, use_splits).items():
        if place not in places:
            return None
        matches.masks[places[place][0]] = there
        matches.labels |= {mask: mask.stem for mask in there}
    return matches


def match_folders_named_as_images(
    images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles
) -> Matches | None:
    """Match an image with all masks in the folder of the same name: ID.png, ID/…

    Args:
        images: the image files.
        masks: the mask files.
        roles: the roles of their folders.

    Returns:
        The matches. None if fewer than half of the images match, or if a mask's folder does not have the name of
        exactly one image.
    """
    use_splits = splits_count(images, masks, roles)
    by_path: dict[Key, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_path[(*_place(image, roles, use_splits), image.stem)].append(image)
    matches = Matches()
    for place, there in _by_place(masks, roles, use_splits).items():
        if len(by_path.get(place, ())) != 1:
            return None
        matches.masks[by_path[place][0]] = there
        matches.labels |= {mask: mask.stem for mask in there}
    return matches if 2 * len(matches.masks) >= len(images) else None
