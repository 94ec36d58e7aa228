"""Mask folders that cannot be identified by name, and the choice between several mask folders for the same images."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._folder_names import without_split
from pixelwise.data.formats._mask_candidates import are_masks, choose_folder, is_one_file_per_class
from pixelwise.data.formats._matches import Matches, Roles
from pixelwise.data.formats._pairing import match_masks
from pixelwise.data.formats._single_folder import is_lossy_name
from pixelwise.errors import DataError

Kind = tuple[str, ...]
"""The parts of a folder's path that describe its content, without splits and names that image folders also have."""


def settle_folders(
    root: Path, files: Sequence[ImageFile], images: Sequence[ImageFile], matches: Matches, roles: Roles
) -> tuple[Matches, list[str]]:
    """Choose one mask folder if several folders have masks for the same images. See `choose_folder`.

    Args:
        root: the root folder of the data set.
        files: all image files, including the masks.
        images: those of `files` that are images and not masks.
        matches: the masks that were found by the names of their folders.
        roles: the roles of the folders.

    Returns:
        The matches in the chosen folder, and one line per folder left out. If there is nothing to choose, `matches` and
        no lines.

    Raises:
        DataError: Several folders match, and the choice is ambiguous.
    """
    if matches.by_folder:
        folders = _by_label(matches, images, roles)
        if not _cover_same_images(folders) or is_one_file_per_class(root, folders):
            return matches, []
    else:
        folders = _by_kind(matches, images, roles)
        used = {*images, *(mask for masks in matches.masks.values() for mask in masks)}
        folders |= unnamed_folders([file for file in files if file not in used], list(matches.masks), roles)
    if len(folders) < 2:
        return matches, []
    name, decisions = choose_folder(root, folders)
    others = {mask for masks in folders.values() for mask in masks.values()}
    unmatched = [mask for mask in matches.unmatched if mask not in others]
    return Matches({image: [mask] for image, mask in folders[name].items()}, unmatched=unmatched), decisions


def find_unnamed_masks(
    root: Path, files: Sequence[ImageFile], images: Sequence[ImageFile], roles: Roles
) -> tuple[Matches, list[str]] | None:
    """Find a folder of any name whose files match the images one to one, and use it as the mask folder.

    Args:
        root: the root folder of the data set.
        files: all image files, including the masks.
        images: those of `files` that are images and not masks.
        roles: the roles of the folders.

    Returns:
        The matches, and one line per decision. None if there is no such folder.

    Raises:
        DataError: Several folders match, and the choice is ambiguous.
    """
    folders = unnamed_folders([file for file in files if file not in set(images)], images, roles)
    if not folders:
        return None
    decisions: list[str] = []
    name = next(iter(folders))
    if len(folders) > 1:
        name, decisions = choose_folder(root, folders)
    elif any(map(is_lossy_name, folders[name].values())) and not are_masks(root, list(folders[name].values())):
        return None
    decisions.append(f"{name}/ is taken for the folder of masks: its files match the images one to one")
    return Matches({image: [mask] for image, mask in folders[name].items()}), decisions


def unnamed_folders(
    files: Sequence[ImageFile], images: Sequence[ImageFile], roles: Roles
) -> dict[str, dict[ImageFile, ImageFile]]:
    """Find the folders whose files match all images of at least one split one to one.

    Args:
        files: files whose folder names identify them neither as images nor as masks.
        images: the images.
        roles: the roles of the folders.

    Returns:
        Name of the folder → image → the file that matches it.
    """
    shared = _shared_names(images, roles)
    groups: dict[Kind, list[ImageFile]] = defaultdict(list)
    for file in files:
        groups[_kind(file.folder, shared)].append(file)
    smallest = min(Counter(roles[image.folder].split for image in images).values(), default=0)
    found = {}
    for kind, group in groups.items():
        if not kind or len(group) < smallest:
            continue
        rests = {
            file.folder: replace(
                roles[file.folder], rest=tuple(part for part in file.folder.split("/") if part in shared)
            )
            for file in group
        }
        try:
            matches = match_masks(images, group, {**roles, **rests})
        except DataError:
            continue
        one_to_one = not matches.unmatched and all(len(masks) == 1 for masks in matches.masks.values())
        if one_to_one and _covers_a_split(matches.masks, images, roles):
            found[_name(group, shared)] = {image: masks[0] for image, masks in matches.masks.items()}
    return found


def _covers_a_split(matched: Mapping[ImageFile, object], images: Iterable[ImageFile], roles: Roles) -> bool:
    """Return True if all images of at least one split are matched."""
    by_split: dict[object, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_split[roles[image.folder].split].append(image)
    return any(all(image in matched for image in part) for part in by_split.values())


def _shared_names(images: Iterable[ImageFile], roles: Roles) -> set[str]:
    """Return the folder names that images and their masks have in common, for example names of video sequences."""
    return {part for image in images for part in roles[image.folder].rest}


def _kind(folder: str, shared: set[str]) -> Kind:
    parts = (without_split(part) for part in folder.split("/") if part not in shared)
    return tuple(part for part in parts if part)


def _name(files: Iterable[ImageFile], shared: set[str]) -> str:
    """Return a display name for the folders of one kind, for example "train/masks/ + val/masks".

    The end of a path is left out if it is a split or a folder name that the images also have. At most 4 are listed.
    """
    names = set()
    for folder in {file.folder for file in files}:
        parts = folder.split("/")
        while len(parts) > 1 and (parts[-1] in shared or not without_split(parts[-1])):
            parts.pop()
        names.add("/".join(parts))
    first = sorted(names)
    return "/ + ".join(first[:4]) + ("/ + …" if len(first) > 4 else "")


def _by_kind(matches: Matches, images: Sequence[ImageFile], roles: Roles) -> dict[str, dict[ImageFile, ImageFile]]:
    """Return name of folder → image → mask.

    There is one folder per kind if an image has masks of several kinds. Otherwise all masks are in one folder. The
    result is empty if an image has two masks of the same kind.
    """
    shared = _shared_names(images, roles)
    kinds: dict[Kind, dict[ImageFile, ImageFile]] = defaultdict(dict)
    conflict = False
    for image, masks in matches.masks.items():
        of_image = {_kind(mask.folder, shared): mask for mask in masks}
        if len(of_image) < len(masks):
            return {}  # two masks of the same kind, for which `to_pairs` raises an error
        conflict = conflict or len(of_image) > 1
        for kind, mask in of_image.items():
            kinds[kind][image] = mask
    if not conflict:
        merged = {image: masks[0] for image, masks in matches.masks.items()}
        return {_name(merged.values(), shared): merged}
    return {_name(masks.values(), shared): masks for masks in kinds.values()}


def _by_label(matches: Matches, images: Sequence[ImageFile], roles: Roles) -> dict[str, dict[ImageFile, ImageFile]]:
    """Return name of folder → image → mask for masks that have one folder per label."""
    shared = _shared_names(images, roles)
    labels: dict[str, dict[ImageFile, ImageFile]] = defaultdict(dict)
    for image, masks in matches.masks.items():
        for mask in masks:
            labels[matches.labels[mask]][image] = mask
    return {_name(masks.values(), shared): masks for masks in labels.values()}


def _cover_same_images(folders: Mapping[str, Mapping[ImageFile, ImageFile]]) -> bool:
    first, *others = (set(masks) for masks in folders.values())
    return all(images == first for images in others)
