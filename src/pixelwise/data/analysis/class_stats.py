"""The statistics of each class over a data set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import ClassStatsTable
from pixelwise.data.index import DatasetIndex
from pixelwise.data.schema import Record
from pixelwise.palette import IGNORE_INDEX, Color

EXAMPLES_PER_CLASS = 12


@dataclass(frozen=True)
class Percentiles:
    """The distribution of a quantity over the data set: minimum, 10th, 50th and 90th percentile, maximum."""

    min: float
    p10: float
    median: float
    p90: float
    max: float

    @staticmethod
    def of(values: np.ndarray) -> "Percentiles":
        """Return the percentiles of an array of shape (N,), N ≥ 1.

        >>> Percentiles.of(np.array([1, 2, 3])).median
        2.0
        """
        return Percentiles(*np.percentile(values, (0, 10, 50, 90, 100)).astype(float).tolist())


@dataclass(frozen=True)
class ClassStats:
    """The statistics of one class.

    Attributes:
        name: class name.
        color: (red, green, blue) in [0, 255].
        pixels: number of pixels over all images.
        pixel_fraction: `pixels` as a fraction of all pixels that are not ignored, in [0, 1].
        image_count: number of images that contain the class.
        object_count: number of objects, which are connected regions of at least 5 pixels in the mask reduced to a
            longest side of 256 pixels.
        relative_size: distribution of √(object area / image area) over all objects, in [0, 1]. None without objects.
        train_fraction: `pixel_fraction` over all images except the test split. Plans use it.
        mean_width: mean width of the class's regions in a mask, as a fraction of √(image area). It is the median over
            all masks except the test split. The width of a square is half its side, see `regions.mean_width`. None
            without objects.
        width: typical width of the class's regions in image pixels, see `widths.region_width`: the width of a strip, or
            the side of a compact region. It is the median over all masks except the test split. None without pixels.
        typical_size: median of √(region area / image area) over all regions of the class except those of the test
            split. Regions that are too small to count as objects are included. None without regions.
        examples: at most `EXAMPLES_PER_CLASS` records that contain the class, from the largest class fraction of the
            image to the smallest.
    """

    name: str
    color: Color
    pixels: int
    pixel_fraction: float
    image_count: int
    object_count: int
    relative_size: Percentiles | None
    train_fraction: float = 0.0
    mean_width: float | None = None
    width: float | None = None
    typical_size: float | None = None
    examples: tuple[Record, ...] = ()


def class_stats(
    data: DatasetIndex,
    classes: ClassStatsTable,
    records: Sequence[Record | None],
    images: ImageStatsTable,
    not_test: np.ndarray,
) -> tuple[tuple[ClassStats, ...], float]:
    """Compute the statistics of each class, and the fraction of pixels that are ignored.

    Pixels without data are ignored, as in the training.

    Args:
        data: the data set without unusable records.
        classes: the statistics of all masks by class.
        records: for each scanned record, the record of `data` made from it, or None if it is unusable.
        images: the statistics of all images.
        not_test: (number of records,) bool, False for the test split.

    Returns:
        The statistics in index order, and the ignored fraction in [0, 1].
    """
    count = len(records)
    decisions = math.prod(data.read_spec.task.mask_shape(len(data.classes), 1, 1))  # per pixel. C if multi-label
    missing = classes.missing_pixels(count) * decisions
    ignored = classes.class_pixels(IGNORE_INDEX, count) + missing
    # If the classes are not decided, masks of unreadable images and all files of a mask are counted. The number of mask
    # pixels can then exceed the number of image pixels.
    areas = np.maximum(images.pixels * decisions, classes.mask_pixels(count) + missing)
    total = np.where(classes.dropped(count), 0, areas)
    counted = (total - ignored) / decisions
    result = []
    for index, (name, color) in enumerate(zip(data.classes, data.palette, strict=True)):
        pixels, sizes = classes.class_pixels(index, count), classes.object_sizes(index)
        fractions = pixels * decisions / np.maximum(areas, 1)
        result.append(
            ClassStats(
                name=name,
                color=color,
                pixels=int(pixels.sum()),
                pixel_fraction=float(pixels.sum() / max(counted.sum(), 1)),
                image_count=int((fractions > 0).sum()),
                object_count=classes.object_count(index),
                relative_size=Percentiles.of(sizes) if len(sizes) else None,
                train_fraction=float(pixels[not_test].sum() / max(counted[not_test].sum(), 1)),
                mean_width=classes.median_width(index, not_test),
                width=classes.median_pixel_width(index, not_test),
                typical_size=classes.typical_size(index, not_test),
                examples=_example_records(fractions, records),
            )
        )
    return tuple(result), float(ignored.sum() / max(total.sum(), 1))


def _example_records(fractions: np.ndarray, records: Sequence[Record | None]) -> tuple[Record, ...]:
    """Return up to `EXAMPLES_PER_CLASS` records, evenly spaced from the largest class fraction to the smallest."""
    order = [index for index in np.argsort(-fractions, kind="stable").tolist() if fractions[index] > 0]
    picked = [order[number * len(order) // EXAMPLES_PER_CLASS] for number in range(EXAMPLES_PER_CLASS)] if order else []
    return tuple(record for index in dict.fromkeys(picked) if (record := records[index]) is not None)
