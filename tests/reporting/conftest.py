"""A small data set whose names are hard to print: they have HTML tags, quotes and rich markup."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.inspection import DatasetReport, inspect

ODD_NAMES = ("background", "a<b>&\"c\" 'd'", "[bold]cat[/]")
COLORS = ((0, 0, 0), (220, 40, 160), (30, 200, 60))


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 6 training and 2 validation images with masks, one image in both splits, and a file that is no image."""
    root = tmp_path_factory.mktemp("reporting") / "data <i> & 'more'"
    for number in range(8):
        split = "train" if number < 6 else "val"
        mask = np.zeros((60, 80), np.uint8)
        mask[10:30, 5 : 20 + 4 * number] = 1
        if number % 2:
            mask[40:55, 30:60] = 2
        image = np.full((60, 80, 3), 120, np.uint8)
        image[:, :, number % 3] += np.uint8(10 + number)
        name = f"<script>alert({number})</script> & \"x\" 'y'.png".replace("/", "|")
        for folder in ("images", "masks"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / split / "images" / name)
        _palette_image(mask).save(root / split / "masks" / name)
    first, last = sorted((root / "train/images").iterdir())[1], sorted((root / "val/images").iterdir())[0]
    last.write_bytes(first.read_bytes())
    (root / "train/images" / "broken [red].png").write_bytes(b"none")
    _palette_image(mask).save(root / "train/masks" / "broken [red].png")
    return root


@pytest.fixture(scope="package")
def report(data: Path) -> DatasetReport:
    """Inspect the data set."""
    return inspect(data, classes=ODD_NAMES, skip_unreadable=True)


def _palette_image(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette([value for color in COLORS for value in color])
    return image
