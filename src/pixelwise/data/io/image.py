"""Reading of image files. The content decides the format, and each error names the file."""

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pixelwise.data.io.heif import is_heif, open_heif
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.jpeg import is_cut, is_far_too_short
from pixelwise.data.io.rgb import UNSCALED, has_numbers, rgb_array, upright_size
from pixelwise.data.io.tiff import TIFF_SIGNATURES, TiffBands, decode_bands, is_plain_tiff, pillow_nodata
from pixelwise.data.io.unreadable_formats import unreadable_format
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError, first_line

T = TypeVar("T")


MAX_PIXELS = 178_956_970
"""Maximum number of pixels of an image. It equals Pillow's limit for decompression bombs.

A decompression bomb is a small file that unpacks to gigabytes. Pillow warns about images of more than half this size.
"""

MAX_SIDE = 1_000_000
"""Maximum length of a side in pixels. Resizing takes memory for each row and column, even if one side is short."""


_TOO_MANY = f"more than the maximum of {MAX_PIXELS:,}; save it as a TIFF with tiles, which is read in parts, or cut it"

_CUT = "truncated or corrupt (data is missing before its end mark); replace or remove it"


_LARGE_FILE_BYTES = 64 << 20
"""Size in bytes above which a local TIFF is not read into memory at once. Its pixels can be read in parts."""

_NUMBER_SUFFIXES = (".tif", ".tiff", ".png", ".pgm", ".pnm", ".ppm", ".jp2", ".j2k", ".jpx")
"""Suffixes of files whose pixels can have more than 8 bits."""


def is_special_file(source: object) -> bool:
    """Return True for a local path that exists and is not a regular file, but a folder, a device or a named pipe.

    Reading a named pipe would block forever.
    """
    return isinstance(source, Path) and source.exists() and not source.is_file()


