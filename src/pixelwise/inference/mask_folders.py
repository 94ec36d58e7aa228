"""Find masks among the files to predict: masks of a data set beside its images, and folders that only contain masks."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.formats._filesystem import ImageFile, Listing, list_images
from pixelwise.data.formats._folder_names import parse_folder_name
from pixelwise.data.formats._stems import has_mask_word, strip_role_words
from pixelwise.data.io.image import open_image
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX

_MAX_VALUES = 32
"""Maximum number of distinct values of a mask.

It is also the maximum value of the files in a folder that is treated as masks by its content alone. Photographs are
rarely that dark.
"""

_SAMPLES = 3
"""Number of files whose pixels are read."""


def find_masks(root: Path, listing: Listing) -> list[Path]:
    """Return the masks of a data set whose images are also in the listing.

    A file is a mask if its folder is named like masks and another folder is named like images, or if its name has a
    word for masks and the same folder has its image. In both cases, a sample of the files has few distinct values.

    Args:
        root: the folder.
        listing: its files.

    Returns:
        The paths of the masks.
    """
    by_folder: dict[str, list[ImageFile]] = defaultdict(list)
    for image in list_images(listing):
        by_folder[image.folder].append(image)
    roles = {folder: _role(folder) for folder in by_folder}
    groups: list[Sequence[ImageFile]] = []
    for folder, images in by_folder.items():
        if roles[folder] == "masks" and "images" in roles.values():
            groups.append(images)
        else:
            stems = {image.stem for image in images}
            groups.append(
                [each for each in images if has_mask_word(each.stem) and strip_role_words(each.stem, "masks") in stems]
            )
    paths = [[root / image.folder / image.name for image in group] for group in groups]
    return [path for group in paths if group and _all_like_masks(group) for path in group]


def check_no_masks(folder: Path, images: Sequence[Path]) -> None:
    """Check that a folder to predict does not contain masks.

    It contains masks if its name is a word for masks and a sample of its files has few distinct values. It also does if
    all values of the sample are small, as class indices are.

    Args:
        folder: the folder.
        images: its images.

    Raises:
        DataError: The folder contains masks. The message names the folder with images beside it, if there is one.
    """
    is_named = parse_folder_name(folder.absolute().name)[1] == "masks"
    if not images or not (_all_like_masks(images) if is_named else _all_like_indices(images)):
        return
    beside = next((path for path in _folders_beside(folder) if parse_folder_name(path.name)[1] == "images"), None)
    fix = f"predict {beside}" if beside else "predict a folder of images"
    raise DataError(
        f"{folder}: holds masks, not images; {fix}, or name the files to predict them nevertheless ('{folder}/*')"
    )


def _role(folder: str) -> str | None:
    """Return the role of a folder, "masks" or "images", from the last part of its path that names one. Else None."""
    roles = [parse_folder_name(part)[1] for part in folder.split("/")]
    return next((role for role in reversed(roles) if role), None)


def _folders_beside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.absolute().parent.iterdir() if path.is_dir())
    except OSError:
        return []


def _all_like_masks(paths: Sequence[Path]) -> bool:
    """Return True if each file of a sample has at most `_MAX_VALUES` distinct values or colors."""
    return all(_check(path, lambda image: image.getcolors(_MAX_VALUES) is not None) for path in _sample(paths))


def _all_like_indices(paths: Sequence[Path]) -> bool:
    """Return True if each file of a sample has one channel of values up to `_MAX_VALUES`, or 255 for "ignore".

    At least one value must be neither 0 nor 255, because black images and black-and-white scans have only these values.
    """
    maxima: list[int] = []

    def has_small_values(image: Image.Image) -> bool:
        if image.mode not in ("L", "P"):
            return False
        values = np.flatnonzero(np.bincount(np.asarray(image).ravel(), minlength=256))
        maxima.append(int(values[values != IGNORE_INDEX].max(initial=0)))
        return maxima[-1] <= _MAX_VALUES

    return all(_check(path, has_small_values) for path in _sample(paths)) and max(maxima) > 0


def _sample(paths: Sequence[Path]) -> list[Path]:
    return [paths[index * len(paths) // _SAMPLES] for index in range(min(_SAMPLES, len(paths)))]


def _check(path: Path, test: Callable[[Image.Image], bool]) -> bool:
    """Return the result of a test of an image, or False if the image cannot be read."""
    try:
        return open_image(path, test)
    except DataError:
        return False
