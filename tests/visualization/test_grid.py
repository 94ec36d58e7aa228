"""Tests of grids of images and masks: the position of each image is found by its color."""

from typing import Any

import numpy as np
import pytest

from pixelwise.palette import IGNORE_COLOR, default_palette
from pixelwise.visualization import color_mask, overlay_grid, overlay_pair, prediction_grid
from tests.visualization.helpers import BLUE, GREEN, RED, RGB, WHITE, Pixels, bounding_box, count_pixels, solid_image


def make_samples() -> tuple[list[Pixels], list[Pixels], list[Pixels]]:
    """Return a wide and a high image of one color each, and their true and predicted masks of one class each."""
    images = [solid_image(60, 120, (11, 22, 33)), solid_image(200, 100, (44, 55, 66))]
    true_masks = [np.full(image.shape[:2], i, np.uint8) for i, image in enumerate(images)]
    predictions = [np.full(image.shape[:2], 2, np.uint8) for image in images]
    return images, true_masks, predictions


def test_prediction_grid_has_a_row_per_image_and_three_columns() -> None:
    images, true_masks, predictions = make_samples()
    grid = prediction_grid(images, true_masks, predictions, ("a", "b", "c"), RGB, "epoch 3", width=700)
    assert grid.mode == "RGB" and grid.width == 700
    above_legend = grid.crop((0, 0, 700, grid.height - 45))
    first, second = bounding_box(grid, (11, 22, 33)), bounding_box(grid, (44, 55, 66))
    true_first, true_second = bounding_box(above_legend, RED), bounding_box(above_legend, GREEN)
    predicted = bounding_box(above_legend, BLUE)

    assert first[3] <= second[1], "the first sample is above the second"
    assert first[2] <= true_first[0] and true_first[2] <= predicted[0], "image, true mask, prediction"
    for image, true_box in ((first, true_first), (second, true_second)):
        assert (image[1], image[3]) == (true_box[1], true_box[3])
        assert image[2] - image[0] == true_box[2] - true_box[0]
    assert (predicted[1], predicted[3]) == (first[1], second[3])
    assert abs((first[0] + first[2]) - (second[0] + second[2])) <= 1, "both in the middle of their cells"
    for (left, upper, right, lower), shape in ((first, (60, 120)), (second, (200, 100))):
        assert (right - left) / (lower - upper) == pytest.approx(shape[1] / shape[0], rel=0.02), "undistorted"


def test_prediction_grid_keeps_orientation() -> None:
    corner = np.zeros((40, 40), np.uint8)
    corner[:20, :20] = 1
    image = color_mask(corner, ((9, 9, 9), (250, 240, 230)))
    grid = prediction_grid([image], [corner], [corner.T[::-1]], ("a", "b"), (RED, GREEN), width=300)
    above_legend = grid.crop((0, 0, 300, grid.height - 45))
    square, quarter = bounding_box(grid, (9, 9, 9)), bounding_box(grid, (250, 240, 230))
    assert quarter[:2] == square[:2]
    pixels = np.array(above_legend)
    green = (pixels == GREEN).all(axis=2)
    true_half, predicted_half = green[:, :200], green[:, 200:]
    assert np.nonzero(true_half)[0].min() < np.nonzero(predicted_half)[0].min(), "turned up in one, down in the other"


