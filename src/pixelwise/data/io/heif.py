"""HEIC photos, the format of many phones, decoded by the package of the extra `heic`."""

import io

from PIL import Image

from pixelwise.errors import DataError

_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
"""Brands of files with HEVC data. Files of the same structure with AV1 data (avif) are read by Pillow."""


def is_heif(content: bytes) -> bool:
    """Return True if a file has HEVC data, by the brands in its first box (ISO/IEC 23008-12)."""
    if content[4:8] != b"ftyp":
        return False
    box = content[: min(int.from_bytes(content[:4], "big"), 1024)]
    brands = [box[8:12], *(box[start : start + 4] for start in range(16, len(box), 4))]
    return b"avif" not in brands and not _BRANDS.isdisjoint(brands)


def open_heif(content: bytes, max_pixels: int) -> Image.Image:
    """Decode a HEIC photo to 8 bits, upright as its container says.

    The package is called directly. It is not registered with Pillow, which would change other code of the process.

    Args:
        content: the file's content.
        max_pixels: maximum number of pixels.

    Raises:
        DataError: The package is not installed, or the photo is too large.
        Exception: Any other of the package's for a damaged file.
    """
    try:
        import pillow_heif
    except ImportError:
        raise DataError("is a HEIC photo, which needs another package; pip install 'pixelwise[heic]'") from None
    file = pillow_heif.open_heif(io.BytesIO(content))
    width, height = file.size
    if width * height > max_pixels:
        raise DataError(f"{width}x{height} pixels are more than the maximum of {max_pixels:,}; cut it into tiles")
    image: Image.Image = file.to_pillow()
    image.format = "HEIF"
    return image
