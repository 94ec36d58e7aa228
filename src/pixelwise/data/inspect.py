"""The fingerprint of a data set: counts, sizes, class shares, problems."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pixelwise.data.meaning import Choices
from pixelwise.data.records import Dataset, Problem
from pixelwise.data.streams import Progress, no_progress


@dataclass(frozen=True)
class Spread:
    """How a figure spreads over the data set: the least, the 10th percentile, the median, the 90th, the greatest."""

    least: float
    low: float
    median: float
    high: float
    greatest: float


@dataclass(frozen=True)
class ClassFacts:
    """What is known of one class.

    Attributes:
        name, colour: as in the data set; the colour is (red, green, blue) in 0..255.
        pixels: over all photos.
        share: of all pixels that are not ignored, in [0, 1].
        photos: how many show it.
        objects: connected regions of it, those of fewer than 5 pixels left out.
        side: of an object: the square root of its area over that of its photo's area, in [0, 1]; None without objects.
    """

    name: str
    colour: tuple[int, int, int]
    pixels: int
    share: float
    photos: int
    objects: int
    side: Spread | None


@dataclass(frozen=True)
class Inspection:
    """What a look at every photo and mask found.

    Attributes:
        data: the data set as it can be trained on: bad records left out, groups and bits filled in.
        photos, masks: files that were looked at.
        widths, heights, ratios: of the photos in pixels, and width over height.
        classes: in index order.
        ignored: the share of all pixels that are ignored, in [0, 1].
        problems: everything that is wrong, by file.
        means, stds: of each channel over all photos, in [0, 255].
        grouped: why photos are in groups ("video frames: 3 sequences"); "" where they are not.
        seconds: how long the look took.
    """

    data: Dataset
    photos: int
    masks: int
    widths: Spread
    heights: Spread
    ratios: Spread
    classes: tuple[ClassFacts, ...]
    ignored: float
    problems: tuple[Problem, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]
    grouped: str = ""
    seconds: float = 0.0
    modes: Mapping[str, int] = field(default_factory=dict)


def inspect(root: str | Path, choices: Choices | None = None, progress: Progress = no_progress) -> Inspection:
    """Look at every photo and mask of a data set."""
    raise NotImplementedError
