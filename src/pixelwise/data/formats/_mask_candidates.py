"""Folders of masks that match the same images: the same labels in other colors, photographs, or a question."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._mask_labels import several_folders
from pixelwise.data.io.image import open_image
from pixelwise.data.io.mask_values import ValueKind, mask_values, value_kind
from pixelwise.errors import DataError

Folders = Mapping[str, Mapping[ImageFile, ImageFile]]
"""Folder of masks → image → its mask there."""

SAMPLED_IMAGES = 8
"""Number of images whose masks are compared."""

MAX_MASK_VALUES = 100
"""An image with more different values is a photograph, a depth map or a probability map, not a mask."""


def choose_folder(root: Path, folders: Folders) -> tuple[str, list[str]]:
    """Choose one of several folders that have masks of the same images. Some masks of each are read.

    A folder is left out if its images have too many values for masks, or if they have the same regions as those of
    another folder next to it, in other colors. Of two such folders, the one with gray values or palettes is used.

    Args:
        root: the data set.
        folders: two candidates or more. The first is preferred if nothing else decides.

    Returns:
        The name of the folder to use, and one line per folder left out.

    Raises:
        DataError: More than one folder is left, or a mask cannot be read.
    """
    names = list(folders)
    images = [image for image in folders[names[0]] if all(image in masks for masks in folders.values())]
    sample = images[:: max(1, len(images) // SAMPLED_IMAGES)][:SAMPLED_IMAGES]
    example = sample[0] if sample else next(iter(folders[names[0]]))
    try:
        values = {name: [_read(root, folders[name][image]) for image in sample] for name in names}
    except DataError:
        raise DataError(several_folders(sorted(names), example)) from None
    decisions = []
    for name in names:
        count = len(np.unique(np.concatenate([pixels.ravel() for _, pixels in values[name]]))) if sample else 0
        if count > MAX_MASK_VALUES and len(values) > 1:
            decisions.append(f"{name}/ is left out: its images have too many values for masks")
            del values[name]
    if not sample:
        raise DataError(several_folders(sorted(names), example))
    left = sorted(values, key=lambda name: any(kind == "rgb" for kind, _ in values[name]))
    for name in left[1:]:
        if not (_are_siblings(left[0], name) and _same_regions(values[left[0]], values[name])):
            raise DataError(several_folders(sorted(left), example))
        decisions.append(f"{name}/ is left out: it has the same labels as {left[0]}/ in other colors")
    return left[0], decisions


def is_one_file_per_class(root: Path, folders: Folders) -> bool:
    """Return True if the masks of each folder have two values, or three with 255. Files that cannot be read count not.

    Args:
        root: the data set.
        folders: folders with one mask each for the same images.
    """
    for masks in folders.values():
        for mask in list(masks.values())[:: max(1, len(masks) // 3)][:3]:
            try:
                kind, pixels = _read(root, mask)
            except DataError:
                continue
            unique = np.unique(pixels)
            is_noisy_pair = len(unique) > 3 and ((unique <= 64) | (unique >= 191)).all()
            if kind == "rgb" or (len(unique) > 3 and not is_noisy_pair):
                return False
    return True


def _are_siblings(first: str, second: str) -> bool:
    parents = {name.split("/ + ")[0].rpartition("/")[0] for name in (first, second)}
    return len(parents) == 1


def _read(root: Path, mask: ImageFile) -> tuple[ValueKind, np.ndarray]:
    def read(image: Image.Image) -> tuple[ValueKind, np.ndarray]:
        kind = value_kind(image)
        return kind, mask_values(image, kind)

    return open_image(root / mask.folder / mask.name, read)


def _same_regions(
    first: Sequence[tuple[ValueKind, np.ndarray]], second: Sequence[tuple[ValueKind, np.ndarray]]
) -> bool:
    """Return True if each value of the first masks stands for one value of the second, and the reverse."""
    pairs: set[tuple[int, int]] = set()
    for (_, a), (_, b) in zip(first, second, strict=True):
        if a.shape != b.shape:
            return False
        codes = np.unique(a.astype(np.int64).ravel() << 24 | b.astype(np.int64).ravel())
        pairs |= {(int(code) >> 24, int(code) & 0xFFFFFF) for code in codes}
    return len(pairs) > 1 and len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
