"""Grids of augmented images."""

import numpy as np
import pytest

from pixelwise.palette import default_palette
from pixelwise.visualization.augmentation_grid import augmentation_grid
from pixelwise.visualization.overlay import Pixels

Pair = tuple[Pixels, Pixels]
PALETTE = default_palette(2)


def pair(height: int, width: int, value: int, gray: int = 100) -> Pair:
    return np.full((height, width, 3), gray, np.uint8), np.full((height, width), value, np.uint8)


def test_each_cell_has_its_image_and_mask() -> None:
    grid = augmentation_grid([[pair(50, 50, 0), pair(50, 50, 1)], [pair(400, 400, 255), pair(50, 50, 0)]],
                             ("cat", "dog"), PALETTE, "title")  # fmt: skip
    colors = [grid.getpixel((20 + 80 + column * 166, 69 + 80 + row * 166)) for row in range(2) for column in range(2)]
    assert colors[0] == colors[3] and len(set(colors)) == 3
    expected = np.array(PALETTE[0]) * 0.4 + 60
    assert np.allclose(np.array(colors[0]), expected, atol=2)


def test_images_keep_their_aspect_ratio() -> None:
    grid = np.array(augmentation_grid([[pair(50, 100, 0, gray=0)]], ("cat", "dog"), PALETTE, "title"))
    column = grid[69 : 69 + 160, 100].astype(int)
    assert (column.min(1) < 250).sum() == 80


def test_a_long_title_is_broken_into_lines() -> None:
    title = "augmentation crop (rotate 15, blur 0.5, noise 0.5)"
    short, long = (
        augmentation_grid([[pair(50, 50, 0)] * 2], ("cat", "dog"), PALETTE, text) for text in ("crop", title)
    )
    assert long.size == (short.width, short.height + 19)
    has_text = [(np.array(grid.convert("L"))[41:56] < 60).any() for grid in (short, long)]
    assert has_text == [False, True]


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="the same number of versions"):
        augmentation_grid([], ("cat", "dog"), PALETTE, "title")
    with pytest.raises(ValueError, match="the same number of versions"):
        augmentation_grid([[pair(5, 5, 0)], []], ("cat", "dog"), PALETTE, "title")
    with pytest.raises(ValueError, match=r"shape \(5, 5, 3\) has a mask of shape \(6, 5\)"):
        augmentation_grid([[(pair(5, 5, 0)[0], pair(6, 5, 0)[1])]], ("cat", "dog"), PALETTE, "title")
