"""Reading of image files by content, with errors that name the file."""

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from pixelwise.data.io.heif import is_heif, open_heif
from pixelwise.data.io.image_formats import PILLOW_FORMATS
from pixelwise.data.io.jpeg import is_cut, is_far_too_short
from pixelwise.data.io.pixel_depth import to_8_bits, value_range
from pixelwise.data.io.tiff import TIFF_SIGNATURES, decode_bands, is_plain_tiff
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError, first_line

T = TypeVar("T")


MAX_PIXELS = 178_956_970
"""Maximum number of pixels of an image: Pillow's limit for decompression bombs, small files that unpack to gigabytes.

Pillow itself only warns from half of this limit.
"""

MAX_SIDE = 1_000_000
"""Maximum number of pixels of a side. Resizing takes memory for each row and column, whatever the other side."""


_CUT = "truncated or corrupt (data is missing before its end mark); replace or remove it"


NUMBER_MODES = ("I", "F")
"""Pillow's modes of signed or wide integers, and of floats."""

_NUMBER_SUFFIXES = (".tif", ".tiff", ".pgm", ".pnm", ".ppm")
"""Suffixes of files that can have pixels in these modes."""


def is_special_file(source: object) -> bool:
    """Return True for a local path that exists and is not a file: a folder, a device or a named pipe.

    Reading a named pipe would block forever.
    """
    return isinstance(source, Path) and source.exists() and not source.is_file()


def open_image(source: BytesSource, read: Callable[[Image.Image], T]) -> T:
    """Open an image file and return what a function reads from it.

    Args:
        source: the file.
        read: called with the open image. A DataError or any other exception that it raises gets the file's name.

    Returns:
        The result of `read`.

    Raises:
        DataError: The file is missing, truncated, not an image, or larger than `MAX_PIXELS`. The message names it.
            Or a package that decodes it is not installed.
    """
    try:
        content = read_content(source)
        if is_heif(content):
            return read(open_heif(content, MAX_PIXELS))
        with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
            if max(image.size) > MAX_SIDE:
                size = f"{image.width}x{image.height} pixels"
                raise DataError(f"{size}: a side is longer than the maximum of {MAX_SIDE:,}; cut it into tiles")
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height} pixels"
                raise DataError(f"{size} are more than the maximum of {MAX_PIXELS:,}; cut it into tiles")
            if not isinstance(image, JpegImageFile):
                return read(image)
            if is_far_too_short(content):
                raise DataError(_CUT)
            result = read(image)
            if not image.tile and is_cut(content, image):  # there is no tile left to decode
                raise DataError(_CUT)
            return result
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except PermissionError:
        raise DataError(f"{source}: cannot be read (permission denied); change its permissions or remove it") from None
    except UnidentifiedImageError:
        raise DataError(f"{source}: not an image that can be read; replace or remove it") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except MemoryError:
        raise DataError(f"{source}: not enough memory to read it; cut it into tiles, or make it smaller") from None
    except Warning:  # the caller's warning filters turn it into an exception
        raise
    except Exception as error:  # Pillow's decoders raise many exception types for truncated and corrupt files
        raise DataError(f"{source}: truncated or corrupt ({first_line(error)}); replace or remove it") from None


