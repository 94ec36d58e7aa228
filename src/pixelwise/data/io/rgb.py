"""Conversion of Pillow's images to upright RGB with 8 bits per channel."""

import numpy as np
from PIL import ExifTags, Image, ImageOps

from pixelwise.data.io.pixel_depth import to_8_bits

NUMBER_MODES = ("I", "F")
"""Pillow's modes of 32-bit integers and of floats."""

_BAND_PIXELS = 1 << 22
"""Maximum number of pixels that `rgb_array` converts at a time."""


def to_rgb(image: Image.Image, bit_depth: int = 16, pixel_range: tuple[float, float] | None = None) -> Image.Image:
    """Convert an image to upright RGB with 8 bits. Transparent pixels are blended with white.

    Args:
        image: an image in any mode.
        bit_depth: number of bits in use if the image has 16 bits a channel, see `read_image`.
        pixel_range: the values that become 0 and 255 in the modes "I" and "F", see `read_image`.

    Returns:
        The image in mode "RGB".

    Raises:
        DataError: The mode is "I" or "F", and `pixel_range` is None.
    """
    image = apply_exif_orientation(image)
    if image.mode in NUMBER_MODES or image.mode.startswith("I;16"):
        # Pillow's own conversion clips values above 255, so they would all become white.
        image = Image.fromarray(to_8_bits(np.asarray(image), bit_depth, pixel_range))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def rgb_array(image: Image.Image, bit_depth: int = 16, pixel_range: tuple[float, float] | None = None) -> np.ndarray:
    """Convert an image like `to_rgb`, and return an array. A large image is converted in bands of rows to save memory.

    Pillow uses four bytes for an RGB pixel, and its conversion to an array copies the pixels three times.

    Args:
        image, bit_depth, pixel_range: see `to_rgb`.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: See `to_rgb`.
    """
    image = apply_exif_orientation(image)
    if image.width * image.height <= _BAND_PIXELS:
        return np.array(to_rgb(image, bit_depth, pixel_range))
    array = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        band = image.crop((0, top, image.width, bottom))
        array[top:bottom] = np.asarray(to_rgb(band, bit_depth, pixel_range))
    return array


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Return an image rotated upright by its EXIF orientation. If it is stored upright, return the same object."""
    # Pillow's own function makes a copy of an upright image.
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)
