"""Write image files atomically."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.runtime.files import atomic_write

JPEG_QUALITY = 90
"""Quality of JPEG files, on Pillow's scale. Their colors are not subsampled, so that thin outlines stay sharp."""

_MAX_COMMENT_BYTES = 65_533
"""Maximum length of a comment in a JPEG file, in bytes."""

_MAX_JPEG_SIDE = 65_500
"""Maximum side of a JPEG file in pixels. Larger images are scaled down."""

_RUN_LENGTHS = 3
"""zlib's strategy Z_RLE. For masks, files are smaller than with the default strategy and level 6, in half the time."""


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
            if image.mode in ("1", "L", "P", "I;16"):
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
