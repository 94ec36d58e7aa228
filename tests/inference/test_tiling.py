"""Tests of windows and their blend: every pixel is covered, and blending windows of one field returns the field."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from pixelwise.inference.tiling import (
    BATCH_SIZE,
    TileGrid,
    Window,
    blend,
    blend_rows,
    crop_windows,
    gaussian_weights,
    window_starts,
)

SIZE = (32, 48)

SHAPES = [(150, 250), (20, 250), (150, 30), (9, 13), (32, 48), (33, 49), (1, 1)]


def cut_from(field: Tensor) -> Callable[[Sequence[Window]], Tensor]:
    """Return a function that "predicts" windows by cutting them out of a field of probabilities."""
    return lambda windows: crop_windows(field, windows, SIZE)


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [48, 49, 95, 96, 97, 1000])
def test_windows_cover_the_side_and_overlap_enough(length: int, overlap: float) -> None:
    starts = window_starts(length, 48, overlap)
    assert starts[0] == 0 and starts[-1] + 48 == length
    steps = np.diff(starts)
    assert np.all(steps > 0) and np.all(steps <= 48 * (1 - overlap) + 1)
    assert len(steps) == 0 or steps.max() - steps.min() <= 1, "even steps"


def test_a_short_side_is_in_the_middle_of_one_window() -> None:
    assert window_starts(40, 48) == (-4,) and window_starts(47, 48) == (0,)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_blend_of_equal_predictions_is_the_prediction(shape: tuple[int, int]) -> None:
    field = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    result = blend(TileGrid(*shape, SIZE), cut_from(field))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, field, atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(150, 250), (20, 250)], ids=str)
def test_columns_can_be_computed_alone(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    noise: dict[Window, Tensor] = {}

    def predict(windows: Sequence[Window]) -> Tensor:
        assert len(windows) <= BATCH_SIZE and len({window.top for window in windows}) == 1
        for window in windows:
            noise.setdefault(window, torch.rand(2, *SIZE, generator=generator))
        return torch.stack([noise[window] for window in windows])

    grid = TileGrid(*shape, SIZE)
    expected = blend(grid, predict)
    assert len(noise) == grid.count
    parts = []
    for columns in (range(70), range(70, 71), range(71, 250)):
        rows, blocks = zip(*blend_rows(grid, predict, columns), strict=True)
        assert [row for part in rows for row in part] == list(range(shape[0])), "each row once, in order"
        parts.append(torch.cat(blocks, 1))
    assert torch.equal(torch.cat(parts, 2), expected)


def test_the_middle_of_a_window_counts_most() -> None:
    """Two windows with the probabilities 0 and 1: the blend rises smoothly from one to the other."""
    grid = TileGrid(32, 72, SIZE)
    assert grid.lefts == (0, 24)

    def predict(windows: Sequence[Window]) -> Tensor:
        return torch.stack([torch.full((1, *SIZE), float(window.left > 0)) for window in windows])

    row = blend(grid, predict)[0, 0]
    assert torch.all(row.diff() >= 0), "no pixel falls back"
    assert row[:24].max() == 0 and row[48:].min() == 1
    assert row[35:37].mean().item() == pytest.approx(0.5, abs=1e-3)
    assert row.diff().max() < 0.25, "no step at the border of a window"


def test_weights_are_symmetric_and_positive() -> None:
    weights = gaussian_weights(33)
    assert torch.equal(weights, weights.flip(0)) and weights.argmax() == 16 and weights[16] == 1
    assert weights.min() > 1e-4


def test_windows_outside_the_image_are_mirrored() -> None:
    image = torch.arange(6).view(1, 2, 3)
    window = crop_windows(image, [Window(-1, -1)], (4, 5))[0, 0]
    assert window.tolist() == [[0, 0, 1, 2, 2], [0, 0, 1, 2, 2], [3, 3, 4, 5, 5], [3, 3, 4, 5, 5]]
    assert crop_windows(image[:, :1, 1:2], [Window(-3, -3)], (7, 7)).unique().tolist() == [1]
