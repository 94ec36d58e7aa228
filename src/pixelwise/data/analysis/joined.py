"""The report on joined data sets, combined from the report on each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pixelwise.data.analysis.class_stats import ClassStats, Percentiles
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.analysis.symmetry import join_symmetries
from pixelwise.data.index import DatasetIndex
from pixelwise.data.join import class_indices, join_datasets
from pixelwise.data.task import MULTILABEL

_QUANTILES = np.linspace(0, 100, 101)
"""Percentiles at which a distribution is interpolated."""


def join_reports(reports: Sequence[DatasetReport]) -> DatasetReport:
    """Join the reports on several data sets to the report on the joined data set, see `join_datasets`.

    The numbers of images, objects and pixels are sums. Fractions of pixels and means are those over all data sets. Each
    report contains only five percentiles of a distribution, so the joined percentiles are estimated from a linear
    interpolation between them. `channel_means` and `channel_stds` are means weighted by numbers of images. So
    differences between the means do not add to the standard deviations. The `mean_width`, `width` and `typical_size` of
    a class are means over the data sets that have it, weighted by numbers of images. Pixels with several possible
    classes count as background. There are no examples.

    Args:
        reports: the results of `inspect`, at least one.

    Raises:
        DataError: The data sets cannot be joined.
        ConfigError: See `join_datasets`.

    >>> plan = make_plan(join_reports([inspect("cats/"), inspect("dogs/")]))  # doctest: +SKIP
    """
    if len(reports) == 1:
        return reports[0]
    data = join_datasets([report.data for report in reports])
    images = np.array([report.image_count for report in reports])
    areas = np.array([_counted_pixels(report) for report in reports])
    totals = areas / (1 - np.array([min(report.ignored_fraction, 0.999999) for report in reports]))
    modes: Counter[str] = Counter()
    for report in reports:
        modes.update(report.modes)
    return DatasetReport(
        data=data,
        image_count=int(images.sum()),
        mask_count=sum(report.mask_count for report in reports),
        widths=_mixture([report.widths for report in reports], images),
        heights=_mixture([report.heights for report in reports], images),
        aspect_ratios=_mixture([report.aspect_ratios for report in reports], images),
        classes=_join_classes(data, reports, areas),
        ignored_fraction=float((totals - areas).sum() / max(totals.sum(), 1)),
        issues=tuple(issue for report in reports for issue in report.issues),
        channel_means=_weighted(np.array([report.channel_means for report in reports]), images),
        channel_stds=_weighted(np.array([report.channel_stds for report in reports]), images),
        modes=dict(modes.most_common()),
        obstacle=next((report.obstacle for report in reports if report.obstacle), ""),
        seconds=sum(report.seconds for report in reports),
        options=replace(reports[0].options, allow_outside=any(report.allow_outside for report in reports)),
        symmetry=join_symmetries([report.symmetry for report in reports]),
    )


def _counted_pixels(report: DatasetReport) -> float:
    """Return the number of pixels that are not ignored."""
    largest = max(report.classes, key=lambda stats: stats.pixels, default=None)
    return largest.pixels / largest.pixel_fraction if largest is not None and largest.pixels else 0.0


def _weighted(values: np.ndarray, weights: np.ndarray) -> tuple[float, ...]:
    """Return the weighted mean of each column of an array of shape (reports, channels)."""
    return tuple(((values * weights[:, None]).sum(0) / max(weights.sum(), 1)).tolist())


def _mixture(parts: Sequence[Percentiles | None], weights: Sequence[int] | np.ndarray) -> Percentiles | None:
    """Return the percentiles of the union of several samples. `weights` are the sizes of the samples."""
    known = [(part, weight) for part, weight in zip(parts, weights, strict=True) if part is not None and weight]
    if not known:
        return None
    points = np.concatenate(
        [np.interp(_QUANTILES, (0, 10, 50, 90, 100), (p.min, p.p10, p.median, p.p90, p.max)) for p, _ in known]
    )
    mass = np.repeat([float(weight) for _, weight in known], len(_QUANTILES))
    order = np.argsort(points, kind="stable")
    position = (np.cumsum(mass[order]) - mass[order] / 2) / mass.sum() * 100
    low, median, high = np.interp((10, 50, 90), position, points[order]).tolist()
    return Percentiles(float(points.min()), low, median, high, float(points.max()))


def _join_classes(data: DatasetIndex, reports: Sequence[DatasetReport], areas: np.ndarray) -> tuple[ClassStats, ...]:
    """Return the statistics of each joined class. `areas` are the numbers of counted pixels of the data sets."""
    members: dict[int, list[tuple[int, ClassStats]]] = {}
    for number, (indices, report) in enumerate(zip(class_indices(data), reports, strict=True)):
        for index, stats in zip(indices, report.classes, strict=True):
            members.setdefault(index, []).append((number, stats))
    training = areas * [_training_fraction(report.data) for report in reports]
    result = []
    for index, (name, color) in enumerate(zip(data.classes, data.palette, strict=True)):
        numbers = [number for number, _ in members[index]]
        # In a multi-label mask, an unknown class is ignored. In a multiclass mask, its pixels count as background.
        counted = numbers if data.read_spec.task is MULTILABEL else slice(None)
        joined = _join_class(members[index], float(areas[counted].sum()), training, float(training[counted].sum()))
        result.append(replace(joined, name=name, color=color))
    return tuple(result)


def _training_fraction(data: DatasetIndex) -> float:
    """Return the fraction of the images that are not in the test split."""
    count = len(data.train) + len(data.val) + len(data.test)
    return 1.0 if count == len(data.test) else 1 - len(data.test) / count


def _join_class(
    members: Sequence[tuple[int, ClassStats]], area: float, training: np.ndarray, training_area: float
) -> ClassStats:
    """Return the statistics of a class over all data sets.

    Args:
        members: for each data set that has the class, its index and its statistics of the class.
        area: number of pixels in the denominator of `pixel_fraction`.
        training: for each data set, the number of counted pixels outside the test split.
        training_area: number of pixels in the denominator of `train_fraction`.
    """
    every = [stats for _, stats in members]
    pixels = sum(stats.pixels for stats in every)
    trained = sum(stats.train_fraction * training[number] for number, stats in members)
    return replace(
        every[0],
        pixels=pixels,
        pixel_fraction=pixels / max(area, 1.0),
        image_count=sum(stats.image_count for stats in every),
        object_count=sum(stats.object_count for stats in every),
        relative_size=_mixture([s.relative_size for s in every], [s.object_count for s in every]),
        train_fraction=float(trained) / max(training_area, 1.0),
        mean_width=_mean([(stats.mean_width, stats.image_count) for stats in every]),
        width=_mean([(stats.width, stats.image_count) for stats in every]),
        typical_size=_mean([(stats.typical_size, stats.image_count) for stats in every]),
        examples=(),
    )


def _mean(values: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean of the values that are not None, each with its weight. Return None if there are none."""
    known = [(value, weight) for value, weight in values if value is not None and weight]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
