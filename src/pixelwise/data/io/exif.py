"""EXIF orientation of images, and the rotation of masks that were drawn on the stored pixels."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from pixelwise.data.io.image import ignores_orientation, is_special_file, read_content
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.rgb import upright_size
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError

MaskOrientation = Literal["upright", "stored", "unknown"]
"""The orientation of a mask, derived from its size: that of the upright image, or that of the image's stored pixels.
"unknown" if both have the same size."""

_SEARCHED_BYTES = 1024
"""The EXIF block of a JPEG begins within this many bytes."""


def exif_orientation(source: BytesSource) -> int:
    """Read the EXIF orientation of an image.

    Args:
        source: the image file.

    Returns:
        1 (upright) to 8, as in the EXIF standard. 1 if the file has no orientation, if its pixels are read as they are
        stored (see `ignores_orientation`), or if it cannot be read.
    """
    try:
        if isinstance(source, Path) and is_special_file(source):
            return 1
        # Of a local file, Pillow reads the header only.
        file = source if isinstance(source, Path) else io.BytesIO(read_content(source))
        with Image.open(file, formats=PILLOW_FORMATS) as image:
            return 1 if ignores_orientation(source, image) else image_orientation(image)
    except (DataError, OSError, SyntaxError, ValueError):
        return 1  # the error is raised when the pixels are read


def image_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8. 1 if it has none."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(1, 9) else 1


def find_mask_orientation(image: BytesSource, mask_size: tuple[int, int]) -> MaskOrientation | None:
    """Determine the orientation of a mask from its size and from the header of its image.

    Args:
        image: the image of the mask.
        mask_size: (height, width) of the mask in pixels.

    Returns:
        The orientation. None if the image is stored upright, is not a local JPEG file, cannot be read, or has another
        size in both orientations.
    """
    if not isinstance(image, Path) or is_special_file(image):
        return None
    try:
        with image.open("rb") as file:
            start = file.read(_SEARCHED_BYTES)
            if not start.startswith(b"\xff\xd8") or b"Exif" not in start:
                return None
            file.seek(0)
            with Image.open(file, formats=("JPEG",)) as opened:
                orientation = image_orientation(opened)
                upright = upright_size(opened)
    except (OSError, SyntaxError, ValueError):
        return None
    return None if orientation == 1 else mask_orientation(orientation, upright, mask_size)


def stored_size(orientation: int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of an image's stored pixels.

    Args:
        orientation: EXIF orientation, 1 to 8. 5 to 8 exchange height and width.
        size: (height, width) of the upright image in pixels.

    >>> stored_size(6, (96, 72))
    (72, 96)
    """
    return (size[1], size[0]) if orientation >= 5 else size


def mask_orientation(orientation: int, size: tuple[int, int], mask_size: tuple[int, int]) -> MaskOrientation | None:
    """Determine the orientation of a mask from its size and the size of its image.

    Args:
        orientation: EXIF orientation of the image, 2 to 8.
        size: (height, width) of the upright image in pixels.
        mask_size: (height, width) of the mask in pixels.

    Returns:
        The orientation. None if the mask has neither the size of the upright image nor that of the stored pixels.

    >>> mask_orientation(6, (96, 72), (72, 96)), mask_orientation(3, (96, 72), (96, 72))
    ('stored', 'unknown')
    """
    fits = mask_size == size, mask_size == stored_size(orientation, size)
    answers: dict[tuple[bool, bool], MaskOrientation] = {
        (True, True): "unknown",
        (True, False): "upright",
        (False, True): "stored",
    }
    return answers.get(fits)


def rotate_upright(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror a mask as the EXIF orientation rotates and mirrors its image.

    Args:
        mask: (…, H, W), in the orientation of the image's stored pixels.
        orientation: EXIF orientation of the image, 1 to 8.

    Returns:
        The upright mask, (…, H, W), or (…, W, H) if the orientation is 5 to 8.

    >>> rotate_upright(np.array([[1, 2], [3, 4]]), 6).tolist()
    [[3, 1], [4, 2]]
    """
    if orientation >= 5:
        mask = np.swapaxes(mask, -1, -2)
    return np.ascontiguousarray(_flip(mask, orientation))


def rotate_as_stored(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror an upright mask to the orientation of the image's stored pixels. Inverse of `rotate_upright`.

    Args:
        mask: (…, H, W), upright.
        orientation: EXIF orientation of the image, 1 to 8.

    Returns:
        The mask of the stored pixels, (…, H, W), or (…, W, H) if the orientation is 5 to 8.

    >>> rotate_as_stored(np.array([[3, 1], [4, 2]]), 6).tolist()
    [[1, 2], [3, 4]]
    """
    mask = _flip(mask, orientation)
    return np.ascontiguousarray(np.swapaxes(mask, -1, -2) if orientation >= 5 else mask)


def _flip(mask: np.ndarray, orientation: int) -> np.ndarray:
    """Mirror the rows and columns of an upright mask if the EXIF orientation requires it."""
    if orientation in (3, 4, 7, 8):
        mask = np.flip(mask, -2)
    if orientation in (2, 3, 6, 7):
        mask = np.flip(mask, -1)
    return mask
