"""The extrapolation of learning curves, checked on curves with known parameters."""

import numpy as np
import pytest

from pixelwise.evaluation.extrapolation import EXPONENTS, TRAINING_SD, Gain, extrapolate


def test_the_interval_contains_the_true_gain_as_often_as_it_states() -> None:
    rng = np.random.default_rng(1)
    contained, errors = [], []
    for _ in range(200):
        limit, exponent = rng.uniform(0.6, 1), rng.uniform(*EXPONENTS)
        now = int(rng.choice([40, 100, 300, 1000]))
        sizes = (now // 4, now // 2, now)
        slope = (limit - rng.uniform(0.3, limit - 0.02)) * sizes[0] ** exponent
        true = limit - slope * np.array([*sizes, 2 * now]) ** -exponent
        # All scores share the validation images, and each training has its own random seed.
        scores = true[:3] + rng.normal(0, 0.02) + rng.normal(0, TRAINING_SD, 3)
        estimate = extrapolate(sizes, scores, 2 * now)
        gain = true[3] - true[2]
        contained.append(estimate.low <= gain <= estimate.high)
        errors.append(estimate.gain - gain)
    assert 0.84 <= np.mean(contained) <= 0.96, "90 % interval"
    assert abs(np.mean(errors)) < 0.005


def test_a_flat_curve_promises_little() -> None:
    gain = extrapolate((100, 200, 400), (0.8, 0.8, 0.8), 800)
    assert 0 <= gain.low <= gain.gain < 0.01 and gain.high < 0.03


def test_the_gain_cannot_exceed_a_perfect_score() -> None:
    gain = extrapolate((10, 20, 40), (0.5, 0.8, 0.99), 400)
    assert gain.high == pytest.approx(0.01)


def test_scores_that_fall_give_no_gain() -> None:
    assert extrapolate((100, 200, 400), (0.8, 0.75, 0.7), 800).gain == 0


def test_noise_of_the_validation_images_widens_the_interval() -> None:
    noise = np.random.default_rng(0).normal(0, 0.03, (500, 3))
    sizes, scores = (100, 200, 400), (0.6, 0.66, 0.7)
    without, with_noise = extrapolate(sizes, scores, 800), extrapolate(sizes, scores, 800, noise)
    assert with_noise.high - with_noise.low > 1.5 * (without.high - without.low)


def test_the_result_is_reproducible_and_readable() -> None:
    first, second = (extrapolate((100, 200, 400), (0.6, 0.66, 0.7), 800) for _ in range(2))
    assert first == second
    assert str(Gain(600, 0.0164, 0.004, 0.031)) == "600 images: about +0.016 (+0.004 to +0.031)"


def test_one_number_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two different numbers of images"):
        extrapolate((100, 100), (0.6, 0.7), 200)
