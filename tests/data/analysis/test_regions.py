"""Region statistics of one mask: objects, sizes, widths, and the values of lossy masks."""

import numpy as np
import pytest

from pixelwise.data.analysis.regions import MAX_OBJECT_SIZES, mean_width, object_sizes, reduce_mask, region_stats
from pixelwise.data.label_map.value_counts import MaskStats


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
