"""Tests of objects in masks: they equal those of SciPy and scikit-image."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import regionprops_table

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.inference.objects import find_objects


@pytest.mark.parametrize("values", [1, 2, 5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (37, 53), (60, 20)], ids=str)
def test_objects_equal_those_of_scikit_image(shape: tuple[int, int], values: int) -> None:
    mask = np.random.default_rng(values).integers(0, values, shape).astype(np.uint8)
    table = find_objects(mask, MULTICLASS, values, ())
    assert table.class_ids.tolist() == sorted(table.class_ids.tolist())
    for index in range(values):
        labeled, count = ndimage.label(mask == index, np.ones((3, 3)))
        expected = regionprops_table(labeled, properties=("label", "area", "bbox", "centroid"))
        found = table.class_ids == index
        assert np.count_nonzero(found) == count
        np.testing.assert_array_equal(table.labels[found], expected["label"])
        np.testing.assert_array_equal(table.areas[found], expected["area"])
        for axis in range(4):
            np.testing.assert_array_equal(table.boxes[found, axis], expected[f"bbox-{axis}"])
        for axis in range(2):
            np.testing.assert_allclose(table.centroids[found, axis], expected[f"centroid-{axis}"])


def test_background_has_no_objects() -> None:
    mask = np.array([[0, 1], [2, 1]], np.uint8)
    assert find_objects(mask, MULTICLASS, 3, (0, 2)).class_ids.tolist() == [1]
    assert len(find_objects(np.zeros((5, 5), np.uint8), MULTICLASS, 2, (0,)).areas) == 0


def test_objects_of_a_multilabel_mask_overlap() -> None:
    mask = np.zeros((2, 4, 4), np.uint8)
    mask[0, :, :2] = 1
    mask[1, 1:3] = 1
    table = find_objects(mask, MULTILABEL, 2, ())
    assert table.class_ids.tolist() == [0, 1]
    assert table.areas.tolist() == [8, 8]
    assert table.boxes.tolist() == [[0, 0, 4, 2], [1, 0, 3, 4]]
