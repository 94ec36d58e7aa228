"""Image files: opened by content and not by suffix, with errors that name the file."""

import io
import logging
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pixelwise.data.io.jpeg import decode_jpeg
from pixelwise.data.schema import BytesSource
from pixelwise.errors import DataError, first_line

T = TypeVar("T")


MAX_PIXELS = 178_956_970
"""An image with more pixels is taken for a decompression bomb: a small file that unpacks to gigabytes."""


# Pillow warns at half of its own limit, which is twice this half: ours is that same limit, and an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


# What these two find strange in a file is either told by an error, or does no harm.
warnings.filterwarnings("ignore", module=r"PIL\.")


logging.getLogger("tifffile").addHandler(logging.NullHandler())


_COLOR_SPACES = (3, 5, 6, 8)
"""TIFF's numbers for palettes, CMYK, YCbCr and L*a*b*, whose bands are colors."""


_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_image(
    source: BytesSource, read: Callable[[Image.Image], T], quick: Callable[[bytes], T | None] | None = None
) -> T:
    """What `read` makes of the image; DataError, which names it, where it is missing, truncated or no image.

    `quick` is asked first, with the file's content; where it gives None, Pillow opens the image.
    """
    try:
        content = _content(source)
        found = None if quick is None else quick(content)
        if found is not None:
            return found
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height} pixels"
                raise DataError(f"{size} are more than an image may have ({MAX_PIXELS:,}); cut it into tiles")
            return read(image)
    except FileNotFoundError:
        raise DataError(f"{source}: no such file") from None
    except PermissionError:
        raise DataError(f"{source}: may not be read (permission denied); change its permissions or remove it") from None
    except UnidentifiedImageError:
        raise DataError(f"{source}: not an image that can be read; replace or remove it") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    except Exception as error:  # of a truncated or corrupt file each of Pillow's decoders has its own
        raise DataError(f"{source}: truncated or corrupt ({first_line(error)}); replace or remove it") from None


def _content(source: BytesSource) -> bytes:
    """What a source holds; DataError, OSError where there is none or it may not be read."""
    # Reading a named pipe would wait for ever.
    if isinstance(source, Path) and not source.is_file() and source.exists():
        raise DataError("not a file; replace or remove it")
    try:
        return source.read_bytes()
    except (DataError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # each protocol has its own: of the network, of keys
        raise DataError(f"cannot be read ({first_line(error)})") from None


def read_image(source: BytesSource, channels: int = 3, bits: int = 16, smallest: int | None = None) -> np.ndarray:
    """Read an image as HWC uint8 with values in [0, 255], turned upright by its EXIF orientation.

    The content decides the decoder, not the suffix: Oxford-IIIT Pet has GIF and PNG files named .jpg.

    Args:
        source: where its bytes are.
        channels: 3 reads an image of any kind as RGB; another number asks for a TIFF of that many bands.
        bits: of 16 bits a channel, how many are in use: pixels are shifted right by bits − 8.
        smallest: where given, a JPEG comes at 1/2, 1/4 or 1/8 of its size if no side falls below this (libjpeg-turbo
            decodes it so in less time).

    Raises DataError, which names the file, for one that is missing, truncated or no image.
    """
    return read_with_size(source, channels, bits, smallest)[0]


def read_with_size(
    source: BytesSource, channels: int = 3, bits: int = 16, smallest: int | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """`read_image`, and the (height, width) that the image has on disk, turned upright."""
    bands = read_multiband_tiff(source) if channels != 3 or _is_tiff(source) else None
    if bands is not None or channels != 3:
        found = 3 if bands is None else bands.shape[2]
        if bands is None or found != channels:
            raise DataError(f"{source}: has {found} channels, where the data set's other images have {channels}")
        return bands if bands.dtype == np.uint8 else _to_8_bits(bands, bits), (bands.shape[0], bands.shape[1])

    def read(image: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
        turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        size = (image.width, image.height) if turned else (image.height, image.width)
        if smallest is not None:
            image.draft(None, (smallest, smallest))
        return np.array(to_rgb(image, bits)), size

    return open_image(source, read, partial(decode_jpeg, smallest=smallest, most_pixels=MAX_PIXELS))


def to_rgb(image: Image.Image, bits: int = 16) -> Image.Image:
    """A PIL image as upright RGB: 16 bits are shifted to 8 (see `read_image`), transparent pixels laid on white."""
    image = apply_exif_orientation(image)
    if image.mode in ("I", "F"):
        raise DataError(f"pixels in mode {image.mode} have no known range; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips: all but the darkest 256 levels would become white.
        image = Image.fromarray(_to_8_bits(np.asarray(image), bits))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """An image as its EXIF orientation says it is to be seen; itself where that is how it is stored."""
    # Pillow's own function copies images that need no turning.
    return image if image.getexif().get(ExifTags.Base.Orientation, 1) == 1 else ImageOps.exif_transpose(image)


def _to_8_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    return np.minimum(pixels >> (bits - 8), 255).astype(np.uint8)


def count_channels(source: BytesSource) -> int:
    """How many channels an image is to be read with: 3, or the bands of a TIFF that are not gray, RGB and opacity.

    Raises DataError for a TIFF that cannot be read; of any other file it says 3 without a look at its pixels.
    """
    bands = read_multiband_tiff(source) if _is_tiff(source) else None
    return 3 if bands is None else bands.shape[2]


def _is_tiff(source: BytesSource) -> bool:
    """Whether a file may have other bands than Pillow reads, by its name."""
    return Path(source.name).suffix.lower() in (".tif", ".tiff")


def read_multiband_tiff(source: BytesSource) -> np.ndarray | None:
    """A TIFF's bands as (H, W, N) uint8 or uint16; None for a file that Pillow reads as an image."""
    import tifffile

    try:
        content = _content(source)
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from None
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    if not content.startswith(_TIFF_STARTS):
        return None
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            len(tiff.pages)  # finds pages that follow each other in circles, in which `series` would go round for ever
            series = tiff.series[0]
            page = tiff.pages.first
            opacity = sum(kind in (1, 2) for kind in page.extrasamples)
            colors = page.samplesperpixel - opacity
            image = colors in (1, 3) or page.photometric in _COLOR_SPACES
            if len(series.shape) == 2 or (len(tiff.pages) == 1 and image and page.bitspersample == 8):
                return None
            if np.prod(series.shape) > MAX_PIXELS * 3:
                raise DataError(f"{source}: {series.shape} is more than an image may have")
            pixels = series.asarray()
    except DataError:
        raise
    except Exception as error:  # tifffile raises a dozen kinds for broken files, and one for each missing codec
        why = first_line(error)
        fix = "; pip install 'pixelwise[tiff]'" if "imagecodecs" in why else "; replace or remove it"
        raise DataError(f"{source}: its bands cannot be read ({why}){fix}") from None
    if pixels.ndim != 3 or pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{source}: {pixels.dtype} of shape {pixels.shape}; bands must be (H, W, N) of 8 or 16 bits")
    if "X" in series.axes and series.axes.index("X") == 2:  # band after band instead of pixel after pixel
        pixels = np.moveaxis(pixels, 0, 2)
    return np.ascontiguousarray(pixels)
