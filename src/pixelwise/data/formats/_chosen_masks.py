"""Matching of images with the mask files that the user has chosen by a glob pattern."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._filesystem import ImageFile, abbreviate
from pixelwise.data.formats._mask_patterns import fits_pattern
from pixelwise.data.formats._matches import Matches, Roles
from pixelwise.data.formats._pairing import match_masks
from pixelwise.data.formats._stems import extends_stem, has_mask_word
from pixelwise.errors import ConfigError, DataError


def match_chosen_masks(
    root: Path, files: Sequence[ImageFile], roles: Roles, pattern: str
) -> tuple[list[ImageFile], Matches]:
    """Match the files that fit a pattern, as masks, with the images among the other files.

    The images are the other files in folders with a name for images. If there are none, the images are all other files
    without a word for masks in the name of the file or of its folder.

    Args:
        root: the data set, for messages.
        files: all image files.
        roles: the roles of their folders.
        pattern: see `fits_pattern`.

    Returns:
        The images and the matches. Files whose names start with the name of an image, such as masks that were not
        chosen, are not among the images.

    Raises:
        ConfigError: No file fits the pattern.
        DataError: No image matches one of the files, or a file matches two images.
    """
    masks = [file for file in files if fits_pattern(file, pattern)]
    if not masks:
        raise ConfigError(
            f"`mask_files`: {pattern} fits no image file in {root}, for example not {abbreviate(files, 2)}"
        )
    others = [file for file in files if not fits_pattern(file, pattern)]
    images = [file for file in others if roles[file.folder].role == "images"]
    images = images or [file for file in others if roles[file.folder].role is None and not has_mask_word(file.stem)]
    matches = match_masks(images, masks, {**roles, **_mask_roles(masks, images, roles)})
    if not matches.masks:
        raise DataError(
            f"{root}: no image has the name of a file that fits `mask_files` {pattern}: images are "
            f"{abbreviate(images, 2) or 'missing'}, and masks {abbreviate(masks, 2)}"
        )
    stems = {(image.folder, image.stem) for image in matches.masks}
    return [image for image in images if image in matches.masks or not extends_stem(image, stems)], matches


def _mask_roles(masks: Sequence[ImageFile], images: Sequence[ImageFile], roles: Roles) -> Roles:
    """Return the roles of the chosen masks' folders. Their `rest` has only parts that paths of images have too."""
    shared = {part for image in images for part in roles[image.folder].rest}
    return {
        mask.folder: replace(roles[mask.folder], rest=tuple(part for part in mask.folder.split("/") if part in shared))
        for mask in masks
        if roles[mask.folder].role is None
    }
