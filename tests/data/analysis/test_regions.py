"""Region statistics of one mask: objects, sizes, widths, and the values of lossy masks."""

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.regions import (
    MAX_OBJECT_SIZES,
    RegionStats,
    mean_width,
    object_sizes,
    reduce_mask,
    region_stats,
    zero_contacts,
)
from pixelwise.data.label_map.mask_stats import MaskStats, image_mask_stats


def test_objects_that_touch_at_corners_are_one_and_small_regions_are_none() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0:3, 0:3] = mask[3:6, 3:6] = True  # one object of 18 pixels
    mask[10, 10:14] = True  # 4 pixels: no object
    mask[15, 2:7] = True  # 5 pixels
    assert object_sizes(mask).tolist() == pytest.approx([(5 / 400) ** 0.5, (18 / 400) ** 0.5])
    assert object_sizes(np.zeros((4, 4), bool)).size == 0


def test_masks_are_reduced_with_their_aspect_ratio() -> None:
    assert reduce_mask(np.zeros((1000, 500))).shape == (256, 128)
    assert reduce_mask(np.zeros((100, 256))).shape == (100, 256)
    assert reduce_mask(np.zeros((20_000, 10))).shape == (256, 1)


def test_mean_width_of_a_square_is_half_its_side() -> None:
    square = np.zeros((100, 100), bool)
    square[20:60, 20:60] = True
    assert mean_width(square) == pytest.approx(0.2)
    assert mean_width(np.zeros((10, 10), bool)) == 0


def test_values_of_a_lossy_mask_count_with_the_nearest_frequent_value() -> None:
    mask = np.full((20, 20), 10, np.uint8)
    mask[:10, :10], mask[0, 0], mask[0, 19] = 200, 220, 30
    values, counts = np.unique(mask, return_counts=True)
    stats = MaskStats("index", dict(zip(values.tolist(), counts.tolist(), strict=True)), (20, 20), lossy=True)
    regions = region_stats(stats, mask)
    assert dict(zip(regions.values.tolist(), regions.pixels.tolist(), strict=True)) == {10: 300, 200: 100}
    assert regions.objects.tolist() == [1, 1]


def test_sizes_of_many_objects_are_sampled_evenly() -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[::8, 0:5] = mask[::8, 20:26] = mask[::8, 40:60] = 1  # 96 objects of 5, 6 and 20 pixels
    values, counts = np.unique(mask, return_counts=True)
    stats = MaskStats("index", dict(zip(values.tolist(), counts.tolist(), strict=True)), (256, 256))
    sizes = region_stats(stats, mask).object_sizes[1]
    assert len(sizes) == MAX_OBJECT_SIZES
    assert sorted({round(float(size) ** 2 * 256**2) for size in sizes}) == [5, 6, 20]


@pytest.mark.parametrize("shape", [(100, 100), (30, 200)])
@pytest.mark.parametrize("rows", [1.0, 0.9, 0.5])
def test_no_width_exceeds_the_shorter_side(rows: float, shape: tuple[int, int]) -> None:
    region = np.zeros(shape, bool)
    region[: int(rows * shape[0])] = True
    assert mean_width(region) <= min(shape) / (shape[0] * shape[1]) ** 0.5 <= 1


def measure(mask: np.ndarray) -> RegionStats:
    values, counts = np.unique(mask, return_counts=True)
    pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return region_stats(MaskStats("index", pixels, (mask.shape[0], mask.shape[1])), mask)


def test_regions_too_small_for_objects_are_measured_at_full_size() -> None:
    mask = np.zeros((512, 1024), np.uint8)
    mask[10:13, 10:13] = mask[50:53, 90:93] = 1  # less than a pixel in the reduced mask
    mask[200:300, 200:300] = 2
    regions = measure(mask)
    row = {value: index for index, value in enumerate(regions.values.tolist())}
    assert regions.objects[row[1]] == 0 and regions.objects[row[2]] == 1
    assert regions.small_sizes[row[1]] == pytest.approx((9 / mask.size) ** 0.5)
    assert regions.small_sizes[row[0]] == regions.small_sizes[row[2]] == 0


def test_contact_with_zero_is_a_fraction_of_the_outline() -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[5:15, 5:10] = 1  # 10 of its 30 outline pixels border on 2
    mask[5:15, 10:20] = 2
    mask[0, 25:] = 3  # the edge of the image is no outline
    contacts = dict(zip((3, 0, 2, 1), zero_contacts(mask, [3, 0, 2, 1]).tolist(), strict=True))
    assert contacts[1] == pytest.approx(20 / 30) and contacts[2] == pytest.approx(30 / 40) and contacts[3] == 1
    assert np.isnan(contacts[0])
    assert np.isnan(zero_contacts(np.ones((4, 4), np.uint8), [1])).all()


def test_contact_of_values_that_are_not_kept_is_left_out() -> None:
    mask = np.array([[0, 9, 1, 0]], np.uint8)
    assert zero_contacts(mask, [1]).tolist() == [0.5]


def test_many_numbered_objects_are_counted_in_full() -> None:
    """Only some values are measured. The last of them stands for all other numbers."""
    mask = np.zeros((200, 200), np.uint16)
    for number in range(100):
        row, column = 20 * (number // 10), 20 * (number % 10)
        mask[row : row + 10, column : column + 10] = number + 1
    stats = image_mask_stats(Image.fromarray(mask))
    regions = region_stats(stats, mask)
    assert (regions.pixels.sum(), regions.objects[regions.values > 0].sum()) == (mask.size, 100)
    assert regions.pixels[regions.values == 0].item() == np.count_nonzero(mask == 0)
