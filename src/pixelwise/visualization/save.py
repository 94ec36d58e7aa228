"""Writing an image so that its path never holds half of one."""

from pathlib import Path

from PIL import Image

from pixelwise.runtime.files import atomic_write


def save_image(image: Image.Image, out: Path) -> None:
    """Write `image` to `out` in one step; the suffix of `out` names the format. Missing folders are made.

    An image of `index_image` keeps its class indices in PNG, not in JPEG.

    Raises ValueError for a suffix that Pillow does not know; whatever `out` held before then stays.

    >>> save_image(overlay(image, mask, palette), Path("cat.png"))  # doctest: +SKIP
    """
    with atomic_write(out) as path:
        image.save(path)
