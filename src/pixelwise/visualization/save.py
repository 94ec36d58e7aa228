"""Write image files atomically."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.runtime.files import atomic_write


def save_image(image: Image.Image, out: Path, texts: PngInfo | None = None) -> None:
    """Write an image to a file atomically. If the process is killed, the previous file is unchanged.

    A PNG file of an image from `index_image` has its class indices as pixel values. A JPEG file has not.

    Args:
        image: a PIL image.
        out: the file. Its suffix determines the format. Missing parent directories are created.
        texts: texts to store in the file. Only PNG files support them.

    Raises:
        OutputError: The file cannot be written.
        ValueError: Pillow does not support the suffix. The previous file is unchanged.

    >>> save_image(overlay(image, mask, palette), Path("cat.png"))  # doctest: +SKIP
    """
    with atomic_write(out) as path:
        if texts is None:
            image.save(path)
        else:
            image.save(path, pnginfo=texts)
