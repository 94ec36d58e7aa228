"""Pairing of images and masks that are in the same folder, if no word such as "mask" marks all masks."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._folder_names import FolderRole
from pixelwise.data.formats._mask_labels import Pairs, to_pairs
from pixelwise.data.formats._matches import Matches
from pixelwise.data.formats._pairing import match_by_parts
from pixelwise.data.formats._stems import SEPARATORS, role_of_stem
from pixelwise.data.io.image import open_image
from pixelwise.errors import DataError

_LOSSY_SUFFIXES = frozenset({"jpg", "jpeg", "jpe", "jfif"})
"""File name suffixes of JPEG. Such files are images and not masks, because JPEG changes pixel values."""

_PEEKED_FILES = 5
"""Maximum number of pairs that are opened to compare their colors."""


def is_lossy_name(file: ImageFile) -> bool:
    """Return True if the suffix of a file is that of a JPEG. The file is not read."""
    return file.name.rpartition(".")[2].lower() in _LOSSY_SUFFIXES


def pair_in_one_folder(
    root: Path, files: Sequence[ImageFile], roles: Mapping[str, FolderRole], instances: bool = False
) -> tuple[list[ImageFile], Pairs] | None:
    """Find the masks that are in the same folder as their images, by the first rule that fits.

    1. There is a folder for each image, with image.png and mask.png in it.
    2. Two files differ only in the suffix: 1.jpg and 1.png. At least half of the names must have two files.
    3. The name of a mask starts with the name of its image: 1.jpg and 1_m.png. At least half of the images must have
       such a mask.

    Args:
        root: the root folder of the data set.
        files: all image files, including the masks.
        roles: the roles of their folders.
        instances: see `to_pairs`.

    Returns:
        The images, and the pairs of images and masks. None if no rule fits.

    Raises:
        DataError: It is ambiguous whether the masks of an image are one per class or one per object.
    """
    beside = {folder: replace(role, base=folder, rest=(folder,)) for folder, role in roles.items()}
    by_word = _split_by_word(files)
    if by_word is not None:
        images, masks = by_word
        matches = match_by_parts(images, masks, beside)
        if matches is not None:
            return images, to_pairs(matches, beside, instances)
    return _pair_by_suffix(root, files) or _pair_by_ending(files, beside, instances)


def _split_by_word(files: Sequence[ImageFile]) -> tuple[list[ImageFile], list[ImageFile]] | None:
    """Return the images and the masks if every folder that has masks also has exactly one image, else None.

    An image is named "image" or like its folder. At least two folders must have an image.
    """
    images: dict[str, ImageFile] = {}
    masks = []
    for file in files:
        role = role_of_stem(file.stem)
        if role == "masks":
            masks.append(file)
        elif role == "images" or file.stem == file.folder.rpartition("/")[2]:
            if file.folder in images:
                return None
            images[file.folder] = file
    folders = {mask.folder for mask in masks}
    return (list(images.values()), masks) if len(images) > 1 and folders and folders <= set(images) else None


def _pair_by_suffix(root: Path, files: Sequence[ImageFile]) -> tuple[list[ImageFile], Pairs] | None:
    """Pair files that have the same name and two different suffixes. Return None if this rule does not fit.

    If each pair has exactly one JPEG, this is the image. Otherwise the file with colors is the image.
    """
    by_stem: dict[tuple[str, str], list[ImageFile]] = defaultdict(list)
    for file in files:
        by_stem[file.folder, file.stem].append(file)
    twins = [each for each in by_stem.values() if len(each) > 1]
    if not twins or len(twins) < 0.5 * len(by_stem) or any(len(each) > 2 for each in twins):
        return None
    suffixes = Counter(tuple(sorted(file.name.rpartition(".")[2].lower() for file in each)) for each in twins)
    if len(suffixes) > 1:
        return None
    if [sum(map(is_lossy_name, each)) for each in twins] == [1] * len(twins):
        twins = [sorted(each, key=is_lossy_name, reverse=True) for each in twins]
    else:
        ordered = [_by_colors(root, each) for each in twins[:_PEEKED_FILES]]
        if None in ordered or len({each[0].name.rpartition(".")[2].lower() for each in ordered if each}) > 1:
            return None
        image_suffix = next(each[0].name.rpartition(".")[2].lower() for each in ordered if each)
        twins = [
            sorted(each, key=lambda file: file.name.lower().endswith(image_suffix), reverse=True) for each in twins
        ]
    matched = [(image, mask) for image, mask in twins]
    pairs = Pairs(masks=dict(matched))
    image, mask = matched[0]
    pairs.decisions.append(f"of two files with one name, the mask is {mask.name} and the image {image.name}")
    return [image for image, _ in matched] + [each[0] for each in by_stem.values() if len(each) == 1], pairs


def _by_colors(root: Path, files: Sequence[ImageFile]) -> list[ImageFile] | None:
    """Sort two files: first the one with colors, then the one with gray values or a palette.

    Return None if not exactly one file has colors, or if a file cannot be read.
    """

    def has_colors(image: Image.Image) -> bool:
        return len(image.getbands()) >= 3

    try:
        colored = [file for file in files if open_image(root / file.folder / file.name, has_colors)]
    except DataError:
        return None
    return [*colored, *(file for file in files if file not in colored)] if len(colored) == 1 else None


def _pair_by_ending(
    files: Sequence[ImageFile], roles: Mapping[str, FolderRole], instances: bool
) -> tuple[list[ImageFile], Pairs] | None:
    """Pair each image with the files whose names start with its name: 1.jpg with 1_m.png.

    Return None if this rule does not fit, for example if a mask would be a JPEG.
    """
    stems = {(file.folder, file.stem): file for file in files}
    images, matches = [], Matches()
    for file in files:
        image, label = _base_of(file, stems)
        if image is None:
            images.append(file)
        elif is_lossy_name(file) or not any(letter.isalpha() for letter in label):
            return None
        else:
            matches.masks.setdefault(image, []).append(file)
            matches.labels[file] = label
    if len(matches.masks) < max(1, 0.5 * len(images)):
        return None
    pairs = to_pairs(matches, roles, instances)
    labels = sorted(set(matches.labels.values()))
    if len(labels) == 1:
        image, (mask, *_) = next(iter(matches.masks.items()))
        pairs.decisions.append(f"names that end in {labels[0]} are taken for masks: {mask.name} of {image.name}")
    return images, pairs


def _base_of(file: ImageFile, stems: Mapping[tuple[str, str], ImageFile]) -> tuple[ImageFile | None, str]:
    """Return the file with the longest name with which the name of `file` starts, and the rest of that name.

    The rest begins after a separator, such as "m" in 1_m.png. Return None and "" if there is no such file.
    """
    cuts = [index for index, letter in enumerate(file.stem) if letter in SEPARATORS]
    for cut in reversed(cuts):
        base = stems.get((file.folder, file.stem[:cut]))
        if base is not None:
            return base, file.stem[cut:].strip(SEPARATORS)
    return None, ""
