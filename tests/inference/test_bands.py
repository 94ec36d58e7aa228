"""Tests of masks computed in bands of rows: they equal those of all logits resized at once, in bounded memory."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.inference import bands
from pixelwise.inference.bands import resize_to_mask

SIZES = [(51, 77), (1, 1), (333, 257), (3, 500), (500, 2), (40, 40), (17, 640)]


def make_logits(classes: int = 3, height: int = 40, width: int = 40) -> torch.Tensor:
    return torch.randn(classes, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rows", [1, 7, 64])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL], ids=str)
def test_bands_equal_all_rows_at_once(task: Task, size: tuple[int, int], rows: int) -> None:
    logits = make_logits()
    large = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    mask, probabilities = resize_to_mask(logits, size, task, probabilities=True, max_bytes=rows * 4 * 3 * size[1])
    assert probabilities is not None and mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, task.logits_to_mask(large).numpy())
    np.testing.assert_allclose(probabilities, task.activate(large).numpy(), atol=1e-5)


def test_logits_of_another_shape_than_a_square() -> None:
    logits = make_logits(height=13, width=90)
    large = F.interpolate(logits[None], (101, 45), mode="bilinear", align_corners=False)[0]
    mask, probabilities = resize_to_mask(logits, (101, 45), MULTICLASS, max_bytes=1000)
    np.testing.assert_array_equal(mask, large.argmax(0).numpy())
    assert probabilities is None


def test_the_first_class_wins_a_tie() -> None:
    mask, _ = resize_to_mask(torch.zeros(5, 8, 8), (33, 21), MULTICLASS, max_bytes=1)
    assert not mask.any()


def test_no_band_takes_more_than_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    resize = bands._resize_band

    def observed(*args: object) -> torch.Tensor:
        band = resize(*args)  # type: ignore[arg-type]
        sizes.append(band.numel() * 4)
        return band

    monkeypatch.setattr(bands, "_resize_band", observed)
    mask, _ = resize_to_mask(make_logits(150, 8, 8), (400, 500), MULTICLASS, max_bytes=4_000_000)
    assert mask.shape == (400, 500)
    assert max(sizes) <= 4_000_000 and sum(sizes) == 150 * 400 * 500 * 4


def smooth_logits(classes: int = 3, height: int = 40, width: int = 40, step: int = 10) -> torch.Tensor:
    """Return logits of a few large regions, as those of trained models."""
    coarse = make_logits(classes, -(-height // step) + 1, -(-width // step) + 1)
    return F.interpolate(coarse[None], (height, width), mode="bicubic")[0]


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("size", [*SIZES, (400, 500), (10, 600)], ids=str)
@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL], ids=str)
def test_pixels_between_logits_of_one_class_are_not_interpolated(
    task: Task, size: tuple[int, int], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = smooth_logits()
    large = torch.cat([band for band, _ in bands._bands(logits, size, bands.MAX_BAND_BYTES)], 1)
    expected = task.logits_to_mask(large).numpy()
    monkeypatch.setattr(bands, "_MAX_MIXED", 1)
    monkeypatch.setattr(bands, "_resize_band", None)
    interpolated = []

    def observed(*args: object) -> torch.Tensor:
        interpolated.append(interpolate(*args).shape[-1])  # type: ignore[arg-type]
        return interpolate(*args)  # type: ignore[arg-type]

    interpolate = bands._interpolate_pixels
    monkeypatch.setattr(bands, "_interpolate_pixels", observed)
    mask, _ = resize_to_mask(logits, size, task, max_bytes=rows * 4 * 3 * size[1])
    np.testing.assert_array_equal(mask, expected)
    if min(size) >= 40:
        assert 0 < sum(interpolated) < 0.5 * mask.size


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_memory_layout_of_the_logits_does_not_matter(layout: torch.memory_format) -> None:
    logits = smooth_logits()
    mask, _ = resize_to_mask(logits[None].contiguous(memory_format=layout)[0], (90, 70), MULTICLASS)
    np.testing.assert_array_equal(mask, bands._resize_band(logits, (90, 70), 0, 90).argmax(0).numpy())


def test_255_classes() -> None:
    """The index of the last class is 254, which is not the mark of a cell with several classes."""
    logits = torch.zeros(255, 6, 6)
    logits[254, :, 3:] = 1
    mask, _ = resize_to_mask(logits, (12, 12), MULTICLASS)
    assert mask[0].tolist() == [0] * 5 + [254] * 7
