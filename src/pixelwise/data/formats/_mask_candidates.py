"""Selection of one folder of masks if several match the same images, by a comparison of the files."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.formats._filesystem import ImageFile
from pixelwise.data.formats._mask_patterns import several_folders
from pixelwise.data.io.image import open_image
from pixelwise.data.io.mask_values import ValueKind, mask_values, value_kind
from pixelwise.data.io.rgb import apply_exif_orientation
from pixelwise.errors import AmbiguousDataError, DataError

Folders = Mapping[str, Mapping[ImageFile, ImageFile]]
"""Folder of masks → image → mask of the image in this folder."""

SAMPLED_IMAGES = 8
"""Maximum number of images whose masks are compared."""

MAX_SAMPLED_PIXELS = 1 << 22
"""Maximum number of pixels of a file that are compared. Of a larger file, evenly spaced rows and columns are."""

MAX_NOISE = 64
"""Maximum distance from 0 or 255 of values that JPEG compression has changed in a mask of these two values."""

MAX_MASK_VALUES = 100
"""Maximum number of distinct values in masks. More are those of photographs, depth maps or probability maps."""


def choose_folder(root: Path, folders: Folders) -> tuple[str, list[str]]:
    """Choose one of several folders that have masks of the same images.

    The masks of at most `SAMPLED_IMAGES` images are read. A folder is left out in three cases:

    - Its files have too many distinct values for masks.
    - Its masks have the same regions, in other colors, as those of another folder in the same parent folder. The
      folder with gray values or palettes is kept.
    - It numbers the objects of another folder (SegmentationObject, instances).

    Args:
        root: the data set.
        folders: two or more candidates. The first is preferred if no other rule decides.

    Returns:
        The name of the folder to use, and one line per folder left out.

    Raises:
        AmbiguousDataError: More than one folder is left, no image has a mask in all folders, or a mask cannot be read.
    """
    names = list(folders)

    def question(names: Iterable[str]) -> AmbiguousDataError:
        return several_folders({name: list(folders[name].values()) for name in sorted(names)}, example)

    images = [image for image in folders[names[0]] if all(image in masks for masks in folders.values())]
    sample = images[:: max(1, len(images) // SAMPLED_IMAGES)][:SAMPLED_IMAGES]
    example = sample[0] if sample else next(iter(folders[names[0]]))
    try:
        values = {name: [_read(root, folders[name][image]) for image in sample] for name in names}
    except DataError:
        raise question(names) from None
    decisions = []
    for name in names:
        if len(values) > 1 and _are_photographs([pixels for _, pixels in values[name]]):
            decisions.append(f"{name}/ is left out: its images have too many values for masks")
            del values[name]
    if not sample:
        raise question(names)
    left = sorted(values, key=lambda name: (_names_objects(name), any(kind == "rgb" for kind, _ in values[name])))
    for name in left[1:]:
        if _names_objects(name) and not _names_objects(left[0]) and _refines(values[left[0]], values[name]):
            decisions.append(f"{name}/ is left out: it numbers the objects of {left[0]}/")
            continue
        if not (_are_siblings(left[0], name) and _same_regions(values[left[0]], values[name])):
            raise question(left)
        decisions.append(f"{name}/ is left out: it has the same labels as {left[0]}/ in other colors")
    return left[0], decisions


def is_one_file_per_class(root: Path, folders: Folders) -> bool:
    """Return True if the masks of each folder can be those of a single class.

    At most three masks per folder are read, and unreadable ones are skipped. A mask of a single class has no colors. It
    has at most three distinct values, or 0 and 255 with noise up to `MAX_NOISE`.

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
            is_noisy_pair = len(unique) > 3 and ((unique <= MAX_NOISE) | (unique >= 255 - MAX_NOISE)).all()
            if kind == "rgb" or (len(unique) > 3 and not is_noisy_pair):
                return False
    return True


def are_masks(root: Path, files: Sequence[ImageFile]) -> bool:
    """Return True if the values in a sample of the files can be those of masks.

    Args:
        root: the data set.
        files: image files. At most `SAMPLED_IMAGES` of them are read.

    Returns:
        False if the sample has too many distinct values, if one of its files cannot be read, or if there are no files.
    """
    try:
        sample = [_read(root, file)[1] for file in files[:: max(1, len(files) // SAMPLED_IMAGES)][:SAMPLED_IMAGES]]
    except DataError:
        return False
    return bool(sample) and not _are_photographs(sample)


def _are_photographs(sample: Sequence[np.ndarray]) -> bool:
    """Return True if the images have too many distinct values for masks.

    Together they have more than `MAX_MASK_VALUES`, and over 2% of the pixels are not within `MAX_NOISE` of 0 or 255.
    """
    if not sample:
        return False
    values, counts = np.unique(np.concatenate([pixels.ravel() for pixels in sample]), return_counts=True)
    if len(values) <= MAX_MASK_VALUES:
        return False
    near = (values <= MAX_NOISE) | ((values >= 255 - MAX_NOISE) & (values <= 255))
    return bool(counts[near].sum() < 0.98 * counts.sum())


def _names_objects(name: str) -> bool:
    return re.search(r"object|instance|panoptic", name.casefold()) is not None


def _refines(first: Sequence[tuple[ValueKind, np.ndarray]], second: Sequence[tuple[ValueKind, np.ndarray]]) -> bool:
    """Return True if the second masks subdivide the regions of the first.

    In each image, all pixels with the same value in the second mask have the same value in the first.
    """
    pairs = zip(first, second, strict=True)
    return all(a.shape == b.shape and len(np.unique(_codes(a, b))) == len(np.unique(b)) for (_, a), (_, b) in pairs)


def _codes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return one number per pixel for the values of two masks."""
    return first.astype(np.int64).ravel() << 24 | second.astype(np.int64).ravel()


def _are_siblings(first: str, second: str) -> bool:
    parents = {name.split("/ + ")[0].rpartition("/")[0] for name in (first, second)}
    return len(parents) == 1


def _read(root: Path, mask: ImageFile) -> tuple[ValueKind, np.ndarray]:
    """Return the type of value of a file, and the values of at most `MAX_SAMPLED_PIXELS` of its pixels."""

    def read(image: Image.Image) -> tuple[ValueKind, np.ndarray]:
        step = math.ceil(math.sqrt(image.width * image.height / MAX_SAMPLED_PIXELS))
        if step > 1:
            size = max(1, image.width // step), max(1, image.height // step)
            image = apply_exif_orientation(image).resize(size, Image.Resampling.NEAREST)
        kind = value_kind(image)
        return kind, mask_values(image, kind)

    return open_image(root / mask.folder / mask.name, read)


def _same_regions(
    first: Sequence[tuple[ValueKind, np.ndarray]], second: Sequence[tuple[ValueKind, np.ndarray]]
) -> bool:
    """Return True if the values of the first masks correspond one to one to those of the second, over all images."""
    pairs: set[tuple[int, int]] = set()
    for (_, a), (_, b) in zip(first, second, strict=True):
        if a.shape != b.shape:
            return False
        pairs |= {(int(code) >> 24, int(code) & 0xFFFFFF) for code in np.unique(_codes(a, b))}
    return len(pairs) > 1 and len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
