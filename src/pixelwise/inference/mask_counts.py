"""The counts of masks that are not kept in memory: those of large images and of videos."""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class MaskCounts:
    """The counts of the mask of an image, or of the masks of a video over all frames.

    Attributes with the names of those of `Prediction` have the same meaning.

    Attributes:
        height: height of the image or of a frame in pixels.
        width: width of the image or of a frame in pixels.
        data_pixels: number of pixels with data.
        classes: C names in index order.
        areas: class name → number of pixels.
        class_confidences: class name → mean probability of the class over its pixels.
    """

    height: int
    width: int
    data_pixels: int
    classes: tuple[str, ...]
    areas: dict[str, int]
    class_confidences: dict[str, float | None]

    @cached_property
    def class_fractions(self) -> dict[str, float]:
        """Class name → fraction of the pixels with data, in [0, 1].

        >>> MaskCounts(2, 3, 4, ("cat",), {"cat": 1}, {"cat": 0.9}).class_fractions
        {'cat': 0.25}
        """
        return {name: area / max(1, self.data_pixels) for name, area in self.areas.items()}
