"""Tests of overlays with an uncolored background, and of the legend in them."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.palette import default_palette
from pixelwise.visualization import add_legend, overlay
from pixelwise.visualization.text import font
from tests.visualization.helpers import RGB, solid_image

GRAY = (100, 100, 100)


def test_background_is_left_untouched() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 5:] = 1
    drawn = np.array(overlay(solid_image(8, 8, GRAY), mask, RGB, uncolored=(0,)))
    assert (drawn[:, :3] == GRAY).all()
    assert (drawn[:, 6:] == (50, 178, 50)).all()


def test_two_background_classes_have_no_outline_between_them() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 2
    assert (np.array(overlay(solid_image(8, 8, GRAY), mask, RGB, uncolored=(0, 2))) == GRAY).all()


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_legend_is_in_the_corner_without_objects(corner: tuple[int, int]) -> None:
    mask = np.ones((300, 400), np.uint8)
    rows, columns = slice(150 * corner[0], 150 * corner[0] + 150), slice(200 * corner[1], 200 * corner[1] + 200)
    mask[rows, columns] = 0
    image = Image.new("RGB", (400, 300))
    add_legend(image, mask, ("background", "cat", "dog"), RGB, (0,))
    changed: np.ndarray = np.any(np.array(image), axis=2)
    assert changed.any() and not changed[mask == 1].any()
    assert 0.005 < changed.mean() < 0.1


def test_a_name_is_shortened_only_if_it_takes_most_of_the_width() -> None:
    mask = np.zeros((150, 200), np.uint8)
    mask[:20, :20] = 1

    def width(name: str) -> int:
        image = Image.new("RGB", (200, 150))
        add_legend(image, mask, ("background", name), RGB, (0,))
        return int(np.any(np.array(image), axis=(0, 2)).sum())

    assert font(11).getlength("foreground") + 20 < width("foreground") < 110
    assert 100 < width("a long name of a class" * 9) <= 120


def test_legend_lists_the_classes_in_the_mask_with_their_colors() -> None:
    mask = np.zeros((300, 400), np.uint8)
    mask[:100, :100] = 2
    image = Image.new("RGB", (400, 300))
    add_legend(image, mask, ("background", "cat", "dog"), RGB, (0,))
    colors = {color for _, color in image.getcolors(1 << 16) or ()}
    assert RGB[2] in colors and RGB[1] not in colors and RGB[0] not in colors


def test_legend_leaves_out_ignored_pixels_and_the_background() -> None:
    mask = np.full((300, 400), 255, np.uint8)
    mask[:100, :100], mask[100:150] = 2, 0
    image, expected = Image.new("RGB", (400, 300)), Image.new("RGB", (400, 300))
    add_legend(image, mask, ("background", "cat", "dog"), RGB, (0, 255))
    add_legend(expected, np.where(mask == 2, mask, 0), ("background", "cat", "dog"), RGB, (0,))
    assert image.getbbox() is not None and image.tobytes() == expected.tobytes()


def test_legend_of_many_classes_stays_small_and_states_the_number_of_the_others() -> None:
    mask = np.arange(200, dtype=np.uint8).repeat(600).reshape(300, 400)
    image = Image.new("RGB", (400, 300))
    add_legend(image, mask, tuple(f"a long class name {index}" for index in range(200)), default_palette(200))
    changed: np.ndarray = np.any(np.array(image), axis=2)
    assert np.any(changed, axis=1).sum() <= 0.42 * 300 and np.any(changed, axis=0).sum() <= 0.62 * 400


@pytest.mark.parametrize("size", [(100, 400), (400, 119)])
def test_small_images_and_images_without_objects_have_no_legend(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    add_legend(image, np.ones(size[::-1], np.uint8), ("a", "b", "c"), RGB)
    assert image.getbbox() is None
    image = Image.new("RGB", (400, 300))
    add_legend(image, np.zeros((300, 400), np.uint8), ("background", "b", "c"), RGB, (0,))
    assert image.getbbox() is None
