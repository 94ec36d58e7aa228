"""The validation images of a run, which calibrate 8-bit integers and measure what a lower precision changes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pixelwise.data.input_size import to_pair
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_image
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.errors import DataError, RunError
from pixelwise.evaluation.counting import count_pixels
from pixelwise.evaluation.selection import load_run_data, select_images
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.metrics import Metrics
from pixelwise.models.config import ModelConfig
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import expand_home

Bytes = npt.NDArray[np.uint8]

MAX_IMAGES = 64
"""Maximum number of validation images. They are spread over the split."""

MIN_EQUAL_LOW = 0.99
"""Minimum fraction of pixels of the validation images that 8-bit integers or bfloat16 may not change."""

MAX_MIOU_LOSS = 0.005
"""Maximum decrease of the mIoU of the validation images by them."""


@dataclass(frozen=True)
class ValidationScore:
    """The change of the validation masks by 8-bit integers or bfloat16.

    Attributes:
        images: number of images.
        equal: fraction of the pixels of all images that are equal to those of float32.
        miou: mIoU of the file.
        float_miou: mIoU of the model in float32.
        float_layers: number of layers that stay in float32. 0 for bfloat16.
    """

    images: int
    equal: float
    miou: float
    float_miou: float
    float_layers: int

    @property
    def is_accepted(self) -> bool:
        """True if enough pixels are equal, and the mIoU is hardly lower."""
        return self.equal >= MIN_EQUAL_LOW and self.miou >= self.float_miou - MAX_MIOU_LOSS


class ValidationImages:
    """The validation images of a run with their true masks, read from files at each use.

    Args:
        run: the run directory.

    Raises:
        RunError: The path is not a run directory, or has no split.
        DataError: The data set of the training is gone, or has no validation images.
    """

    def __init__(self, run: str | Path) -> None:
        path = expand_home(run)
        if not Run.exists(path):
            raise RunError(
                f"{run}: 8-bit integers and bfloat16 need the validation images of a run; name a run directory"
            )
        opened = Run.open(path)
        data = load_run_data(opened)
        records = select_images(opened, data, "val").records
        count = min(MAX_IMAGES, len(records))
        self.records: tuple[Record, ...] = tuple(records[index * len(records) // count] for index in range(count))
        self.read_spec: ReadSpec = data.read_spec

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[tuple[Bytes, Bytes]]:
        """Yield each image and its true mask. An image that cannot be read is a DataError."""
        return (read_image_and_mask(record, self.read_spec) for record in self.records)

    def inputs(self, config: ModelConfig) -> list[Bytes]:
        """Return the inputs of the network, (1, channels, height, width) each."""
        size = to_pair(config.size)
        return [np.ascontiguousarray(resize_image(image, size).numpy()[None]) for image, _ in self]

    def comparer(self, predictor: ImagePredictor[Any]) -> Callable[[ImagePredictor[Any], int], ValidationScore]:
        """Return a function of an exported file and its number of float layers that compares its masks.

        Args:
            predictor: the model in float32. Its masks are computed once.
        """
        expected, float_miou = self._predict(predictor)

        def compare(exported: ImagePredictor[Any], float_layers: int) -> ValidationScore:
            masks, miou = self._predict(exported)
            equal = sum(int(np.count_nonzero(mask == other)) for mask, other in zip(masks, expected, strict=True))
            total = sum(mask.size for mask in masks)
            return ValidationScore(len(masks), equal / total, miou, float_miou, float_layers)

        return compare

    def _predict(self, predictor: ImagePredictor[Any]) -> tuple[list[Bytes], float]:
        """Return the masks of the images, and their mIoU."""
        config = predictor.config
        masks: list[Bytes] = []
        total = config.task.zero_matrix(len(config.classes))
        for image, true in self:
            mask: Bytes = predictor.predict_batch([image])[0].mask
            total += count_pixels(config.task, torch.from_numpy(true), torch.from_numpy(mask), len(config.classes))
            masks.append(mask)
        miou = Metrics.from_confusion(total, config.classes, config.task, len(masks), "original").mean_iou
        if miou is None:
            raise DataError("the validation images have no labeled pixels, so that 8-bit integers cannot be measured")
        return masks, miou
