"""JPEGs by libjpeg-turbo alone: the pixels that Pillow gives, in less time."""

import io

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

_START, _APP1, _FIRST_SCAN = b"\xff\xd8\xff", 0xE1, 0xDA


def decode_jpeg(
    content: bytes, smallest: int | None = None, most_pixels: int | None = None
) -> tuple[np.ndarray, tuple[int, int]] | None:
    """A JPEG's pixels, (H, W, 3) uint8 RGB in [0, 255], and the (height, width) it has on disk.

    None for what is left to Pillow: other files, CMYK, images to be turned upright, more than `most_pixels`, and
    whatever is damaged, so that there is one judge of that.

    Args:
        content: of the file.
        smallest: see `pixelwise.data.images.read_image`; the scales are those of Pillow's `draft`.
        most_pixels: None for any number.
    """
    if not content.startswith(_START) or not _has_default_orientation(content):
        return None
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if colors in ("CMYK", "YCCK") or (most_pixels is not None and height * width > most_pixels):
            return None
        most = 1 if smallest is None else min(height, width) // smallest
        scale = next((each for each in (8, 4, 2) if each <= most), 1)
        least = {"min_height": -(-height // scale), "min_width": -(-width // scale)}
        return simplejpeg.decode_jpeg(content, "RGB", min_factor=1, **least), (height, width)
    except ValueError:
        return None


def _has_default_orientation(content: bytes) -> bool:
    """Whether the image is stored as it is to be seen, as far as its EXIF or XMP says otherwise."""
    place = 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != bytes([_FIRST_SCAN]):
        if content[place + 1 : place + 2] == bytes([_APP1]):
            with Image.open(io.BytesIO(content)) as image:
                return image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return True
