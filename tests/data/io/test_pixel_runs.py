"""Run lengths without the size of the image."""

import numpy as np
import pytest

from pixelwise.data.io.mask import read_mask
from pixelwise.data.io.pixel_runs import draw_runs
from pixelwise.data.schema import Annotation, LabelMap, PixelRuns, PolygonMask
from pixelwise.errors import DataError


@pytest.mark.parametrize("by_row", [False, True])
def test_runs_are_drawn_along_columns_or_rows(by_row: bool) -> None:
    mask = np.random.default_rng(0).integers(0, 2, (7, 11)).astype(bool)
    flat = np.flatnonzero(mask.ravel(order="C" if by_row else "F"))
    runs = np.stack([flat, np.ones_like(flat)], axis=1)
    assert np.array_equal(draw_runs(PixelRuns(runs, by_row), mask.shape), mask)


def test_runs_may_overlap_and_end_with_the_image() -> None:
    assert draw_runs(PixelRuns(np.array([[0, 3], [1, 1], [5, 1]])), (3, 2)).T.ravel().tolist() == [1, 1, 1, 0, 0, 1]
    assert not draw_runs(PixelRuns(np.zeros((0, 2), np.int64)), (3, 2)).any()


def test_runs_for_a_larger_image_are_an_error_that_names_the_mask() -> None:
    mask = PolygonMask((Annotation(1, runs=PixelRuns(np.array([[5, 2]]))),), "train.csv, line 2")
    with pytest.raises(DataError, match=r"^train.csv, line 2: run lengths end at pixel 7, but 2x3 pixels are 6$"):
        read_mask(mask, LabelMap("polygons"), (3, 2))
