"""Conversion of Pillow's images to upright RGB with 8 bits per channel."""

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from pixelwise.data.io.tiff import pillow_nodata
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.errors import DataError

NUMBER_MODES = ("I", "F")
"""Pillow's modes of 32-bit integers and of floats."""

UNSCALED = PixelScale()
"""The scale of images with 8 bits, or with 16 bits that are all in use."""

_BAND_PIXELS = 1 << 22
"""Maximum number of pixels that `rgb_array` converts at a time."""


def has_numbers(image: Image.Image) -> bool:
    """Return True if the pixels of an image have 16 or 32 bits: the modes "I", "F" and those that begin with "I;16"."""
    return image.mode in NUMBER_MODES or image.mode.startswith("I;16")


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright RGB with 8 bits. Transparent pixels are blended with white.

    Args:
        image: an image for which `has_numbers` is False. Pillow would make values above 255 white.

    Returns:
        The image in mode "RGB".

    Raises:
        DataError: See `check_palette`.
    """
    check_palette(image)
    image = apply_exif_orientation(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def check_palette(image: Image.Image) -> None:
    """Raise DataError if an image has palette indices and no palette. Pillow would make all its pixels black, or fail.

    Args:
        image: an image in any mode. One whose pixels were decoded has its palette.
    """
    image.load()
    if image.mode in ("P", "PA") and (image.palette is None or not image.palette.palette):
        raise DataError(
            "its palette is missing, so its pixels have no colors; save it again with its palette, or as RGB"
        )


def rgb_array(image: Image.Image, scale: PixelScale = UNSCALED) -> np.ndarray:
    """Convert an image in any mode like `to_rgb`, and return an array.

    A large image is converted in bands of rows to save memory. Pillow uses four bytes for an RGB pixel, and its
    conversion to an array copies the pixels three times.

    Args:
        image: an image in any mode.
        scale: the conversion of pixels with more than 8 bits, and of nodata values.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: The mode is "I" or "F", and `scale` has no range. Or see `check_palette`.
    """
    nodata = pillow_nodata(image)
    image = apply_exif_orientation(image)
    if image.width * image.height <= _BAND_PIXELS:
        return _scaled_rgb(image, scale, nodata)
    array = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        band = image.crop((0, top, image.width, bottom))
        array[top:bottom] = _scaled_rgb(band, scale, nodata)
    return array


def _scaled_rgb(image: Image.Image, scale: PixelScale, nodata: float | None) -> np.ndarray:
    """Return an upright image as (H, W, 3) uint8. `nodata` is the value that its file states."""
    if has_numbers(image):
        return np.repeat(scale.apply(np.asarray(image), nodata)[..., None], 3, axis=2)
    array = np.array(to_rgb(image))
    return scale.apply(array, nodata) if scale.band_ranges else array


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Return an image rotated upright by its EXIF orientation. If it is stored upright, return the same object."""
    # Pillow's own function makes a copy of an upright image.
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) in pixels of an opened image after its EXIF orientation, without decoding it."""
    # Pillow applies the orientation of a TIFF itself, to its size when it is opened.
    is_turned = not isinstance(image, TiffImageFile) and image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (image.width, image.height) if is_turned else (image.height, image.width)
