"""Tests of masks in class colors, alone and over images: exact pixel values."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.palette import IGNORE_COLOR, Color
from pixelwise.visualization import color_mask, index_image, overlay, save_image
from tests.visualization.helpers import BLUE, GREEN, RED, RGB, WHITE, Pixels, make_mask, solid_image


def test_index_image_keeps_class_indices_in_png(tmp_path: Path) -> None:
    mask = np.append(np.arange(254), 255).astype(np.uint8).reshape(15, 17)
    save_image(index_image(mask), tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as read:
        assert read.mode == "L"
        np.testing.assert_array_equal(np.array(read), mask)


def test_every_library_reads_the_class_indices(tmp_path: Path) -> None:
    import cv2
    import matplotlib.image
    import skimage.io

    mask = make_mask([0, 1, 2, 255], [255, 0, 1, 1])
    path = tmp_path / "mask.png"
    save_image(index_image(mask), path)
    arrays = {
        "Pillow": np.asarray(Image.open(path)),
        "OpenCV": cv2.imread(str(path), cv2.IMREAD_UNCHANGED),
        "scikit-image": skimage.io.imread(path),
        "matplotlib": matplotlib.image.imread(path) * 255,  # it scales PNG files to [0, 1]
    }
    for library, array in arrays.items():
        np.testing.assert_array_equal(array, mask, err_msg=library)
    # By default, OpenCV converts to three equal channels. A palette would give colors.
    np.testing.assert_array_equal(cv2.imread(str(path)), np.repeat(mask[..., None], 3, axis=2))


def test_index_image_accepts_strided_mask() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)[::-1, ::2] % 3
    np.testing.assert_array_equal(np.array(index_image(mask)), mask)


def test_color_mask_colors_each_pixel_by_class() -> None:
    drawn = color_mask(make_mask([0, 1], [2, 255]), RGB)
    assert drawn.dtype == np.uint8
    assert drawn.tolist() == [[list(RED), list(GREEN)], [list(BLUE), list(IGNORE_COLOR)]]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (make_mask([0, 3]), "class index 3, but the palette ends at 2"),
        (np.zeros((2, 2, 1), np.uint8), r"\(H, W\) uint8"),
        (np.zeros((2, 2), np.int64), r"\(H, W\) uint8"),
        (np.zeros((0, 2), np.uint8), "non-empty"),
    ],
)
def test_invalid_mask_is_rejected(mask: Pixels, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        color_mask(mask, RGB)
    if "index" not in message:
        with pytest.raises(ValueError, match=message):
            index_image(mask)


@pytest.mark.parametrize(
    ("opacity", "expected"), [(0, (10, 101, 200)), (0.5, (133, 51, 100)), (0.25, (71, 76, 150)), (1, RED)]
)
def test_overlay_blends_the_class_color(opacity: float, expected: Color) -> None:
    blended = overlay(solid_image(3, 4, (10, 101, 200)), np.zeros((3, 4), np.uint8), RGB, opacity)
    assert (blended.mode, blended.size) == ("RGB", (4, 3))
    assert (np.array(blended) == expected).all()


def test_overlay_outlines_the_boundary_in_white_with_dark_edges() -> None:
    mask = np.zeros((2, 8), np.uint8)
    mask[:, 4:] = 1
    row = np.array(overlay(solid_image(2, 8, (100, 100, 100)), mask, RGB))[0].tolist()
    red, green = [178, 50, 50], [50, 178, 50]
    dark_red, dark_green = [89, 25, 25], [25, 89, 25]
    assert row == [red, red, dark_red, list(WHITE), dark_green, green, green, green]


def test_overlay_outlines_across_rows_too() -> None:
    mask = np.zeros((8, 2), np.uint8)
    mask[4:] = 1
    column = np.array(overlay(solid_image(8, 2, (0, 0, 0)), mask, RGB))[:, 0]
    assert [row for row in range(8) if (column[row] == 255).all()] == [3]


def test_outline_is_wider_on_large_image() -> None:
    mask = np.zeros((1, 3000), np.uint8)
    mask[:, 1500:] = 1
    row = np.array(overlay(solid_image(1, 3000, (9, 9, 9)), mask, RGB))[0]
    assert (row == 255).all(axis=1).sum() == 7


@pytest.mark.parametrize("limit", ["_BLENDED_PIXELS", "_BLOCK_PIXELS"])
def test_overlay_of_several_bands_equals_that_of_one(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 23, 3), dtype=np.uint8)
    mask = np.array([[0, 1], [2, 255]], np.uint8).repeat(19, 0).repeat(12, 1)[:37, :23]
    whole = np.array(overlay(image, mask, RGB))
    # The package has a function of the same name as this module.
    monkeypatch.setattr(import_module("pixelwise.visualization.overlay"), limit, 100)
    np.testing.assert_array_equal(np.array(overlay(image, mask, RGB)), whole)


def test_a_wide_outline_continues_in_the_next_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outline of a tall image is seven pixels wide, and boundaries lie on and beside the borders of bands."""
    image = np.random.default_rng(0).integers(0, 256, (3100, 8, 3), dtype=np.uint8)
    mask = np.zeros((3100, 8), np.uint8)
    for index, row in enumerate((100, 147, 196, 251, 298, 306, 349, 352)):
        mask[row:] = index % 3
    whole = np.array(overlay(image, mask, RGB))
    for rows in (1, 7, 50):
        monkeypatch.setattr(import_module("pixelwise.visualization.overlay"), "_BLENDED_PIXELS", rows * 8)
        np.testing.assert_array_equal(np.array(overlay(image, mask, RGB)), whole)


def test_overlay_draws_ignored_pixels_with_an_outline() -> None:
    mask = np.zeros((1, 8), np.uint8)
    mask[:, 4:] = 255
    row = np.array(overlay(solid_image(1, 8, (0, 0, 0)), mask, RGB, 1))[0]
    assert tuple(row[7]) == IGNORE_COLOR
    assert tuple(row[3]) == WHITE


def test_overlay_does_not_change_its_inputs() -> None:
    image, mask = solid_image(4, 4, (7, 8, 9)), make_mask(*[[0, 0, 1, 1]] * 4)
    image_before, mask_before = image.copy(), mask.copy()
    overlay(image, mask, RGB)
    np.testing.assert_array_equal(image, image_before)
    np.testing.assert_array_equal(mask, mask_before)


def test_overlay_rejects_invalid_arguments() -> None:
    image, mask = solid_image(2, 3, RED), np.zeros((3, 2), np.uint8)
    with pytest.raises(ValueError, match=r"2×3 .* its mask is 3×2"):
        overlay(image, mask, RGB)
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB"):
        overlay(image.astype(np.float32), mask.T, RGB)
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB"):
        overlay(image[..., :1], mask.T, RGB)
    with pytest.raises(ValueError, match="opacity"):
        overlay(image, mask.T, RGB, 1.5)