@pytest.mark.parametrize("width", [150, 1500])
def test_scaled_mask_has_no_new_class(width: int) -> None:
    mask = np.zeros((120, 120), np.uint8)
    mask[::7, 40:] = 2
    grid = prediction_grid([solid_image(120, 120, WHITE)], [mask], None, ("a", "b", "c"), RGB, width=width)
    inside = np.array(grid.crop((width // 2 + 5, 50, width - 20, grid.height - 90)))
    assert np.unique(inside.reshape(-1, 3), axis=0).tolist() == [list(BLUE), list(RED)]


def test_cells_are_wider_without_predictions() -> None:
    images, true_masks, predictions = make_samples()
    two = prediction_grid(images, true_masks, None, ("a", "b", "c"), RGB, width=600)
    three = prediction_grid(images, true_masks, predictions, ("a", "b", "c"), RGB, width=600)
    wide, narrow = bounding_box(two, (11, 22, 33)), bounding_box(three, (11, 22, 33))
    assert wide[2] - wide[0] > 1.3 * (narrow[2] - narrow[0])
    assert count_pixels(two.crop((0, 0, 600, two.height - 45)), BLUE) == 0


def test_legend_lists_all_classes_and_ignore_only_if_present() -> None:
    images, true_masks, _ = make_samples()
    grid = prediction_grid(images, true_masks, None, ("a", "b", "c"), RGB)
    assert count_pixels(grid, BLUE) > 100, "class c is in no mask, yet in the legend"
    assert count_pixels(grid, IGNORE_COLOR) == 0
    true_masks[0][:] = 255
    with_ignore = prediction_grid(images, true_masks, None, ("a", "b", "c"), RGB)
    legend = with_ignore.crop((0, with_ignore.height - 45, with_ignore.width, with_ignore.height))
    assert count_pixels(legend, IGNORE_COLOR) > 100


def test_legend_of_many_classes_lists_only_those_in_the_masks() -> None:
    palette = default_palette(150)
    classes = [f"class number {i}" for i in range(150)]
    mask = np.zeros((30, 30), np.uint8)
    mask[:, 15:] = 77
    grid = prediction_grid([solid_image(30, 30, WHITE)], [mask], None, classes, palette, width=400)
    legend = grid.crop((0, grid.height - 70, 400, grid.height))
    assert count_pixels(legend, palette[77]) > 100
    assert count_pixels(legend, palette[78]) == 0
    assert grid.height < 400


def test_title_changes_only_the_top_of_the_grid() -> None:
    images, true_masks, _ = make_samples()
    one = prediction_grid(images, true_masks, None, ("a", "b", "c"), RGB, "epoch 1 · validation mIoU 0.5")
    two = prediction_grid(images, true_masks, None, ("a", "b", "c"), RGB, "epoch 2 · " + "a very long title " * 20)
    assert one.size == two.size
    rows = np.nonzero((np.array(one) != np.array(two)).any(axis=(1, 2)))[0]
    assert len(rows) and rows.max() < 50
    columns = np.nonzero((np.array(two)[:50] != 255).any(axis=(0, 2)))[0]
    assert columns.max() < two.width - 15, "a long title is cut, not run off the grid"


def test_prediction_grid_draws_images_of_extreme_shapes() -> None:
    images = [solid_image(1, 1, (1, 2, 3)), solid_image(1, 2000, (4, 5, 6)), solid_image(2000, 1, (7, 8, 9))]
    masks = [np.zeros(image.shape[:2], np.uint8) for image in images]
    grid = prediction_grid(images, masks, masks, ("a",), (RED,))
    for color in ((1, 2, 3), (4, 5, 6), (7, 8, 9)):
        assert count_pixels(grid, color) > 0


def test_overlay_grid_has_pairs_in_reading_order() -> None:
    colors = [(10 * i + 8, 100, 200) for i in range(5)]
    images = [solid_image(40 + 10 * i, 60, color) for i, color in enumerate(colors)]
    masks = [np.full(image.shape[:2], i % 2, np.uint8) for i, image in enumerate(images)]
    names = [f"image {i}.jpg" for i in range(5)]
    grid = overlay_grid(images, masks, names, ("a", "b"), (RED, GREEN), "five", columns=2, width=640)
    assert grid.width == 640
    boxes = [bounding_box(grid, color) for color in colors]
    for left, right in ((0, 1), (2, 3)):
        assert boxes[left][2] < boxes[right][0] and boxes[left][1] < boxes[right][3]
    for upper, lower in ((0, 2), (1, 3), (2, 4)):
        assert boxes[upper][3] < boxes[lower][1]
    for i, (color, box) in enumerate(zip(colors, boxes, strict=True)):
        red, green, blue = ((a + b + 1) // 2 for a, b in zip(color, (RED, GREEN)[i % 2], strict=True))
        blended = bounding_box(grid, (red, green, blue))
        assert blended[0] >= box[2] and (blended[1], blended[3]) == (box[1], box[3])


def test_overlay_grid_writes_names_below_images() -> None:
    images, masks = [solid_image(40, 40, BLUE)], [np.zeros((40, 40), np.uint8)]
    short = overlay_grid(images, masks, ["a.jpg"], ("a",), (RED,), "t", width=300)
    long = overlay_grid(images, masks, ["a" * 300 + ".jpg"], ("a",), (RED,), "t", width=300)
    assert short.size == long.size
    rows, columns = np.nonzero((np.array(short) != np.array(long)).any(axis=2))
    assert rows.min() > bounding_box(short, BLUE)[3] - 1
    assert columns.max() < 300 - 15


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "at least one image"),
        ({"true_masks": [np.zeros((60, 120), np.uint8)]}, "2 images but 1 masks"),
        (
            {"true_masks": [np.zeros((60, 121), np.uint8), np.zeros((200, 100), np.uint8)]},
            "60×120 .* mask is 60×121",
        ),
        ({"predictions": [np.zeros((120, 60), np.uint8), np.zeros((200, 100), np.uint8)]}, "mask is 120×60"),
        ({"classes": ("a", "b")}, "2 classes but 3 colors"),
        ({"width": 60}, "too narrow"),
    ],
)
def test_prediction_grid_rejects_invalid_arguments(change: dict[str, Any], message: str) -> None:
    images, true_masks, predictions = make_samples()
    arguments = {"images": images, "true_masks": true_masks, "predictions": predictions, "classes": ("a", "b", "c")}
    with pytest.raises(ValueError, match=message):
        prediction_grid(**{**arguments, "palette": RGB, **change})


def test_overlay_grid_rejects_invalid_arguments() -> None:
    images, true_masks, _ = make_samples()
    with pytest.raises(ValueError, match="2 images but 1 names"):
        overlay_grid(images, true_masks, ["one"], ("a", "b", "c"), RGB, "t")
    with pytest.raises(ValueError, match="at least one column"):
        overlay_grid(images, true_masks, ["one", "two"], ("a", "b", "c"), RGB, "t", columns=0)
    with pytest.raises(ValueError, match=r"200×100 .* mask is 60×120"):
        overlay_grid(images[::-1], true_masks, ["one", "two"], ("a", "b", "c"), RGB, "t")


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(20, 40, (203, 50)), (90, 30, (103, 150)), (900, 900, (203, 100))]
)
def test_a_pair_has_the_image_on_the_left_and_its_overlay_on_the_right(
    height: int, width: int, expected: tuple[int, int]
) -> None:
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = 1
    pair = overlay_pair(solid_image(height, width, (11, 22, 33)), mask, (RED, GREEN), 203)
    assert pair.size == expected
    middle = pair.width // 2
    assert bounding_box(pair, (11, 22, 33)) == (0, 0, middle - 1, pair.height)
    below, above = pair.getpixel((middle + 10, pair.height - 5)), pair.getpixel((middle + 10, 5))
    assert below[0] > below[1] and above[1] > above[0], "red below, green above"  # type: ignore[index]
    pair = overlay_pair(solid_image(height, width, (11, 22, 33)), mask, (RED, GREEN), 203, uncolored=(1,))
    assert pair.getpixel((middle + 10, 5)) == (11, 22, 33)
    assert pair.getpixel((middle + 10, pair.height - 5)) == below
