"""The statistics of one image."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE
from pixelwise.data.io.image import apply_exif_orientation, open_image, read_content, read_multiband_tiff, to_rgb
from pixelwise.data.schema import BytesSource

MIN_DRAFT_SIDE = 64
"""Images are reduced to about this side, in pixels, for their color statistics. A JPEG decoder reduces them itself, in
a third of the time."""


@dataclass(frozen=True, eq=False)
class ImageStats:
    """The statistics of one image.

    Attributes:
        digest: BLAKE2b of the size and the decoded pixels, 16 bytes. The same image in two file formats has one digest.
        size: (height, width) in pixels, after EXIF orientation.
        mode: Pillow's pixel mode ("RGB"), or "5 bands".
        channels: number of channels to read, see `count_channels`.
        max_value: the greatest value of an image with 16 bits a channel, else 0.
        means: mean of each channel, in the image's own 8 or 16 bits.
        mean_squares: mean of the squared values of each channel.
        thumbnail: 16×16 gray values as 256 bytes, see `edge_pattern`.
    """

    digest: bytes
    size: tuple[int, int]
    mode: str
    channels: int
    max_value: int
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
    """Decode an image at the smallest size that its decoder offers, and return its statistics.

    Raises:
        DataError: The image cannot be read. The message names the file.
    """
    source = ReadOnce(source)
    bands = read_multiband_tiff(source) if Path(source.name).suffix.lower() in (".tif", ".tiff") else None
    if bands is not None:
        size, mode, channels = (bands.shape[0], bands.shape[1]), f"{bands.shape[2]} bands", bands.shape[2]
        gray = bands.mean(2) if bands.dtype == np.uint8 else bands.mean(2) / max(int(bands.max()), 1) * 255
        pixels, gray_image = bands, Image.fromarray(gray.astype(np.uint8))
    else:
        size, mode, pixels, gray_image = open_image(source, _decode)
        channels = 3
    step = max(1, min(pixels.shape[:2]) // MIN_DRAFT_SIDE)
    sampled = pixels[::step, ::step].reshape(-1, pixels.shape[2]).astype(np.float64)
    return ImageStats(
        digest=content_digest(repr((size, pixels.dtype)).encode(), pixels.tobytes()),
        size=size,
        mode=mode,
        channels=channels,
        max_value=int(pixels.max()) if pixels.dtype == np.uint16 else 0,
        means=tuple(sampled.mean(0).tolist()),
        mean_squares=tuple((sampled**2).mean(0).tolist()),
        thumbnail=gray_image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX).tobytes(),
    )


def _decode(image: Image.Image) -> tuple[tuple[int, int], str, np.ndarray, Image.Image]:
    """Return an image's upright size, its mode, (H, W, C) pixels, reduced if that is faster, and a gray image."""
    mode = image.mode
    rotated = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    size = (image.width, image.height) if rotated else (image.height, image.width)
    # A reduced JPEG is still decoded to its end, so truncated files are found.
    image.draft(None, (MIN_DRAFT_SIDE, MIN_DRAFT_SIDE))
    rgb = to_rgb(image)
    if mode.startswith("I;16"):
        values = np.array(apply_exif_orientation(image), np.uint16)
        gray = Image.fromarray((values / max(int(values.max()), 1) * 255).astype(np.uint8))
        return size, mode, np.repeat(values[:, :, None], 3, 2), gray
    return size, mode, np.asarray(rgb), rgb.convert("L")


def content_digest(*parts: bytes) -> bytes:
    """Return the BLAKE2b hash of bytes, 16 bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()
