"""Bands of TIFF files that Pillow cannot represent, read by tifffile."""

import io

import numpy as np
from PIL import Image, TiffImagePlugin

from pixelwise.errors import DataError

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_COLOR_SPACES = (3, 5, 6, 8)
"""TIFF's numbers for palettes, CMYK, YCbCr and L*a*b*, whose bands are colors."""


_GRAY_TYPES = ("bool", "uint8", "uint16", "int16", "int32", "float32")
"""Types of a single band that Pillow reads."""


def is_plain_tiff(image: Image.Image) -> bool:
    """Return True if Pillow reads all bands of a TIFF: one page with one band, or with 8-bit colors and opacity."""
    if getattr(image, "n_frames", 1) != 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    opacity = sum(kind in (1, 2) for kind in tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
    is_color = bands - opacity in (1, 3) or tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in _COLOR_SPACES
    return bands == 1 or (is_color and set(tags.get(TiffImagePlugin.BITSPERSAMPLE, ())) == {8})


def decode_bands(content: bytes, max_pixels: int) -> np.ndarray | None:
    """Decode a TIFF that Pillow cannot represent: several bands, except 8-bit colors with opacity, or rare types.

    Args:
        content: the file's content.
        max_pixels: maximum number of pixels, times three for the values of all bands.

    Returns:
        (H, W, bands) of integers or floats, or None for a file that Pillow reads.

    Raises:
        DataError: The file has another shape, or is too large.
        Exception: Any other of tifffile's for a damaged file or a missing codec.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        len(tiff.pages)  # raises for pages that link in a circle, which `series` would follow forever
        series = tiff.series[0]
        page = tiff.pages.first
        opacity = sum(kind in (1, 2) for kind in page.extrasamples)
        is_color = page.samplesperpixel - opacity in (1, 3) or page.photometric in _COLOR_SPACES
        if (len(series.shape) == 2 and series.dtype.name in _GRAY_TYPES) or (
            len(tiff.pages) == 1 and is_color and series.dtype == np.uint8
        ):
            return None
        if np.prod(series.shape) > max_pixels * 3:
            raise DataError(f"its shape {series.shape} is larger than the maximum of {max_pixels:,} pixels")
        pixels = series.asarray()
    if pixels.ndim == 2:  # gray, read as RGB
        pixels = np.repeat(pixels[:, :, None], 3, 2)
    if pixels.ndim != 3 or pixels.dtype.kind not in "uif":
        raise DataError(f"{pixels.dtype} of shape {pixels.shape}; bands must be (H, W, N) of integers or floats")
    if "X" in series.axes and series.axes.index("X") == 2:  # bands are stored one after the other
        pixels = np.moveaxis(pixels, 0, 2)
    return np.ascontiguousarray(pixels)
