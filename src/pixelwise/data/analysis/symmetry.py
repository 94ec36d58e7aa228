"""A statistical test of whether images have an "up", on the places of their classes and of their brightness.

An image of a street has the sky at the top. An image from above, or through a microscope, could as well be upside down.
Only if images have no up do top-bottom flips and quarter turns make images that could occur in the data set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelwise.data.analysis.image_stats import ImageStatsTable
from pixelwise.data.analysis.mask_stats import ClassStatsTable
from pixelwise.data.analysis.moments import brightness_moments
from pixelwise.data.schema import Record

MAX_ASYMMETRY = 0.06
"""Maximum asymmetry, at the upper end of its interval, of a data set that counts as symmetric (docs/decisions.md)."""

MAX_ASPECT = 4 / 3
"""Maximum ratio of the sides of images that are turned by 90 degrees. Random crops change the ratio as much."""

MAX_SAMPLED = 5000
"""Maximum number of images whose moments are tested."""

_RESAMPLES = 400
"""Number of bootstrap samples."""

_UPPER_PERCENTILE = 97.5


@dataclass(frozen=True)
class ImageSymmetry:
    """The asymmetries of the images and masks of a data set.

    An asymmetry is the mean, over the classes and the brightness, of (mean / root mean square)² of a moment that the
    symmetry would change in sign. It is in [0, 1]. 0 means that the moment has no preferred sign, and 1 that it is the
    same in all images. Few images have a wide interval, so they do not count as symmetric.

    Attributes:
        vertical: top against bottom.
        horizontal: left against right.
        diagonal: rows against columns.
        upper_vertical, upper_diagonal: upper ends of the bootstrap intervals over images, or over groups of images,
            corrected for the values that few images without a preferred sign have. They can be below 0.
        strongest: the class with the greatest top-bottom asymmetry, or "brightness".
        count: number of images, or of groups of images.
        aspect: median of the longer side of an image divided by its shorter side.
    """

    vertical: float
    horizontal: float
    diagonal: float
    upper_vertical: float
    upper_diagonal: float
    strongest: str
    count: int
    aspect: float

    @property
    def has_up(self) -> bool:
        """True unless the images are symmetric from top to bottom."""
        return self.upper_vertical > MAX_ASYMMETRY

    @property
    def allows_quarter_turns(self) -> bool:
        """True if the images have no up, and rows and columns are alike."""
        return not self.has_up and self.upper_diagonal <= MAX_ASYMMETRY and self.aspect <= MAX_ASPECT


def measure_symmetry(
    images: ImageStatsTable, masks: ClassStatsTable, records: Sequence[Record | None], names: Sequence[str]
) -> ImageSymmetry | None:
    """Measure the symmetries of a data set.

    Args:
        images: the statistics of all images.
        masks: the statistics of all masks by class.
        records: for each scanned record, the record with its group, or None to leave it out.
        names: the names of the classes.

    Returns:
        The symmetries, or None if fewer than 2 records are kept.
    """
    kept = [index for index, record in enumerate(records) if record is not None]
    if len(kept) < 2:
        return None
    by_class = masks.moments(len(records), len(names))[kept]
    by_image = brightness_moments(images.thumbnails(kept))[:, None]
    groups = [record.group or "" for record in records if record is not None]
    moments = _group_means(np.concatenate([by_class, by_image], 1), groups)
    widths, heights = images.sizes
    return find_symmetry(moments, [*names, "brightness"], math.exp(float(np.median(np.abs(np.log(widths / heights))))))


def join_symmetries(parts: Sequence[ImageSymmetry | None]) -> ImageSymmetry | None:
    """Return the greatest asymmetries of several data sets, or None if they are not known for each of them.

    Args:
        parts: those of each data set, at least one.
    """
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return ImageSymmetry(
        vertical=max(part.vertical for part in known),
        horizontal=max(part.horizontal for part in known),
        diagonal=max(part.diagonal for part in known),
        upper_vertical=max(part.upper_vertical for part in known),
        upper_diagonal=max(part.upper_diagonal for part in known),
        strongest=max(known, key=lambda part: part.vertical).strongest,
        count=sum(part.count for part in known),
        aspect=max(part.aspect for part in known),
    )


def find_symmetry(moments: np.ndarray, names: Sequence[str], aspect: float) -> ImageSymmetry:
    """Measure the asymmetries of moments, and their bootstrap intervals.

    Args:
        moments: (N, M, 3) the moments of each image or group of images, see `region_moments`. 0 stands for "the image
            does not have it". At most `MAX_SAMPLED` images are used, evenly spaced.
        names: the names of the M kinds of moments.
        aspect: see `ImageSymmetry`.

    Returns:
        The symmetries. Their `count` is the number of images or groups that were used.
    """
    moments = moments[:: -(-len(moments) // MAX_SAMPLED)]
    count = len(moments)
    once = np.ones((1, count))
    resampled = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _RESAMPLES).astype(np.float64)
    vertical, horizontal, diagonal = (float(_asymmetry(moments[:, :, kind], once)[0]) for kind in range(3))
    # Moments with random signs have an asymmetry of 1 / count on average, and resampling adds as much.
    upper_vertical, upper_diagonal = (
        float(np.percentile(_asymmetry(moments[:, :, kind], resampled), _UPPER_PERCENTILE)) - 2 / count
        for kind in (0, 2)
    )
    strongest = int(np.argmax(_squared_ratio(moments[:, :, 0], once)[0]))
    return ImageSymmetry(
        vertical, horizontal, diagonal, upper_vertical, upper_diagonal, names[strongest], count, aspect
    )


def _group_means(moments: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Return the mean of the moments of each group, and the moments of each image without a group."""
    keys = [group or f"\0{index}" for index, group in enumerate(groups)]
    _, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros((inverse.max() + 1, *moments.shape[1:]))
    np.add.at(sums, inverse, moments)
    return sums / np.bincount(inverse)[:, None, None]


def _squared_ratio(moments: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (mean / root mean square)² of each moment over the images that have it, for each row of weights.

    Args:
        moments: (N, M). 0 stands for "the image does not have it".
        weights: (B, N), the number of times that each image counts.

    Returns:
        (B, M), in [0, 1].
    """
    present = weights @ (moments != 0)
    squares = weights @ moments**2
    return (weights @ moments) ** 2 / np.maximum(squares * present, 1e-30)


def _asymmetry(moments: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return (B,) the mean of `_squared_ratio` over the moments, weighted by the number of images that have them."""
    present = weights @ (moments != 0)
    return (_squared_ratio(moments, weights) * present).sum(1) / np.maximum(present.sum(1), 1)