def open_image(source: BytesSource, read: Callable[[Image.Image], T]) -> T:
    """Open an image file, call a function with the image, and return the result.

    Args:
        source: the file.
        read: the function. Its exceptions, except warnings, become a DataError with the name of the file.

    Returns:
        The result of `read`.

    Raises:
        DataError: The file is missing, truncated, not an image, or larger than `MAX_PIXELS` or `MAX_SIDE`, or a package
            that decodes it is not installed. The message names the file.
    """
    try:
        large = _large_tiff(source)
        content = b"" if large else read_content(source)
        if is_heif(content):
            return read(open_heif(content, MAX_PIXELS))
        with Image.open(large or io.BytesIO(content), formats=PILLOW_FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                size = f"{image.width}x{image.height} pixels"
                raise DataError(f"{size}: a side is longer than the maximum of {MAX_SIDE:,}; cut it into tiles")
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{image.width}x{image.height} pixels are {_TOO_MANY}")
            if isinstance(image, PngImageFile) and any(tile.extents != (0, 0, *image.size) for tile in image.tile):
                raise DataError("truncated or corrupt (its first frame has another size); replace or remove it")
            if not isinstance(image, JpegImageFile):
                return read(image)
            if is_far_too_short(content):
                raise DataError(_CUT)
            result = read(image)
            if not image.tile and is_cut(content, image):  # `read` has decoded all pixels
                raise DataError(_CUT)
            return result
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except PermissionError:
        raise DataError(f"{source}: cannot be read (permission denied); change its permissions or remove it") from None
    except UnidentifiedImageError:
        fault = unreadable_format(source.name) or "not an image that can be read; replace or remove it"
        raise DataError(f"{source}: {fault}") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{source}: its pixels are {_TOO_MANY}") from None
    except MemoryError:
        raise DataError(f"{source}: not enough memory to read it; cut it into tiles, or make it smaller") from None
    except Warning:  # the warning filters of the caller turn warnings into exceptions
        raise
    except Exception as error:  # Pillow's decoders raise many exception types for truncated and corrupt files
        raise DataError(f"{source}: truncated or corrupt ({first_line(error)}); replace or remove it") from None


def _large_tiff(source: BytesSource) -> Path | None:
    """Return the path of a local TIFF of more than `_LARGE_FILE_BYTES`, or None for any other source."""
    if not isinstance(source, Path) or not source.is_file() or source.stat().st_size <= _LARGE_FILE_BYTES:
        return None
    with source.open("rb") as file:
        return source if file.read(4) in TIFF_SIGNATURES else None


def read_content(source: BytesSource) -> bytes:
    """Read the bytes of a file.

    Raises:
        FileNotFoundError: There is no such file.
        PermissionError: The file may not be read.
        MemoryError: The file does not fit in memory.
        DataError: The file cannot be read for another reason. The message does not name it.
    """
    if is_special_file(source):
        raise DataError("not a file; replace or remove it")
    try:
        return source.read_bytes()
    except (DataError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # each protocol has its own exceptions, for example for network faults or wrong keys
        raise DataError(f"cannot be read ({first_line(error)})") from None


def read_image(
    source: BytesSource, channels: int = 3, scale: PixelScale = UNSCALED, min_size: int | None = None
) -> np.ndarray:
    """Read an image and rotate it upright by its EXIF orientation.

    The content determines the decoder. Suffixes can be wrong: Oxford-IIIT Pet has GIF and PNG files named .jpg.

    Args:
        source: the file.
        channels: 3 reads any image as RGB. Another number requires a TIFF with this many bands.
        scale: the conversion of pixels that do not have 8 bits, and of nodata values.
        min_size: if given, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, provided that no side becomes shorter than
            this number of pixels. This takes less time.

    Returns:
        (H, W, channels) uint8 in [0, 255].

    Raises:
        DataError: The file is missing, truncated or not an image, has another number of channels, or has pixels that
            need a range, which `scale` does not have. The message names the file.
    """
    return read_with_size(source, channels, scale, min_size)[0]


def read_with_size(
    source: BytesSource, channels: int = 3, scale: PixelScale = UNSCALED, min_size: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read an image. Return it with its original size.

    Args:
        source, channels, scale, min_size: see `read_image`.

    Returns:
        The array of `read_image`, and the (height, width) of the upright image in the file in pixels. With `min_size`,
        the array can be smaller.

    Raises:
        DataError: See `read_image`.
    """
    bands = read_bands(source) if channels != 3 or _is_tiff(source) else None
    if bands is not None or channels != 3:
        band_count = 3 if bands is None else bands.pixels.shape[2]
        if bands is None or band_count != channels:
            pages = "" if bands is None or bands.pages == 1 else " (its pages; save each page as a file)"
            raise DataError(
                f"{source}: has {band_count} channels{pages}, but the data set's other images have {channels}"
            )
        try:
            pixels = scale.apply(bands.pixels, bands.nodata, bands.masked)
            return pixels, (bands.pixels.shape[0], bands.pixels.shape[1])
        except DataError as error:
            raise DataError(f"{source}: {error}") from None

    def read(image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        size = upright_size(image)
        if min_size is not None:
            image.draft(None, (min_size, min_size))
        return rgb_array(image, scale), size

    return open_image(source, read)


def read_raw(source: BytesSource) -> TiffBands | None:
    """Read an image without conversion to 8 bits, if its file can have other pixels or a nodata value.

    Returns:
        The pixels as in the file, and the nodata value that it states. Gray pixels are repeated three times. None if
        the file has the suffix of a format that only has 8 bits, or if it has 8 bits and no nodata value.

    Raises:
        DataError: The image cannot be read.
    """
    if Path(source.name).suffix.lower() not in _NUMBER_SUFFIXES:
        return None

    def read(image: Image.Image) -> TiffBands | None:
        nodata = pillow_nodata(image)
        if has_numbers(image):
            return TiffBands(np.repeat(np.asarray(image)[:, :, None], 3, axis=2), nodata)
        return None if nodata is None else TiffBands(rgb_array(image), nodata)

    return read_bands(source) or open_image(source, read)


def count_channels(source: BytesSource) -> int:
    """Return the number of channels of an image.

    Returns:
        The number of bands of a multi-band TIFF. 3 for any other file, because it is read as RGB. Only files named .tif
        or .tiff are opened.

    Raises:
        DataError: A TIFF cannot be read.
    """
    bands = read_multiband_tiff(source) if _is_tiff(source) else None
    return 3 if bands is None else bands.shape[2]


def ignores_orientation(source: BytesSource, image: Image.Image) -> bool:
    """Return True if the bands of a TIFF are read as they are stored, see `read_bands`, and not rotated upright.

    Args:
        source: the image file.
        image: the same file, opened by Pillow. Its pixels are not decoded.
    """
    return _is_tiff(source) and isinstance(image, TiffImageFile) and not is_plain_tiff(image)


def _is_tiff(source: BytesSource) -> bool:
    """Return True if the suffix is that of a TIFF. A TIFF can have bands that Pillow cannot read."""
    return Path(source.name).suffix.lower() in (".tif", ".tiff")


def read_multiband_tiff(source: BytesSource) -> np.ndarray | None:
    """Read the pixels of a TIFF that Pillow cannot represent, see `read_bands`.

    Returns:
        (H, W, bands) integers or floats, or None for a file that Pillow reads.

    Raises:
        DataError: See `read_bands`.
    """
    bands = read_bands(source)
    return None if bands is None else bands.pixels


def read_bands(source: BytesSource) -> TiffBands | None:
    """Read a TIFF that Pillow cannot represent: several bands, except 8-bit colors with opacity, rare types, or a mask.

    Returns:
        Its pixels and its nodata value, or None for a file that Pillow reads.

    Raises:
        DataError: The file cannot be read, or the package tifffile is needed and not installed. The message names the
            file.
    """
    try:
        large = _large_tiff(source)
        content = b"" if large else read_content(source)
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    if not large and not content.startswith(TIFF_SIGNATURES):
        return None
    try:
        bands = decode_bands(large or io.BytesIO(content), MAX_PIXELS)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except ModuleNotFoundError:
        with suppress(DataError):  # Pillow cannot identify some files, for example with five bands
            if open_image(source, is_plain_tiff):
                return None
        raise DataError(f"{source}: reading its bands needs tifffile; pip install 'pixelwise[tiff]'") from None
    except Exception as error:  # tifffile raises many exception types for broken files and for missing codecs
        why = first_line(error)
        fix = "; pip install 'pixelwise[tiff]'" if "imagecodecs" in why else "; replace or remove it"
        raise DataError(f"{source}: its bands cannot be read ({why}){fix}") from None
    return bands
