"""The statistics of one image."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE
from pixelwise.data.io.image import open_image, read_content, read_multiband_tiff
from pixelwise.data.io.pixel_depth import to_8_bits, value_range
from pixelwise.data.io.rgb import NUMBER_MODES, apply_exif_orientation, to_rgb
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
        pixel_range: the lowest and the highest finite value of an image of floats, of signed integers or of 32 bits,
            else None. See `ReadSpec`.
        means: mean of each channel, in the units of the decoded pixels.
        mean_squares: mean of the squared values of each channel.
        thumbnail: `THUMBNAIL_SIDE`² gray values as bytes.
    """

    digest: bytes
    size: tuple[int, int]
    mode: str
    channels: int
    max_value: int
    pixel_range: tuple[float, float] | None
    means: tuple[float, ...]
    mean_squares: tuple[float, ...]
    thumbnail: bytes


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


def image_stats(source: BytesSource) -> ImageStats:
    """Return the statistics of one image.

    A JPEG is decoded at the smallest size that its decoder offers with sides of at least `MIN_DRAFT_SIDE`.

    Raises:
        DataError: The image cannot be read. The message names the file.
    """
    source = ReadOnce(source)
    bands = read_multiband_tiff(source) if Path(source.name).suffix.lower() in (".tif", ".tiff") else None
    if bands is not None:
        size, mode, channels = (bands.shape[0], bands.shape[1]), f"{bands.shape[2]} bands", bands.shape[2]
        pixels, gray_image = bands, _to_gray(bands)
    else:
        size, mode, pixels, gray_image = open_image(source, _decode)
        channels = 3
    pixel_range = value_range(pixels)
    step = max(1, min(pixels.shape[:2]) // MIN_DRAFT_SIDE)
    sampled = pixels[::step, ::step].reshape(-1, pixels.shape[2]).astype(np.float64)
    if pixel_range is not None:
        sampled = np.nan_to_num(sampled, nan=pixel_range[0], posinf=pixel_range[1], neginf=pixel_range[0])
    return ImageStats(
        digest=content_digest(repr((size, pixels.dtype)).encode(), np.ascontiguousarray(pixels).reshape(-1).data),
        size=size,
        mode=mode,
        channels=channels,
        max_value=int(pixels.max()) if pixels.dtype == np.uint16 else 0,
        pixel_range=pixel_range,
        means=tuple(sampled.mean(0).tolist()),
        mean_squares=tuple((sampled**2).mean(0).tolist()),
        thumbnail=gray_image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes(),
    )


def _decode(image: Image.Image) -> tuple[tuple[int, int], str, np.ndarray, Image.Image]:
    """Return the size after EXIF orientation, Pillow's mode, the (H, W, C) pixels, and a gray image.

    The pixels and the gray image of a JPEG are reduced.
    """
    mode = image.mode
    rotated = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    size = (image.width, image.height) if rotated else (image.height, image.width)
    # The decoder reads a reduced JPEG to its end, so a truncated file still raises an error.
    image.draft(None, (MIN_DRAFT_SIDE, MIN_DRAFT_SIDE))
    if mode in NUMBER_MODES or mode.startswith("I;16"):
        values = np.asarray(apply_exif_orientation(image))
        pixels = np.repeat((values.astype(np.uint16) if mode.startswith("I;16") else values)[:, :, None], 3, 2)
        return size, mode, pixels, _to_gray(pixels)
    rgb = to_rgb(image)
    return size, mode, np.asarray(rgb), rgb.convert("L")


def _to_gray(pixels: np.ndarray) -> Image.Image:
    """Return the mean of the channels. Pixels other than uint8 are scaled to 8 bits by the range of the image."""
    if pixels.dtype == np.uint16:
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
