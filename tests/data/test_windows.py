"""Windows of images: their number, positions and pixels, and the index of the places of classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelwise.data.class_cells import CELL_SIDE, ClassCells, cell_region, find_cells
from pixelwise.data.windows import (
    MAX_WINDOWS,
    MIN_WINDOWS,
    cut_window,
    draw_class_cell,
    draw_pixel_of,
    window_around,
    window_at_random,
    windows_per_image,
)


def test_windows_cover_the_area_of_each_image_once() -> None:
    counts = windows_per_image([6400 * 640, 640 * 640, 64], 64)
    assert counts.tolist() == [1000, 100, 1]


@pytest.mark.parametrize(("areas", "total"), [([100.0], MIN_WINDOWS), ([1e9] * 10, MAX_WINDOWS), ([1.0] * 5000, 5000)])
def test_the_number_of_windows_is_bounded(areas: list[float], total: int) -> None:
    assert windows_per_image(areas, 64).sum() == pytest.approx(total, rel=0.01)


def test_no_image_has_no_windows() -> None:
    assert windows_per_image([], 64).tolist() == []


unit = st.floats(0, 1, exclude_max=True)


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, 200), unit, unit, unit, unit)
def test_windows_stay_inside_and_contain_their_pixel(
    size: tuple[int, int], side: int, first: float, second: float, row: float, column: float
) -> None:
    pixel = int(row * size[0]), int(column * size[1])
    for window in (
        window_at_random(0, size, side, (first, second)),
        window_around(0, size, side, pixel, (first, second)),
    ):
        for length, start in zip(size, window[1:], strict=True):
            if length >= side:
                assert 0 <= start <= length - side
            else:
                assert start <= 0 and start + side >= length, "the whole image is inside"
    assert window.top <= pixel[0] < window.top + side and window.left <= pixel[1] < window.left + side


def test_a_window_has_its_pixel_at_random_places_of_its_middle_half() -> None:
    places = [
        500 - window_around(0, (1000, 1000), 100, (500, 500), (draw, 0.5)).top for draw in np.linspace(0, 0.99, 9)
    ]
    assert min(places) == 25 and max(places) == 74 and len(set(places)) == 9


def test_pixels_outside_are_mirrored() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    padded = np.pad(image, ((5, 5), (7, 7), (0, 0)), "symmetric")
    assert np.array_equal(cut_window(image, -3, -2, 9), padded[2:11, 5:14])
    inside = cut_window(image, 1, 2, 4)
    assert np.shares_memory(inside, image) and np.array_equal(inside, image[1:5, 2:6])


@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.integers(1, 150))
def test_cells_are_those_with_a_pixel_of_the_class(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.choice([0, 1, 5, 255], (height, width), p=[0.9899, 0.01, 0.0001, 0]).astype(np.uint8)
    found = find_cells(mask)
    count = -(-height // CELL_SIDE) * -(-width // CELL_SIDE)
    for value in (0, 1, 5):
        cells = [cell for cell in range(count) if (mask[cell_region(cell, width)] == value).any()]
        assert found.get(value, np.zeros(0)).tolist() == cells
    assert 255 not in found


def test_an_index_has_the_cells_of_each_image_and_class() -> None:
    first, second = np.zeros((200, 100), np.uint8), np.full((70, 70), 255, np.uint8)
    first[150, 90] = 2
    second[65, 1] = 1
    index = ClassCells.of([find_cells(first), find_cells(second)])
    assert [images.tolist() for images in index.images] == [[0], [1], [0]]
    assert index.of_class(0, 2).tolist() == [5] and index.of_class(1, 1).tolist() == [2]
    assert index.of_class(0, 0).tolist() == list(range(8)) and not len(index.of_class(1, 0))
    rows, columns = draw_class_cell(100, index, 0, 2, 0.9)
    assert (rows.start, columns.start) == (128, 64) and draw_pixel_of(first[rows, columns], 2, 0.9) == (22, 26)
    rows, columns = draw_class_cell(70, index, 1, 1, 0.0)
    assert (rows.start, columns.start) == (64, 0) and draw_pixel_of(second[rows, columns], 1, 0.0) == (1, 1)


def test_each_channel_of_a_multilabel_mask_is_a_class() -> None:
    mask = np.zeros((3, 70, 70), np.uint8)
    mask[2, 66, 3], mask[0, 0, 0] = 1, 255
    index = ClassCells.of([find_cells(mask)])
    assert [images.tolist() for images in index.images] == [[], [], [0]]
    assert draw_class_cell(70, index, 0, 2, 0.5) == (slice(64, 128), slice(0, 64))
    assert draw_pixel_of(mask[:, 64:, :64], 2, 0.5) == (2, 3)


def test_an_empty_index() -> None:
    assert ClassCells.of([{}, {}]).images == []
