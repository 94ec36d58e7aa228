"""The sums over images of an evaluation: counts, scores, boundaries, calibration, and examples to show."""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from pixelwise.data.analysis.duplicates import THUMBNAIL_SIDE
from pixelwise.data.resize import resize_mask
from pixelwise.data.task import Task
from pixelwise.evaluation.comparison import Comparison
from pixelwise.evaluation.counting import count_pixels
from pixelwise.metrics import Metric
from pixelwise.metrics.boundary import BoundaryF, BoundaryIoU
from pixelwise.metrics.calibration import ReliabilityBins
from pixelwise.metrics.evaluation import ImageExample
from pixelwise.metrics.label_quality import label_quality
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.distributed import all_gather_lists, all_reduce_sum
from pixelwise.visualization import to_display_image

if TYPE_CHECKING:
    from lightning_fabric import Fabric

EXAMPLES = 12
"""Number of images that are kept for display, of each kind."""

_EXAMPLE_SIDE = 256
"""Maximum side of an image for display in pixels."""

_PROBABILITY_PIXELS = 1 << 14
"""Maximum number of pixels of an image whose probabilities are used. They are on a regular grid."""


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """The result of one image.

    Attributes:
        position: position of the image in the split.
        counts: (C, 3) int64, true positives, false positives and false negatives of each class.
        pixels: number of compared pixels. For multilabel masks, a pixel counts once per class.
        correct: number of these pixels that are correct.
        label_quality: see `pixelwise.metrics.label_quality`, or None if all pixels are ignored.
        thumbnail: a gray thumbnail of the image, see `find_groups`.
    """

    position: int
    counts: npt.NDArray[np.int64]
    pixels: int
    correct: int
    label_quality: float | None
    thumbnail: bytes


class Tally:
    """Sums over the images that one process compares. Their memory does not depend on the sizes of the images.

    Args:
        task: the task of the masks.
        classes: C names, in index order.
        metrics: additional metrics.
        temperature: the model's temperature.

    Attributes:
        confusion: the confusion matrix of all images, see `Task.confusion`.
        images: the result of each image.
        worst: the images with the lowest mean IoU, at most `EXAMPLES`.
        suspicious: the images with the lowest label quality, at most `EXAMPLES`.
        boundary: the boundary metrics.
        large: number of images that are too large to be decoded. The boundary metrics and the additional metrics leave
            them out.
        calibration: confidence and accuracy of the model's probabilities.
        uncalibrated: the same without the temperature. Not used if the temperature is 1.
    """

    def __init__(self, task: Task, classes: Sequence[str], metrics: Sequence[Metric], temperature: float) -> None:
        self.task, self.class_count, self.metrics, self.temperature = task, len(classes), metrics, temperature
        self.confusion = task.zero_matrix(len(classes))
        self.images: list[ImageCounts] = []
        self.large = 0
        self.worst: list[ImageExample] = []
        self.suspicious: list[ImageExample] = []
        self.boundary: tuple[Metric, ...] = (BoundaryIoU(classes, task), BoundaryF(classes, task))
        self.calibration, self.uncalibrated = ReliabilityBins(), ReliabilityBins()

    def add(self, position: int, compared: Comparison) -> None:
        """Add one image.

        Args:
            position: position of the image in the split.
            compared: the image and its masks.
        """
        confusion = compared.confusion
        if confusion is None:
            confusion = count_pixels(self.task, compared.mask, compared.prediction, self.class_count)
            for metric in (*self.boundary, *self.metrics):
                metric.update(compared.mask, compared.prediction)
        else:
            self.large += 1
        self.confusion += confusion
        quality = self._add_probabilities(compared)
        hits, true, predicted, correct = self.task.class_counts(confusion)
        counts = torch.stack([hits, predicted - hits, true - hits], 1).numpy()
        thumbnail = _thumbnail(compared.image)
        self.images.append(ImageCounts(position, counts, int(confusion.sum()), correct, quality, thumbnail))
        unions = counts.sum(1)
        if unions.any():
            mean_iou = float((counts[:, 0] / np.maximum(unions, 1))[unions > 0].mean())
            self._keep(self.worst, mean_iou, position, compared)
        if quality is not None:
            self._keep(self.suspicious, quality, position, compared)

    def _add_probabilities(self, compared: Comparison) -> float | None:
        """Add the probabilities of pixels on a grid. Return the image's label quality, or None."""
        if compared.logits.numel() == 0:
            return None
        step = math.ceil(math.sqrt(compared.logits[0].numel() / _PROBABILITY_PIXELS))
        logits, mask = (each[..., ::step, ::step].contiguous() for each in (compared.logits, compared.model_mask))
        counted = mask != IGNORE_INDEX
        prediction = self.task.logits_to_mask(logits)
        correct = (mask == prediction)[counted]
        probabilities = self.task.activate(logits / self.temperature)
        self.calibration.update(self.task.label_probability(probabilities, prediction)[counted], correct)
        if self.temperature != 1:
            plain = self.task.activate(logits)
            self.uncalibrated.update(self.task.label_probability(plain, prediction)[counted], correct)
        return label_quality(self.task.label_probability(probabilities, mask)[counted])

    def _keep(self, examples: list[ImageExample], score: float, position: int, compared: Comparison) -> None:
        """Insert an image into a list of the lowest scores."""
        if len(examples) < EXAMPLES or score < examples[-1].score:
            examples.append(make_example(self.task, score, position, compared))
            examples.sort(key=_rank)
            del examples[EXAMPLES:]

    def gather(self, fabric: "Fabric") -> None:
        """Replace all sums by those over the images of all processes."""
        self.confusion = sum_over_processes(fabric, self.confusion)
        for metric in (*self.boundary, *self.metrics):
            metric.load(sum_over_processes(fabric, metric.state()))
        for bins in (self.calibration, self.uncalibrated):
            bins.sums = sum_over_processes(fabric, bins.sums)
        self.large = sum(all_gather_lists(fabric, [self.large]))
        self.images = sorted(all_gather_lists(fabric, self.images), key=lambda image: image.position)
        self.worst = heapq.nsmallest(EXAMPLES, all_gather_lists(fabric, self.worst), key=_rank)
        self.suspicious = heapq.nsmallest(EXAMPLES, all_gather_lists(fabric, self.suspicious), key=_rank)


