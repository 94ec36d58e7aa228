"""Reading of image files by content, with errors that name the file."""

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError, first_line

T = TypeVar("T")


MAX_PIXELS = 178_956_970
"""Maximum number of pixels of an image: Pillow's limit for decompression bombs, small files that unpack to gigabytes.

Pillow itself only warns from half of this limit.
"""


_COLOR_SPACES = (3, 5, 6, 8)
"""TIFF's numbers for palettes, CMYK, YCbCr and L*a*b*, whose bands are colors."""


_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
    """
    try:
        with Image.open(io.BytesIO(_read_content(source))) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height} pixels"
                raise DataError(f"{size} are more than the maximum of {MAX_PIXELS:,}; cut it into tiles")
            return read(image)
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except PermissionError:
        raise DataError(f"{source}: cannot be read (permission denied); change its permissions or remove it") from None
    except UnidentifiedImageError:
        raise DataError(f"{source}: not an image that can be read; replace or remove it") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except Warning:  # the caller's warning filters turn it into an exception
        raise
    except Exception as error:  # Pillow's decoders raise many exception types for truncated and corrupt files
        raise DataError(f"{source}: truncated or corrupt ({first_line(error)}); replace or remove it") from None


def _read_content(source: BytesSource) -> bytes:
    if is_special_file(source):
        raise DataError("not a file; replace or remove it")
    try:
        return source.read_bytes()
    except (DataError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # each protocol has its own exceptions, for example for the network or for keys
        raise DataError(f"cannot be read ({first_line(error)})") from None


def read_image(source: BytesSource, channels: int = 3, bit_depth: int = 16, min_size: int | None = None) -> np.ndarray:
    """Read an image, upright by its EXIF orientation.

    The content decides the decoder and not the suffix: Oxford-IIIT Pet has GIF and PNG files named .jpg.

    Args:
        source: the file.
        channels: 3 reads any image as RGB. Another number requires a TIFF with this many bands.
        bit_depth: number of bits in use, 8 to 16, if the file has 16 bits a channel. Pixels are shifted right by
            `bit_depth` − 8.
        min_size: if given, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which takes less time, as long as no side
            becomes shorter than this many pixels.

    Returns:
        (H, W, channels) uint8 in [0, 255].

    Raises:
        DataError: The file is missing, truncated, not an image, or has other channels. The message names it.
    """
    return read_with_size(source, channels, bit_depth, min_size)[0]


def read_with_size(
    source: BytesSource, channels: int = 3, bit_depth: int = 16, min_size: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read an image, and return its original size too.

    Args:
        source, channels, bit_depth, min_size: see `read_image`.

    Returns:
        The image, and the (height, width) in pixels of the upright image on disk, which differs from the array's if
        `min_size` is given.
    """
    bands = read_multiband_tiff(source) if channels != 3 or _is_tiff(source) else None
    if bands is not None or channels != 3:
        band_count = 3 if bands is None else bands.shape[2]
        if bands is None or band_count != channels:
            raise DataError(f"{source}: has {band_count} channels, but the data set's other images have {channels}")
        return bands if bands.dtype == np.uint8 else _to_8_bits(bands, bit_depth), (bands.shape[0], bands.shape[1])

    def read(image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        size = (image.width, image.height) if is_turned else (image.height, image.width)
        if min_size is not None:
            image.draft(None, (min_size, min_size))
        return np.array(to_rgb(image, bit_depth)), size

    return open_image(source, read)


def to_rgb(image: Image.Image, bit_depth: int = 16) -> Image.Image:
    """Convert an image to upright RGB with 8 bits. Transparent pixels are blended with white.

    Args:
        image: an image in any mode but "I" and "F".
        bit_depth: number of bits in use if it has 16, see `read_image`.

    Raises:
        DataError: The mode has no known range of values.
    """
    image = apply_exif_orientation(image)
    if image.mode in ("I", "F"):
        raise DataError(f"pixels in mode {image.mode} have no known range; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips: values above 255 would become white.
        image = Image.fromarray(_to_8_bits(np.asarray(image), bit_depth))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Return an image upright by its EXIF orientation, or the same object if it is stored upright."""
    # Pillow's own function copies images that are upright.
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def _to_8_bits(pixels: np.ndarray, bit_depth: int) -> np.ndarray:
    return np.minimum(pixels >> (bit_depth - 8), 255).astype(np.uint8)


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
        (H, W, bands) uint8 or uint16, or None for a file that Pillow reads.

    Raises:
        DataError: The file cannot be read. The message names it.
    """
    try:
        content = _read_content(source)
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    if not content.startswith(_TIFF_SIGNATURES):
        return None
    try:
        bands = _decode_multiband_tiff(content)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except ModuleNotFoundError:
        with suppress(DataError):  # Pillow cannot identify a file with, for example, five bands
            if open_image(source, _is_plain_tiff):
                return None
        raise DataError(f"{source}: reading its bands needs tifffile; pip install 'pixelwise[tiff]'") from None
    except Exception as error:  # tifffile raises many exception types for broken files and for missing codecs
        why = first_line(error)
        fix = "; pip install 'pixelwise[tiff]'" if "imagecodecs" in why else "; replace or remove it"
        raise DataError(f"{source}: its bands cannot be read ({why}){fix}") from None
    return bands


def _is_plain_tiff(image: Image.Image) -> bool:
    """Return True if Pillow reads all bands of a TIFF: one page with one band, or with 8-bit colors and opacity."""
    if getattr(image, "n_frames", 1) != 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    tags = image.tag_v2
    bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    opacity = sum(kind in (1, 2) for kind in tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
    is_color = bands - opacity in (1, 3) or tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in _COLOR_SPACES
    return bands == 1 or (is_color and set(tags.get(TiffImagePlugin.BITSPERSAMPLE, ())) == {8})


def _decode_multiband_tiff(content: bytes) -> np.ndarray | None:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        len(tiff.pages)  # raises for pages that link in a circle, which `series` would follow forever
        series = tiff.series[0]
        page = tiff.pages.first
        opacity = sum(kind in (1, 2) for kind in page.extrasamples)
        is_color = page.samplesperpixel - opacity in (1, 3) or page.photometric in _COLOR_SPACES
        if len(series.shape) == 2 or (len(tiff.pages) == 1 and is_color and page.bitspersample == 8):
            return None
        if np.prod(series.shape) > MAX_PIXELS * 3:
            raise DataError(f"its shape {series.shape} is larger than the maximum of {MAX_PIXELS:,} pixels")
        pixels = series.asarray()
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{pixels.dtype} of shape {pixels.shape}; bands must be (H, W, N) of 8 or 16 bits")
    if "X" in series.axes and series.axes.index("X") == 2:  # bands are stored one after the other
        pixels = np.moveaxis(pixels, 0, 2)
    return np.ascontiguousarray(pixels)
