"""Calibration: the error by hand, and temperatures of logits that were scaled by a known factor."""

import numpy as np
import pytest
import torch

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.metrics.calibration import BINS, MAX_TEMPERATURE, ReliabilityBins, TemperatureFit


class TestReliabilityBins:
    def test_the_error_by_hand(self) -> None:
        bins = ReliabilityBins()
        # 10 predictions with probability 0.9, 8 correct: a gap of 0.1. 30 with 0.5, all correct: a gap of 0.5.
        bins.update(torch.full((10,), 0.9), torch.arange(10) < 8)
        bins.update(torch.full((30,), 0.5), torch.ones(30, dtype=torch.bool))
        result = bins.compute()
        assert result.error == pytest.approx((10 * 0.1 + 30 * 0.5) / 40)
        assert sum(result.counts) == 40
        filled = [index for index, count in enumerate(result.counts) if count]
        assert filled == [int(0.5 * BINS), int(0.9 * BINS)]
        assert [result.accuracy[index] for index in filled] == [1.0, 0.8]
        assert [result.confidence[index] for index in filled] == pytest.approx([0.5, 0.9])

    def test_it_equals_a_computation_by_numpy(self) -> None:
        rng = np.random.default_rng(0)
        confidence = rng.random(5000).astype(np.float32)
        correct = rng.random(5000) < confidence**2
        bins = ReliabilityBins()
        bins.update(torch.from_numpy(confidence), torch.from_numpy(correct))
        edges = np.clip(np.digitize(confidence, np.linspace(0, 1, BINS + 1)) - 1, 0, BINS - 1)
        expected = sum(
            abs(confidence[edges == index].mean() - correct[edges == index].mean()) * (edges == index).mean()
            for index in range(BINS)
        )
        assert bins.compute().error == pytest.approx(expected, abs=1e-6)

    def test_a_probability_of_one_is_in_the_last_bin(self) -> None:
        bins = ReliabilityBins()
        bins.update(torch.ones(3), torch.ones(3, dtype=torch.bool))
        assert bins.compute().counts[-1] == 3 and bins.compute().error == 0

    def test_there_is_no_error_without_predictions(self) -> None:
        assert ReliabilityBins().compute().error is None


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL], ids=["multiclass", "multilabel"])
def test_the_temperature_undoes_a_scale_of_the_logits(task: object, factor: float) -> None:
    """Labels are drawn with the probabilities of the logits. Logits times a factor need the factor as temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4, 3, 64, 64, generator=generator)
    if task is MULTICLASS:
        flat = logits.permute(0, 2, 3, 1).reshape(-1, 3).softmax(1)
        masks = torch.multinomial(flat, 1, generator=generator).view(4, 64, 64).byte()
    else:
        masks = torch.bernoulli(logits.sigmoid(), generator=generator).byte()
    masks[..., :8, :] = 255
    fit = TemperatureFit(MULTICLASS if task is MULTICLASS else MULTILABEL, 3, len(logits))
    for one, mask in zip(logits * factor, masks, strict=True):
        fit.add(one, mask)
    assert fit.fit() == pytest.approx(factor, rel=0.05)


def test_a_sample_of_a_large_image_has_pixels_of_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pixelwise.metrics.calibration._MAX_FIT_VALUES", 2 * 64)
    fit = TemperatureFit(MULTICLASS, 2, 1)
    columns = torch.arange(64).float().expand(2, 64, 64)
    fit.add(columns, torch.zeros(64, 64, dtype=torch.uint8))
    (sample,) = fit._logits
    assert sample.shape[1] <= 64 and len(sample[0].unique()) > 30


def test_a_temperature_without_labels_is_one() -> None:
    fit = TemperatureFit(MULTICLASS, 2, 1)
    assert fit.fit() == 1.0
    fit.add(torch.randn(2, 4, 4), torch.full((4, 4), 255, dtype=torch.uint8))
    assert fit.fit() == 1.0


def test_a_model_without_knowledge_gets_a_limited_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    fit = TemperatureFit(MULTICLASS, 2, 1)
    logits = 50 * torch.randn(2, 64, 64, generator=generator)
    fit.add(logits, torch.randint(2, (64, 64), generator=generator, dtype=torch.uint8))
    assert 15 < fit.fit() <= MAX_TEMPERATURE