def read_content(source: BytesSource) -> bytes:
    """Read the bytes of a file. Raises FileNotFoundError, PermissionError, or DataError without the file's name."""
    if is_special_file(source):
        raise DataError("not a file; replace or remove it")
    try:
        return source.read_bytes()
    except (DataError, FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # each protocol has its own exceptions, for example for the network or for keys
        raise DataError(f"cannot be read ({first_line(error)})") from None


def read_image(
    source: BytesSource,
    channels: int = 3,
    bit_depth: int = 16,
    min_size: int | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """Read an image, upright by its EXIF orientation.

    The content decides the decoder and not the suffix: Oxford-IIIT Pet has GIF and PNG files named .jpg.

    Args:
        source: the file.
        channels: 3 reads any image as RGB. Another number requires a TIFF with this many bands.
        bit_depth: number of bits in use, 8 to 16, if the file has 16 bits a channel. Pixels are shifted right by
            `bit_depth` − 8.
        min_size: if given, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which takes less time, as long as no side
            becomes shorter than this many pixels.
        pixel_range: the values that become 0 and 255 in images of floats, of signed integers or of 32 bits. Values
            outside are clipped, and NaN becomes 0.

    Returns:
        (H, W, channels) uint8 in [0, 255].

    Raises:
        DataError: The file is missing, truncated, not an image, or has other channels, or its pixels need a range. The
            message names it.
    """
    return read_with_size(source, channels, bit_depth, min_size, pixel_range)[0]


def read_with_size(
    source: BytesSource,
    channels: int = 3,
    bit_depth: int = 16,
    min_size: int | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read an image, and return its original size too.

    Args:
        source, channels, bit_depth, min_size, pixel_range: see `read_image`.

    Returns:
        The image, and the (height, width) in pixels of the upright image on disk, which differs from the array's if
        `min_size` is given.
    """
    bands = read_multiband_tiff(source) if channels != 3 or _is_tiff(source) else None
    if bands is not None or channels != 3:
        band_count = 3 if bands is None else bands.shape[2]
        if bands is None or band_count != channels:
            raise DataError(f"{source}: has {band_count} channels, but the data set's other images have {channels}")
        try:
            return to_8_bits(bands, bit_depth, pixel_range), (bands.shape[0], bands.shape[1])
        except DataError as error:
            raise DataError(f"{source}: {error}") from None

    def read(image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        size = (image.width, image.height) if is_turned else (image.height, image.width)
        if min_size is not None:
            image.draft(None, (min_size, min_size))
        return np.array(to_rgb(image, bit_depth, pixel_range)), size

    return open_image(source, read)


def to_rgb(image: Image.Image, bit_depth: int = 16, pixel_range: tuple[float, float] | None = None) -> Image.Image:
    """Convert an image to upright RGB with 8 bits. Transparent pixels are blended with white.

    Args:
        image: an image in any mode.
        bit_depth: number of bits in use if it has 16, see `read_image`.
        pixel_range: the values that become 0 and 255 in the modes "I" and "F", see `read_image`.

    Raises:
        DataError: The mode is "I" or "F", and there is no range.
    """
    image = apply_exif_orientation(image)
    if image.mode in NUMBER_MODES or image.mode.startswith("I;16"):
        # Pillow's own conversion clips: values above 255 would become white.
        image = Image.fromarray(to_8_bits(np.asarray(image), bit_depth, pixel_range))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Return an image upright by its EXIF orientation, or the same object if it is stored upright."""
    # Pillow's own function copies images that are upright.
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def image_range(source: BytesSource) -> tuple[float, float] | None:
    """Return the lowest and the highest finite value of an image of floats, of signed integers or of 32 bits.

    Only files with a suffix of such images are opened. An image of one value has a range of length 1.

    Returns:
        The range, or None for an image of 8 or 16 bits.

    Raises:
        DataError: The image cannot be read.
    """
    if Path(source.name).suffix.lower() not in _NUMBER_SUFFIXES:
        return None
    pixels = read_multiband_tiff(source)
    if pixels is None:
        pixels = open_image(source, lambda image: np.asarray(image) if image.mode in NUMBER_MODES else None)
    return None if pixels is None else value_range(pixels)


def count_channels(source: BytesSource) -> int:
    """Return the number of channels that an image is read with.

    Returns:
        The number of bands of a multi-band TIFF, 3 for every other file. Only files named .tif or .tiff are opened.

    Raises:
        DataError: A TIFF cannot be read.
    """
    bands = read_multiband_tiff(source) if _is_tiff(source) else None
    return 3 if bands is None else bands.shape[2]


def _is_tiff(source: BytesSource) -> bool:
    """Return True for a file that can have other bands than Pillow reads, by its suffix."""
    return Path(source.name).suffix.lower() in (".tif", ".tiff")


def read_multiband_tiff(source: BytesSource) -> np.ndarray | None:
    """Read the bands of a TIFF that Pillow cannot represent: more than RGB and opacity, or 16 bits a color.

    Returns:
        (H, W, bands) integers or floats, or None for a file that Pillow reads.

    Raises:
        DataError: The file cannot be read. The message names it.
    """
    try:
        content = read_content(source)
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    if not content.startswith(TIFF_SIGNATURES):
        return None
    try:
        bands = decode_bands(content, MAX_PIXELS)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except ModuleNotFoundError:
        with suppress(DataError):  # Pillow cannot identify a file with, for example, five bands
            if open_image(source, is_plain_tiff):
                return None
        raise DataError(f"{source}: reading its bands needs tifffile; pip install 'pixelwise[tiff]'") from None
    except Exception as error:  # tifffile raises many exception types for broken files and for missing codecs
        why = first_line(error)
        fix = "; pip install 'pixelwise[tiff]'" if "imagecodecs" in why else "; replace or remove it"
        raise DataError(f"{source}: its bands cannot be read ({why}){fix}") from None
    return bands