def make_example(task: Task, score: float, position: int, compared: Comparison) -> ImageExample:
    """Reduce an image and its masks for display.

    Args:
        task: the task of the masks.
        score: the score by which the image was selected.
        position: position of the image in the split.
        compared: the image and its masks.
    """
    step = -(-max(compared.image.shape[:2]) // _EXAMPLE_SIDE)
    image = np.asarray(Image.fromarray(to_display_image(compared.image)).reduce(step))
    mask, prediction = (
        resize_mask(each.numpy(), (image.shape[0], image.shape[1])).numpy()
        for each in (compared.mask, compared.prediction)
    )
    wrong = (mask != prediction) & (mask != IGNORE_INDEX)
    wrong = wrong.reshape(-1, *wrong.shape[-2:]).any(0)  # multilabel: in any channel
    return ImageExample(position, score, image, task.to_display(mask), task.to_display(prediction), wrong)


def sum_over_processes(fabric: "Fabric", tensor: Tensor) -> Tensor:
    """Return the sum of a CPU tensor over all processes, on the CPU."""
    # A single process skips the sum, because its device may not support the tensor's dtype (MPS has no float64).
    return tensor if fabric.world_size == 1 else all_reduce_sum(fabric, tensor.to(fabric.device)).cpu()


def _rank(example: ImageExample) -> tuple[float, int]:
    return example.score, example.index


def _thumbnail(image: npt.NDArray[np.uint8]) -> bytes:
    """Return a gray thumbnail of `THUMBNAIL_SIDE` rows, one byte per pixel."""
    rows, columns = (np.linspace(0, side - 1, 4 * THUMBNAIL_SIDE).round().astype(int) for side in image.shape[:2])
    gray = image[rows[:, None], columns].mean(2)
    blocks = gray.reshape(THUMBNAIL_SIDE, 4, THUMBNAIL_SIDE, 4).mean((1, 3))
    return blocks.round().astype(np.uint8).tobytes()
