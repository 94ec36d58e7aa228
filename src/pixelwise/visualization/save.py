"""Write image files atomically."""

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo, putchunk

from pixelwise.runtime.atomic import atomic_write

JPEG_QUALITY = 90
"""Quality of JPEG files, on Pillow's scale. Their colors are not subsampled, so that thin outlines stay sharp."""

_MAX_COMMENT_BYTES = 65_533
"""Maximum length of a comment in a JPEG file, in bytes."""

_MAX_JPEG_SIDE = 65_500
"""Maximum side of a JPEG file in pixels. Larger images are scaled down."""

_RUN_LENGTHS = 3
"""zlib's strategy Z_RLE. For masks, files are smaller than with the default strategy and level 6, in half the time."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_UP = 2
"""PNG's filter that stores the difference to the pixel above. In masks, most differences are 0."""

_BAND_PIXELS = 1 << 20
"""Maximum number of pixels that are compressed at a time."""


def save_image(image: Image.Image, out: Path, texts: dict[str, str] | None = None) -> None:
    """Write an image to a file atomically. If the process is killed, the previous file is unchanged.

    A PNG file of an image from `index_image` has its class indices as pixel values. A JPEG file does not have them,
    because its compression changes values. An image with a side of more than 65,500 pixels is scaled down for JPEG.

    Args:
        image: a PIL image.
        out: the file. Its suffix determines the format. Missing parent directories are created.
        texts: keyword → text to store in the file. A JPEG file has one comment, so it stores the first text only, and
            none that is longer than 65,533 bytes. Other formats store no texts.

    Raises:
        OutputError: The file cannot be written.
        ValueError: Pillow does not support the suffix. The previous file is unchanged.

    >>> save_image(overlay(image, mask, palette), Path("cat.png"))  # doctest: +SKIP
    """
    suffix = out.suffix.lower()
    with atomic_write(out) as path:
        if suffix == ".png":
            info = PngInfo()
            for keyword, text in (texts or {}).items():
                info.add_text(keyword, text)
            if image.mode == "L":
                with path.open("wb") as file:
                    _write_gray_png(file, image, info)
            elif image.mode in ("1", "P", "I;16"):
                image.save(path, pnginfo=info, compress_level=1, compress_type=_RUN_LENGTHS)
            else:
                image.save(path, pnginfo=info)
        elif suffix in (".jpg", ".jpeg"):
            if max(image.size) > _MAX_JPEG_SIDE:
                image = image.copy()
                image.thumbnail((_MAX_JPEG_SIDE, _MAX_JPEG_SIDE))
            comment = next(iter((texts or {}).values()), "").encode()
            image.save(
                path,
                quality=JPEG_QUALITY,
                subsampling=0,
                comment=comment if len(comment) <= _MAX_COMMENT_BYTES else b"",
            )
        else:
            image.save(path)


def _write_gray_png(file: BinaryIO, image: Image.Image, info: PngInfo) -> None:
    """Write an image of mode "L" as PNG (W3C recommendation, third edition).

    Pillow tries five filters for each row. For a mask, this takes six times as long, and the file is not smaller.

    Args:
        file: the file.
        image: the image.
        info: the texts.
    """
    width, height = image.size
    file.write(_PNG_SIGNATURE)
    putchunk(file, b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))  # 8 bits, gray, not interlaced
    for kind, data, *_ in info.chunks:
        putchunk(file, kind, data)
    compressor = zlib.compressobj(1, strategy=_RUN_LENGTHS)
    above, rows = np.zeros(width, np.uint8), max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = np.asarray(image.crop((0, top, width, min(top + rows, height))))
        lines = np.empty((len(band), 1 + width), np.uint8)
        lines[:, 0] = _UP
        np.subtract(band[0], above, out=lines[0, 1:])
        np.subtract(band[1:], band[:-1], out=lines[1:, 1:])
        above = band[-1]
        if compressed := compressor.compress(lines.tobytes()):
            putchunk(file, b"IDAT", compressed)
    putchunk(file, b"IDAT", compressor.flush())
    putchunk(file, b"IEND", b"")
