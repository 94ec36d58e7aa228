"""Decode HEIC images, the format of many phone cameras, with the package pillow_heif (extra `heic`)."""

import io

from PIL import Image

from pixelwise.errors import DataError

_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
"""Brands (4-byte type codes) of files with HEVC data. Pillow reads AVIF: the same structure with AV1 data."""


def is_heif(content: bytes) -> bool:
    """Return True if the brands in the first box of a file mean HEVC data (ISO/IEC 23008-12)."""
    if content[4:8] != b"ftyp":
        return False
    box = content[: min(int.from_bytes(content[:4], "big"), 1024)]
    brands = [box[8:12], *(box[start : start + 4] for start in range(16, len(box), 4))]
    return b"avif" not in brands and not _BRANDS.isdisjoint(brands)


def open_heif(content: bytes, max_pixels: int) -> Image.Image:
    """Decode a HEIC image to 8 bits per channel and apply the rotation that the file specifies.

    pillow_heif is called directly. Its registration with Pillow would affect other code in the process.

    Args:
        content: the file's content.
        max_pixels: maximum number of pixels of the image.

    Raises:
        DataError: pillow_heif is not installed, or the image has more pixels than the maximum.
        Exception: Any exception of pillow_heif for a damaged file.
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
