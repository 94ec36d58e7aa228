"""Matching of images and masks by their paths."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile

from pixelwise.data.formats._filesystem import ImageFile, abbreviate
from pixelwise.data.formats._folder_names import FolderRole, strip_role_words
from pixelwise.errors import DataError

Key = tuple[str, ...] | None
"""The parts that an image and its mask have in common. None if there are too few parts."""

StemKey = Callable[[str], str]
"""File stem → the part of it that an image and its mask have in common."""

FolderKey = Callable[[tuple[str, ...]], Key]
"""`FolderRole.rest` → those folders that an image and its mask have in common."""


@dataclass
class Pairs:
    """Images with their masks.

    Attributes:
        masks: image → its mask. Empty for multi-label data.
        by_class: for multi-label data, image → class name → its mask.
        unmatched_masks: masks without an image.
    """

    masks: dict[ImageFile, ImageFile] = field(default_factory=dict)
    by_class: dict[ImageFile, dict[str, ImageFile]] = field(default_factory=dict)
    unmatched_masks: list[ImageFile] = field(default_factory=list)


def match_masks(images: Sequence[ImageFile], masks: Sequence[ImageFile], roles: Mapping[str, FolderRole]) -> Pairs:
    """Match images with masks. The first rule that matches any image is used.

    The rules in order: the same relative path; the same path with one folder of masks per class; the same name in any
    folder.

    Args:
        images: the image files.
        masks: the mask files.
        roles: folder → its role, for the folders of all files.

    Returns:
        The pairs. Images without a mask are not included.

    Raises:
        DataError: An image has two masks, or a mask has two images.
    """
    match = partial(_match, images, masks, roles, stem_keys=_STEM_KEYS)
    for mask_key, class_of in ((_all_folders, None), (_without_last, _last), (_without_first, _first)):
        matches, unmatched = match(_all_folders, mask_key)
        if matches:
            return _to_pairs(matches, unmatched, class_of, roles)
    matches, unmatched = match(_no_folders, _no_folders)
    if not matches:
        # A common ending of all images and of all masks (21_training, 21_manual1) is ignored only if each mask then has
        # its image.
        endings = [(_without_common_ending(images), _without_common_ending(masks))]
        matches, unmatched = _match(images, masks, roles, _all_folders, _all_folders, endings)
        if unmatched:
            return Pairs(unmatched_masks=list(masks))
    return _to_pairs(matches, unmatched, None, roles)


def _unchanged(stem: str) -> str:
    return stem


_STEM_KEYS: list[tuple[StemKey, StemKey]] = [
    (_unchanged, _unchanged),
    (partial(strip_role_words, role="images"), partial(strip_role_words, role="masks")),
]


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


def _match(
    images: Sequence[ImageFile],
    masks: Sequence[ImageFile],
    roles: Mapping[str, FolderRole],
    image_folder_key: FolderKey,
    mask_folder_key: FolderKey,
    stem_keys: Sequence[tuple[StemKey, StemKey]],
) -> tuple[dict[ImageFile, list[ImageFile]], list[ImageFile]]:
    """Return image → masks with the same key, and the unmatched masks. Each pair of stem keys is tried in turn."""
    both_have_splits = all(any(roles[file.folder].split for file in files) for files in (images, masks))

    def key(folder_key: FolderKey, stem_key: StemKey, file: ImageFile) -> Key:
        role = roles[file.folder]
        folders = folder_key(role.rest)
        return (
            None if folders is None else ((role.split or "") if both_have_splits else "", *folders, stem_key(file.stem))
        )

    matches: dict[ImageFile, list[ImageFile]] = defaultdict(list)
    unmatched = list(masks)
    for image_stem_key, mask_stem_key in stem_keys:
        if not unmatched:
            break
        images_by_key: dict[Key, list[ImageFile]] = defaultdict(list)
        for image in images:
            images_by_key[key(image_folder_key, image_stem_key, image)].append(image)
        remaining = []
        for mask in unmatched:
            mask_key = key(mask_folder_key, mask_stem_key, mask)
            candidates = images_by_key.get(mask_key, []) if mask_key is not None else []
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
    return matches, unmatched


def _to_pairs(
    matches: Mapping[ImageFile, Sequence[ImageFile]],
    unmatched: list[ImageFile],
    class_of: Callable[[tuple[str, ...]], str] | None,
    roles: Mapping[str, FolderRole],
) -> Pairs:
    """Check that each image has one mask, or one mask per class."""
    multilabel = class_of is not None and any(len({m.folder for m in masks}) > 1 for masks in matches.values())
    pairs = Pairs(unmatched_masks=unmatched)
    for image, masks in matches.items():
        if multilabel and class_of is not None:
            if len({roles[mask.folder].base for mask in masks}) > 1:
                _raise_ambiguous(image, masks, roles)
            by_class: dict[str, ImageFile] = {}
            for mask in masks:
                name = class_of(roles[mask.folder].rest)
                if name in by_class:
                    _raise_ambiguous(image, [by_class[name], mask], roles)
                by_class[name] = mask
            pairs.by_class[image] = by_class
        else:
            if len(masks) > 1:
                _raise_ambiguous(image, masks, roles)
            pairs.masks[image] = masks[0]
    return pairs


def _raise_ambiguous(image: ImageFile, masks: Sequence[ImageFile], roles: Mapping[str, FolderRole]) -> None:
    bases = sorted({roles[mask.folder].base for mask in masks})
    if len(bases) > 1:
        folders = " and ".join(f"{base}/" for base in bases)
        raise DataError(f"both {folders} have masks of the same images ({image}); move one of the folders away")
    raise DataError(f"{image}: has two masks ({abbreviate(masks)}); move one away")


def _without_common_ending(files: Sequence[ImageFile]) -> StemKey:
    """Return a function that removes the ending "_word" that all stems have in common, if they have one."""
    if len(files) < 2:
        return _unchanged
    first, last = min(file.stem[::-1] for file in files), max(file.stem[::-1] for file in files)
    end = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))[::-1]
    cut = min((index for index in map(end.find, "_-. ") if index >= 0), default=-1)
    if cut < 0 or not any(letter.isalpha() for letter in end[cut:]):
        return _unchanged
    return lambda stem: stem.removesuffix(end[cut:])
