"""Write image files atomically."""

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pixelwise.runtime.files import atomic_write


def save_image(image: Image.Image, out: Path, texts: PngInfo | None = None) -> None:
    """Write an image to a file in one step. A killed process leaves the previous file.

    An image of `index_image` keeps its class indices in PNG, but not in JPEG.

    Args:
        image: a PIL image.
        out: the file. Its suffix chooses the format. Missing parent directories are created.
        texts: texts to store in a PNG file.

    Raises:
        ValueError: Pillow does not know the suffix. The previous file is unchanged.

    >>> save_image(overlay(image, mask, palette), Path("cat.png"))  # doctest: +SKIP
    """
    with atomic_write(out) as path:
        if texts is None:
            image.save(path)
        else:
            image.save(path, pnginfo=texts)
