"""Confidence intervals of the IoU by a bootstrap over images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from scipy.stats import t as student_t

LEVEL = 0.95
"""Confidence level of the intervals."""

RESAMPLES = 2000
"""Number of bootstrap samples."""

BLOCKS = 12
"""Number of blocks of consecutive images if all images are of one group."""

_MIN_EFFECTIVE_UNITS = 2.0
"""Minimum effective number of units in the correction for few units. Its interval is the range of all samples."""

_MAX_CELLS = 1 << 24
"""Maximum number of cells of the arrays of one block of bootstrap samples."""


class Interval(NamedTuple):
    """A confidence interval.

    Attributes:
        low: lower end.
        high: upper end.
    """

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the width, for "value ± half width"."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals of the mean IoU and of the IoU of each class.

    Attributes:
        mean_iou: interval of the mean IoU. None if there are fewer than two units, or no two units have the same class.
        classes: class name → interval. None if fewer than two units have the class.
        units: number of units that were drawn: images, groups of images, or blocks of consecutive images.
        unit: "image", "group" or "block".
    """

    mean_iou: Interval | None
    classes: dict[str, Interval | None]
    units: int
    unit: str

    @property
    def units_to_halve(self) -> int:
        """Number of additional units with which the interval would be about half as wide: three times as many."""
        return 3 * self.units

    def to_dict(self) -> dict[str, Any]:
        """Return the intervals as JSON types."""
        return {
            "level": LEVEL,
            "resamples": RESAMPLES,
            "unit": self.unit,
            "units": self.units,
            "miou": self.mean_iou,
            "classes": dict(self.classes),
        }


def bootstrap_iou(
    counts: npt.NDArray[np.int64], classes: Sequence[str], groups: Sequence[str | None] = (), seed: int = 0
) -> Intervals:
    """Compute confidence intervals of IoUs by drawing images with replacement.

    The IoU of each sample is computed from its pixel counts summed over images, like that of the data set. Images of
    one group (frames of a video, images of a patient) are not independent, so whole groups are drawn. If all images
    are of one group and there are at least 2 · `BLOCKS` images, `BLOCKS` blocks of consecutive images are drawn. The
    intervals then do not cover other groups.

    Quantiles of few units lie too close together. They are corrected by the expanded percentiles of Hesterberg 2015,
    "What teachers should know about the bootstrap". Units with large objects dominate an IoU. So the correction uses
    the effective number of units (Kish 1965, "Survey sampling"): (Σu)² / Σu², with the union u of a class in each unit.

    Args:
        counts: (N, C, 3) true positives, false positives and false negatives of each image and class, in pixels.
        classes: C names, in index order.
        groups: the group of each image, or () without groups. An image with the group None is its own group.
        seed: random seed.

    Returns:
        Intervals at the confidence level `LEVEL`.
    """
    counts, unit = _to_units(counts, groups)
    units = len(counts)
    if units < 2:
        return Intervals(None, dict.fromkeys(classes), units, unit)
    samples = np.concatenate([*_resample(counts, np.random.default_rng(seed))])
    effective = _effective_units(counts)
    ends = {name: _interval(samples[:, index], effective[index]) for index, name in enumerate(classes)}
    mean = _interval(_mean_of_present(samples), float(effective[effective > 0].mean()) if effective.any() else 0.0)
    return Intervals(mean, ends, units, unit)


def bootstrap_mean_ious(
    counts: Sequence[npt.NDArray[np.int64]], groups: Sequence[str | None] = (), seed: int = 0
) -> npt.NDArray[np.float64] | None:
    """Compute the mean IoUs of several models for samples of the same images, drawn with replacement.

    Args:
        counts: for each of M models, (N, C, 3) counts of the same N images, see `bootstrap_iou`.
        groups: see `bootstrap_iou`.
        seed: random seed.

    Returns:
        (`RESAMPLES`, M) float64 mean IoUs. The models of a row have the same images. None if there are fewer than two
        units.
    """
    units, _ = _to_units(np.concatenate(counts, axis=1), groups)
    if len(units) < 2:
        return None
    samples = np.concatenate([*_resample(units, np.random.default_rng(seed))])
    return np.stack([_mean_of_present(part) for part in np.split(samples, len(counts), axis=1)], axis=1)


def _mean_of_present(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean IoU of the present classes of each sample, from (samples, C). NaN if all classes are absent."""
    present = np.isfinite(samples)
    means = np.where(present, samples, 0).sum(1) / np.maximum(present.sum(1), 1)
    return np.where(present.any(1), means, np.nan)


def _to_units(counts: npt.NDArray[np.int64], groups: Sequence[str | None]) -> tuple[npt.NDArray[np.int64], str]:
    """Return the counts of the units that are drawn, and their kind: "image", "group" or "block"."""
    unit = "group" if any(group is not None for group in groups) else "image"
    if unit == "group" and len(set(groups)) == 1 and len(groups) >= 2 * BLOCKS:
        unit, groups = "block", [str(index * BLOCKS // len(groups)) for index in range(len(groups))]
    return (counts if unit == "image" else _sum_groups(counts, groups)), unit


def _effective_units(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the effective number of units of each class, (C,) float64. 0 for an absent class."""
    union = counts.sum(2).astype(np.float64)
    squares = (union**2).sum(0)
    return np.divide(union.sum(0) ** 2, squares, out=np.zeros_like(squares), where=squares > 0)


def _sum_groups(counts: npt.NDArray[np.int64], groups: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """Return the (G, C, 3) sums of the counts of each group."""
    numbers: dict[object, int] = {}
    rows = [numbers.setdefault(("", i) if group is None else group, len(numbers)) for i, group in enumerate(groups)]
    sums = np.zeros((len(numbers), *counts.shape[1:]), np.int64)
    np.add.at(sums, rows, counts)
    return sums


def _resample(counts: npt.NDArray[np.int64], rng: np.random.Generator) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the IoUs of blocks of bootstrap samples, (samples, C) float64. An absent class has NaN."""
    units, classes, _ = counts.shape
    flat = counts.reshape(units, -1).astype(np.float64)
    block = min(RESAMPLES, max(1, _MAX_CELLS // max(units, 3 * classes)))
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        sums = (weights.astype(np.float64) @ flat).reshape(rows, classes, 3)
        union = sums.sum(2)
        yield np.divide(sums[..., 0], union, out=np.full_like(union, np.nan), where=union > 0)


def _interval(samples: npt.NDArray[np.float64], units: float) -> Interval | None:
    """Return the interval between two quantiles that are corrected for the number of units.

    Args:
        samples: IoUs of bootstrap samples, NaN if a class is absent.
        units: effective number of units.

    Returns:
        The interval, or None if no sample has a value, or if there is only one unit.
    """
    values = samples[np.isfinite(samples)]
    if not values.size or units <= 1:
        return None
    units = max(units, _MIN_EFFECTIVE_UNITS)
    tail = float(norm.cdf(sqrt(units / (units - 1)) * student_t.ppf((1 - LEVEL) / 2, units - 1)))
    return Interval(*(float(end) for end in np.quantile(values, (tail, 1 - tail))))
