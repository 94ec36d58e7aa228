"""Tests of the class colors."""

import math
import subprocess
import sys

import numpy as np
import pytest

from pixelwise.palette import IGNORE_COLOR, _to_oklab, background_classes, default_palette


def test_colors_are_distinct_and_differ_from_the_ignore_color() -> None:
    palette = default_palette(254)
    assert len({*palette, IGNORE_COLOR}) == 255
    assert all(isinstance(value, int) and 0 <= value <= 255 for color in palette for value in color)
    assert len(set(default_palette(255))) == 255


@pytest.mark.parametrize("count", [1, 3, 10, 11, 100])
def test_longer_palette_starts_with_shorter_palette(count: int) -> None:
    assert default_palette(254)[:count] == default_palette(count)


@pytest.mark.parametrize("count", [0, -1, 256])
def test_default_palette_rejects_count_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 255"):
        default_palette(count)


def test_palette_is_the_same_in_another_process() -> None:
    code = "from pixelwise.palette import default_palette; print(default_palette(254))"
    paths = ":".join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == str(default_palette(254))


# Machado, Oliveira and Fernandes (2009), severity 1.0: linear RGB as seen with each color vision deficiency.
COLOR_VISION = {
    "full vision": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_first_ten_colors_and_ignore_are_distinct_with_color_vision_deficiencies(vision: str) -> None:
    from skimage.color import rgb2lab

    srgb = np.array([*default_palette(10), IGNORE_COLOR]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    perceived = np.clip(linear @ np.array(COLOR_VISION[vision]).T, 0, 1)
    perceived = np.where(perceived <= 0.0031308, 12.92 * perceived, 1.055 * perceived ** (1 / 2.4) - 0.055)
    lab = rgb2lab(np.clip(perceived, 0, 1))
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    distance[np.diag_indices(len(lab))] = math.inf
    assert distance.min() > 13  # a just noticeable difference is about 2.3


SKY = [(135, 206, 235), (120, 170, 220), (90, 150, 210), (70, 130, 190), (176, 208, 232)]
GRASS = [(86, 125, 70), (124, 156, 60), (96, 128, 56), (60, 100, 45), (140, 170, 90)]


def test_first_ten_colors_stay_visible_on_sky_and_grass() -> None:
    from skimage.color import deltaE_ciede2000, rgb2lab

    for color in default_palette(10):
        for surface in SKY + GRASS:
            blended = (np.array(color) + surface) / 2  # as in an overlay of the default opacity
            difference = deltaE_ciede2000(rgb2lab(blended / 255), rgb2lab(np.array(surface) / 255))
            assert difference > 12, f"{color} on {surface}"  # a just noticeable difference is about 1


@pytest.mark.parametrize(
    ("count", "visible", "distinct"), [(20, 9.5, 12), (40, 7, 6.5), (100, 2.8, 5), (255, 2.8, 2.8)]
)
def test_later_colors_stay_visible_on_sky_and_grass_and_differ_from_one_another(
    count: int, visible: float, distinct: float
) -> None:
    """CIEDE2000 differences. The palette is made with another measure, the distance in Oklab."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    colors, surfaces = np.array(default_palette(count)), np.array(SKY + GRASS)
    blended = rgb2lab((colors[:, None] + surfaces) / 2 / 255)
    assert deltaE_ciede2000(blended, rgb2lab(surfaces / 255)[None]).min() > visible
    lab = rgb2lab(np.array([*colors, IGNORE_COLOR]) / 255)
    difference = deltaE_ciede2000(lab[:, None], lab[None])
    difference[np.diag_indices(len(lab))] = math.inf
    assert difference.min() > distinct


def test_oklab_equals_the_values_of_its_author() -> None:
    """Ottosson 2020: white, and the primary colors of sRGB."""
    colors = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    expected = np.array([[1, 0, 0], [0.628, 0.225, 0.126], [0.866, -0.234, 0.179], [0.452, -0.032, -0.312]])
    np.testing.assert_allclose(_to_oklab(colors), expected, atol=6e-4)


@pytest.mark.parametrize(
    ("classes", "values", "expected"),
    [
        (("pet", "background", "border"), (), (1,)),
        (("_Background_", "void", "cat"), (), (0, 1)),
        (("lesion", "healthy"), (255, 0), (1,)),
        (("healthy", "lesion"), (0, 1), ()),
        (("healthy", "background"), (0, 255), (1,)),
        (("other", "void"), (), ()),
        (("sky", "tree"), (), ()),
    ],
)
def test_background_classes(classes: tuple[str, ...], values: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert background_classes(classes, values) == expected
