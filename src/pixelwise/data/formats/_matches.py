"""Matching of images and masks by the folders they are in: labels in names, and folders of single images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._folder_names import FolderRole
from pixelwise.data.formats._stems import base_of, split_labels

Key = tuple[str, ...] | None
"""The parts that an image and its mask have in common. None if there are too few parts."""

Roles = Mapping[str, FolderRole]
"""Folder → its role, for the folders of all files."""


@dataclass
class Matches:
    """Images with all masks that match them.

    Attributes:
        masks: image → its masks.
        labels: mask → the part of its path that tells it from the other masks of its image: the folder of its class,
            or the text after the image's name. Empty if masks have no such part.
        by_folder: True if the labels are names of folders.
        unmatched: masks without an image.
        note: the rule, if names of images and masks differ in more than words for masks. Else "".
    """

    masks: dict[ImageFile, list[ImageFile]] = field(default_factory=dict)
    labels: dict[ImageFile, str] = field(default_factory=dict)
    by_folder: bool = False
    unmatched: list[ImageFile] = field(default_factory=list)
    note: str = ""


def splits_count(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> bool:
    """Return True if images and masks both have splits, so that a mask is never of an image in another split."""
    return all(any(roles[file.folder].split for file in files) for files in (images, masks))


def _by_place(files: Sequence[ImageFile], roles: Roles, use_splits: bool) -> dict[Key, list[ImageFile]]:
    """Return (split, folders below the role) → files there."""
    places: dict[Key, list[ImageFile]] = defaultdict(list)
    for file in files:
        places[_place(file, roles, use_splits)].append(file)
    return places


def _place(file: ImageFile, roles: Roles, use_splits: bool) -> tuple[str, ...]:
    role = roles[file.folder]
    return ((role.split or "") if use_splits else "", *role.rest)


def match_labels(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Roles) -> Matches | None:
    """Match masks whose stem is that of an image and a label, if all are: in the same folders, or else in any."""
    use_splits = splits_count(images, masks, roles)
    for depth in (None, 1):  # the split and all folders; the split alone

        def place_of(file: ImageFile, depth: int | None = depth) -> tuple[str, ...]:
            return _place(file, roles, use_splits)[:depth]

        places: dict[tuple[str, ...], dict[str, ImageFile]] = defaultdict(dict)
        for image in images:
            places[place_of(image)][base_of(image.stem)] = image
        if sum(map(len, places.values())) < len(images):  # two images of one stem
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
    """Match the only image in a folder with all masks in the folder for its masks: ID/images/…, ID/masks/…"""
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
    """Match an image with all masks in a folder of its name (ID.png, ID/…), if half of the images have one."""
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
