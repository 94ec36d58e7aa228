"""Extrapolation of a learning curve: the mIoU that a model would reach with more training images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EXPONENTS = (0.1, 1.0)
"""Range of the exponent c in the learning curve a − b·n^(−c).

Hestness et al. 2017, "Deep learning scaling is predictable, empirically", measured 0.07 to 0.35 for large data sets.
Small data sets have a greater exponent.
"""

TRAINING_SD = 0.01
"""Standard deviation of the mIoU between trainings with different random seeds."""

_SAMPLES = 20_000
"""Number of random curves."""


@dataclass(frozen=True)
class Gain:
    """The expected gain of mIoU from more images.

    Attributes:
        images: number of training images after the growth.
        gain: median of the expected gain.
        low: 5th percentile of the gain.
        high: 95th percentile of the gain.
    """

    images: int
    gain: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.images} images: about {self.gain:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def extrapolate(
    sizes: Sequence[int], scores: npt.ArrayLike, images: int, noise: npt.ArrayLike | None = None, seed: int = 0
) -> Gain:
    """Estimate the gain of mIoU if the number of training images grows.

    The model of the curve is the inverse power law a − b·n^(−c) with b ≥ 0 (Figueroa et al. 2012, "Predicting sample
    size required for classification performance"). Two or three noisy points do not determine three parameters. So c is
    drawn uniformly from `EXPONENTS`, and a and b are fitted by least squares. The mIoU cannot rise above 1. The
    interval includes the random differences between trainings (`TRAINING_SD`), the choice of the validation images
    (`noise`), and the unknown exponent.

    Args:
        sizes: numbers of training images, at least two different ones. The last one is the present size.
        scores: the mIoU at each size, in [0, 1].
        images: the greater number of training images.
        noise: (K, number of sizes) deviations of the scores by bootstrap over the validation images. The columns may be
            correlated. None for no such noise.
        seed: random seed.

    Returns:
        The gain compared with the last size, with a 90 % interval.

    Raises:
        ValueError: The sizes are not at least two different ones.

    >>> extrapolate((100, 200, 400), (0.6, 0.7, 0.75), 800).gain > 0
    True
    """
    count = np.asarray(sizes, np.float64)
    if len(set(sizes)) < 2:
        raise ValueError("a learning curve needs at least two different numbers of images")
    generator = np.random.default_rng(seed)
    samples = np.asarray(scores, np.float64) + generator.normal(0, TRAINING_SD, (_SAMPLES, len(count)))
    if noise is not None:
        deviations = np.asarray(noise, np.float64)
        samples += deviations[generator.integers(len(deviations), size=_SAMPLES)]
    exponent = generator.uniform(*EXPONENTS, (_SAMPLES, 1))
    # With x = n^(−c) the curve is a line. Its slope is −b.
    x = count ** (-exponent)
    centered = x - x.mean(1, keepdims=True)
    slope = (centered * samples).sum(1) / (centered**2).sum(1)
    b = np.maximum(-slope, 0)
    now, later = x[:, -1], float(images) ** (-exponent[:, 0])
    gain = b * (now - later)
    # The curve cannot rise above 1.
    gain = np.minimum(gain, 1 - np.asarray(scores, np.float64)[-1])
    low, middle, high = np.percentile(gain, (5, 50, 95))
    return Gain(images, float(middle), float(low), float(high))
