"""Decode TIFF files whose bands Pillow cannot represent, with the package tifffile."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from pixelwise.data.pixel_scale import parse_nodata
from pixelwise.errors import DataError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

NODATA_TAG = 42113
"""The TIFF tag GDAL_NODATA. Its value is a number as text."""

_MASK_BIT = 4
"""The bit of the TIFF tag NewSubfileType of a page that is the mask of another page."""

_COLOR_SPACES = (3, 5, 6, 8)
"""Values of the TIFF tag PhotometricInterpretation for palette, CMYK, YCbCr and L*a*b*. Their bands are colors."""


_GRAY_TYPES = ("bool", "uint8", "uint16", "int16", "int32", "float32")
"""NumPy types of a single band that Pillow reads."""


class TiffBands(NamedTuple):
    """The pixels of an image file without conversion to 8 bits.

    Attributes:
        pixels: (H, W, bands) integers or floats.
        nodata: the value of the tag GDAL_NODATA, or None.
        pages: number of pages whose pixels are the bands. 1 if all bands are in one page.
        masked: (H, W), True for the nodata pixels of the file's internal mask, see `internal_mask`. None without one.
    """

    pixels: np.ndarray
    nodata: float | None = None
    pages: int = 1
    masked: npt.NDArray[np.bool_] | None = None


def internal_mask(tiff: "TiffFile") -> "TiffPage | None":
    """Return the page with the internal mask of a TIFF file, or None if there is none.

    GDAL writes such a mask for files whose pixels have no free value for nodata, such as orthophotos with JPEG
    compression: a page of the size of the first one, with the bit 4 in the tag NewSubfileType. Its pixels are 0 for
    nodata. Files with a palette have none, because their pixels become colors.
    """
    first = tiff.pages.first
    size = first.imagelength, first.imagewidth
    if first.photometric == _COLOR_SPACES[0]:
        return None
    for page in tiff.pages[1:]:
        page = page.aspage()
        is_mask = page.subfiletype & _MASK_BIT and page.samplesperpixel == 1
        if is_mask and (page.imagelength, page.imagewidth) == size:
            return page
    return None


def pillow_nodata(image: Image.Image) -> float | None:
    """Return the value of the tag GDAL_NODATA of an opened image.

    A conversion or rotation of the image loses its tags, so call this function before.

    Returns:
        The value. None for other files, for files without the tag, and for images with a palette, whose pixels become
        colors.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or image.mode == "P":
        return None
    return parse_nodata(image.tag_v2.get(NODATA_TAG))


def is_plain_tiff(image: Image.Image) -> bool:
    """Return True if Pillow reads all bands of a TIFF.

    This is a TIFF of one page that has one band, or 8-bit colors with or without opacity.
    """
    if getattr(image, "n_frames", 1) != 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    opacity = sum(kind in (1, 2) for kind in tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
    is_color = bands - opacity in (1, 3) or tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in _COLOR_SPACES
    return bands == 1 or (is_color and set(tags.get(TiffImagePlugin.BITSPERSAMPLE, ())) == {8})


def decode_bands(file: Path | BinaryIO, max_pixels: int) -> TiffBands | None:
    """Decode a TIFF that Pillow cannot represent.

    Such a file has several bands that are not 8-bit colors, several pages, an internal mask, or a number type that
    Pillow does not read.

    Args:
        file: the file.
        max_pixels: maximum number of pixels. All bands together may have three times as many values.

    Returns:
        The bands. A single band is repeated three times. If the file has several pages of one band and of one size,
        its pages are the bands. None for a file that Pillow reads.

    Raises:
        DataError: The file is not an image with bands of integers or floats, or is too large.
        ModuleNotFoundError: tifffile is not installed.
        Exception: Any exception of tifffile for a damaged file or a missing codec.
    """
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        len(tiff.pages)  # raises an error if the links between pages form a cycle, on which `series` would not end
        series = tiff.series[0]
        page = tiff.pages.first
        opacity = sum(kind in (1, 2) for kind in page.extrasamples)
        is_color = page.samplesperpixel - opacity in (1, 3) or page.photometric in _COLOR_SPACES
        mask = internal_mask(tiff)
        is_gray = len(series.shape) == 2 and series.dtype.name in _GRAY_TYPES
        if mask is None and (is_gray or (len(tiff.pages) == 1 and is_color and series.dtype == np.uint8)):
            return None
        if np.prod(series.shape) > max_pixels * 3:
            raise DataError(f"its shape {series.shape} is larger than the maximum of {max_pixels:,} pixels")
        pages, nodata = len(series.pages), None
        if NODATA_TAG in page.tags:
            nodata = parse_nodata(page.tags[NODATA_TAG].value)
        if pages > 1 and len(series.shape) > 3:
            raise DataError(f"has {pages} pages of several bands; save each page as a file")
        pixels, masked = series.asarray(), None if mask is None else mask.asarray() == 0
    if pixels.ndim == 2:  # one band, read like a gray image in RGB
        pixels = np.repeat(pixels[:, :, None], 3, 2)
    if pixels.ndim != 3 or pixels.dtype.kind not in "uif":
        raise DataError(f"{pixels.dtype} of shape {pixels.shape}; bands must be (H, W, N) of integers or floats")
    if "X" in series.axes and series.axes.index("X") == 2:  # the first axis is that of the bands
        pixels = np.moveaxis(pixels, 0, 2)
    return TiffBands(np.ascontiguousarray(pixels), nodata, pages, masked)
