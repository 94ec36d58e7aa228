"""The counts of the masks of a video."""

from dataclasses import dataclass

import numpy as np

from pixelwise.inference.mask_counts import MaskCounts
from pixelwise.inference.objects import ObjectTable
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig


@dataclass(frozen=True)
class VideoPrediction(MaskCounts):
    """The counts of the masks of a video over all frames.

    Attributes:
        frame_count: number of frames.
        background: the indices of all classes. No objects are counted, because an object is in many frames.
        object_table: a table without objects.
    """

    frame_count: int

    @property
    def background(self) -> tuple[int, ...]:
        return tuple(range(len(self.classes)))

    @property
    def object_table(self) -> ObjectTable:
        none = np.zeros(0, np.int64)
        return ObjectTable(none, none, none, np.zeros((0, 4), np.int64), np.zeros((0, 2)))


class VideoTally:
    """Sums over the frames of a video.

    Args:
        config: the configuration of the model.
    """

    def __init__(self, config: ModelConfig) -> None:
        self._classes = config.classes
        self._pixels = np.zeros(len(config.classes), np.int64)
        self._confidence = np.zeros(len(config.classes))
        self._weights = np.zeros(len(config.classes), np.int64)
        self._size = (0, 0)
        self._frames = self._with_data = 0

    def add(self, prediction: Prediction) -> None:
        """Add a frame."""
        self._frames += 1
        self._size = prediction.image.shape[0], prediction.image.shape[1]
        self._with_data += self._size[0] * self._size[1] - prediction.nodata_pixels
        areas = np.array([prediction.areas[name] for name in self._classes], np.int64)
        self._pixels += areas
        confidences = prediction.class_confidences or {}
        for index, name in enumerate(self._classes):
            confidence = confidences.get(name)
            if confidence is not None:
                self._confidence[index] += confidence * areas[index]
                self._weights[index] += areas[index]

    def result(self) -> VideoPrediction:
        """Return the counts of all frames."""
        areas = dict(zip(self._classes, self._pixels.tolist(), strict=True))
        means = (
            float(total / weight) if weight else None
            for total, weight in zip(self._confidence, self._weights, strict=True)
        )
        return VideoPrediction(
            *self._size,
            self._with_data,
            self._classes,
            areas,
            dict(zip(self._classes, means, strict=True)),
            self._frames,
        )
