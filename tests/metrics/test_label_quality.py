"""The label quality score against its formula, and on a mask with known errors."""

import pytest
import torch

from pixelwise.metrics.label_quality import TEMPERATURE, label_quality


def test_it_is_the_mean_weighted_by_the_softmax_of_the_distrust() -> None:
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = float(scores @ ((1 - scores) / TEMPERATURE).softmax(0))
    assert label_quality(scores) == pytest.approx(expected, rel=1e-9)


def test_a_wrong_region_lowers_the_score_more_than_a_low_probability_everywhere() -> None:
    right, unsure, wrong = (torch.full((10_000,), value) for value in (0.95, 0.8, 0.95))
    wrong[:500] = 0.02
    scores = [label_quality(each) for each in (right, unsure, wrong)]
    assert scores[0] == pytest.approx(0.95) and scores[1] == pytest.approx(0.8)
    assert scores[2] is not None and scores[2] < 0.05


def test_an_image_without_labels_has_no_score() -> None:
    assert label_quality(torch.zeros(0)) is None
