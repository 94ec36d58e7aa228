"""The statistics of one image."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE
from pixelwise.data.io.image import open_image, read_bands, read_content
from pixelwise.data.io.rgb import UNSCALED, apply_exif_orientation, has_numbers, to_rgb, upright_size
from pixelwise.data.io.tiff import pillow_nodata
from pixelwise.data.pixel_depth import to_8_bits, value_range
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import BytesSource

MIN_DRAFT_SIDE = 64
"""Minimum shorter side, in pixels, to which images are reduced for their color statistics.

JPEGs are reduced while they are decoded, which takes a third of the time.
"""


@dataclass(frozen=True, eq=False)
class ImageStats:
    """The statistics of one image.

    Attributes:
        digest: BLAKE2b hash (16 bytes) of the size, the type and the values of the decoded pixels. An image has the
            same digest in all lossless file formats. The pixels of a JPEG are hashed after its reduction.
        size: (height, width) in pixels, after EXIF orientation.
        mode: Pillow's pixel mode ("RGB"), or "5 bands".
        channels: number of channels to read, see `count_channels`.
        max_value: the greatest value of an image with 16 bits per channel, else 0.
        has_wide_numbers: True for an image of floats, of signed integers or of 32 bits.
        means: mean of each channel over its pixels with data. In [0, 255] if the scale has ranges, else in the units of
            the decoded pixels.
        mean_squares: mean of the squared values of each channel.
        thumbnail: `THUMBNAIL_SIDE`² gray values as bytes.
        nodata_fraction: fraction of the pixels without data in all channels, in [0, 1]. 0 if the scale has no ranges.
    """

    digest: bytes
    size: tuple[int, int]
    mode: str
    channels: int
    max_value: int
    has_wide_numbers: bool
    means: tuple[float, ...]
    mean_squares: tuple[float, ...]
    thumbnail: bytes
    nodata_fraction: float = 0.0


class ReadOnce:
    """A source that keeps its content after the first read."""

    def __init__(self, source: BytesSource) -> None:
        self.source, self.name = source, source.name
        self.content: bytes | None = None

    def read_bytes(self) -> bytes:
        if self.content is None:
            self.content = read_content(self.source)
        return self.content

    def __str__(self) -> str:
        return str(self.source)


def image_stats(source: BytesSource, scale: PixelScale = UNSCALED) -> ImageStats:
    """Return the statistics of one image, see `scan_image`."""
    return scan_image(source, scale)[0]


def scan_image(source: BytesSource, scale: PixelScale = UNSCALED) -> tuple[ImageStats, npt.NDArray[np.bool_] | None]:
    """Return the statistics of one image and its nodata pixels.

    If the scale has no ranges, a JPEG is decoded at the smallest size that its decoder offers with sides of at least
    `MIN_DRAFT_SIDE`.

    Args:
        source: the image file.
        scale: the conversion of the data set's pixels to 8 bits, if it has ranges.

    Returns:
        The statistics, and (H, W) bool, True for pixels without data in all channels. None if there are none.

    Raises:
        DataError: The image cannot be read. The message names the file.
    """
    source = ReadOnce(source)
    bands = read_bands(source) if Path(source.name).suffix.lower() in (".tif", ".tiff") else None
    if bands is not None:
        pixels, nodata, masked = bands.pixels, bands.nodata, bands.masked
        size, mode, channels = (pixels.shape[0], pixels.shape[1]), f"{pixels.shape[2]} bands", pixels.shape[2]
        is_rgb = False
    else:
        size, mode, pixels, nodata = open_image(source, partial(_decode, reduces=not scale.band_ranges))
        masked = None
        is_rgb, channels = pixels.dtype == np.uint8, 3
    scaled = scale.apply(pixels, nodata, masked) if scale.band_ranges else None
    gray_image = Image.fromarray(pixels).convert("L") if is_rgb else _to_gray(pixels, scaled)
    step = max(1, min(pixels.shape[:2]) // MIN_DRAFT_SIDE)
    means, mean_squares = channel_moments(
        (pixels if scaled is None else scaled)[::step, ::step], has_ranges=scaled is not None
    )
    missing = None if scaled is None else scale.missing(scaled)
    stats = ImageStats(
        digest=content_digest(repr((size, pixels.dtype)).encode(), np.ascontiguousarray(pixels).reshape(-1).data),
        size=size,
        mode=mode,
        channels=channels,
        max_value=int(pixels.max()) if pixels.dtype == np.uint16 else 0,
        has_wide_numbers=pixels.dtype not in (np.uint8, np.uint16),
        means=means,
        mean_squares=mean_squares,
        thumbnail=gray_image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes(),
        nodata_fraction=0.0 if missing is None else float(missing.mean()),
    )
    return stats, missing


def channel_moments(pixels: np.ndarray, *, has_ranges: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the mean square of each channel, see `ImageStats`.

    Args:
        pixels: (H, W, C).
        has_ranges: True if the pixels were converted by the ranges of a scale. The value 0 then stands for no data.
    """
    values = pixels.reshape(-1, pixels.shape[2]).astype(np.float64)
    if pixels.dtype.kind == "f":
        values = np.nan_to_num(values, posinf=0, neginf=0)
    counts = np.maximum((values > 0).sum(0), 1) if has_ranges else len(values)
    return tuple((values.sum(0) / counts).tolist()), tuple(((values**2).sum(0) / counts).tolist())


def _decode(image: Image.Image, *, reduces: bool) -> tuple[tuple[int, int], str, np.ndarray, float | None]:
    """Return the size after EXIF orientation, Pillow's mode, the (H, W, C) pixels, and the file's nodata value.

    The pixels of a JPEG are reduced if `reduces` is True.
    """
    mode, nodata = image.mode, pillow_nodata(image)
    size = upright_size(image)
    if reduces:
        # The decoder reads a reduced JPEG to its end, so a truncated file still raises an error.
        image.draft(None, (MIN_DRAFT_SIDE, MIN_DRAFT_SIDE))
    if has_numbers(image):
        values = np.asarray(apply_exif_orientation(image))
        pixels = np.repeat((values.astype(np.uint16) if mode.startswith("I;16") else values)[:, :, None], 3, 2)
        return size, mode, pixels, nodata
    return size, mode, np.asarray(to_rgb(image)), nodata


def _to_gray(pixels: np.ndarray, scaled: np.ndarray | None) -> Image.Image:
    """Return the mean of the channels.

    Args:
        pixels: (H, W, C), the pixels of the file.
        scaled: the pixels after the conversion by the ranges of a scale. None to scale by the range of the image.
    """
    if scaled is not None:
        gray = scaled.mean(2)
    elif pixels.dtype == np.uint16:
        gray = pixels.mean(2) / max(int(pixels.max()), 1) * 255
    else:
        gray = to_8_bits(pixels, pixel_range=value_range(pixels)).mean(2)
    return Image.fromarray(gray.astype(np.uint8))


def content_digest(*parts: bytes | memoryview) -> bytes:
    """Return the 16-byte BLAKE2b hash of the concatenated parts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()
