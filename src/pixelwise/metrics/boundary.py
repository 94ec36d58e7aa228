"""Metrics of the outlines of classes: boundary IoU and boundary F-score."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import ceil, hypot
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from pixelwise.data.task import MULTILABEL, Task
from pixelwise.metrics._outlines import (
    Labels,
    count_labels,
    near_other_label,
    same_label_near,
    slabs,
    touching_other_label,
)
from pixelwise.metrics.base import METRICS, mean_of_present, ratio
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import Params


class BoundaryMetric(ABC):
    """A metric whose sums are computed from label images, for all labels at once.

    Args:
        classes: C names, in index order.
        task: the task of the masks.
        columns: number of sums per class.
    """

    name: ClassVar[str]
    """Name of the mean over the classes. Those of the classes are NAME_CLASS."""

    def __init__(self, classes: Sequence[str], task: Task, columns: int) -> None:
        self.classes, self.task = tuple(classes), task
        self._sums = np.zeros((len(self.classes), columns), np.int64)

    def update(self, mask: Tensor, prediction: Tensor) -> None:
        """Add one image. See `Metric.update`."""
        true, predicted = mask.numpy(), prediction.numpy()
        # Predictions in ignored pixels are removed, so that both outlines follow the border of the ignored area.
        predicted = np.where(true == IGNORE_INDEX, np.uint8(IGNORE_INDEX), predicted)
        if self.task is MULTILABEL:
            for index in range(len(self.classes)):
                self._sums[index] += self.label_sums(true[index], predicted[index])[1]
        else:
            self._sums += self.label_sums(true, predicted)[: len(self.classes)]

    @abstractmethod
    def label_sums(self, true: Labels, predicted: Labels) -> npt.NDArray[np.int64]:
        """Return the sums of each label in one image.

        Args:
            true: (H, W) uint8 labels, 255 = ignore.
            predicted: (H, W) uint8 labels, 255 in the same pixels.

        Returns:
            (256, columns) int64.
        """

    @abstractmethod
    def value(self, sums: Sequence[int]) -> float | None:
        """Return the value of a class in [0, 1], or None if it has no outline.

        Args:
            sums: the sums of the class over all images.
        """

    def compute(self) -> dict[str, float | None]:
        """Return the mean "NAME", and "NAME_CLASS" of each class. The value of a class without an outline is None."""
        values = {
            f"{self.name}_{name}": self.value(sums)
            for name, sums in zip(self.classes, self._sums.tolist(), strict=True)
        }
        return {self.name: mean_of_present(list(values.values())), **values}

    def state(self) -> Tensor:
        """Return the sums of each class in pixels, (C, columns) int64."""
        return torch.from_numpy(self._sums.copy())

    def load(self, state: Tensor) -> None:
        """Replace the sums. See `Metric.load`."""
        self._sums = state.cpu().numpy().astype(np.int64)


class BoundaryIoUParams(Params):
    """Parameters of `BoundaryIoU`."""

    width: float = Field(0.02, gt=0, lt=1, description="Width of the boundary as a fraction of the image's diagonal.")


@METRICS.register("boundary_iou", params=BoundaryIoUParams)
class BoundaryIoU(BoundaryMetric):
    """The IoU of each class's boundary. The boundary consists of the pixels of the class near its outline.

    Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation". Unlike the IoU, it is
    sensitive to errors at the outlines of large objects too. As in the paper, the image border is a part of the outline
    of a class that touches it. Intersections and unions are summed over all images before the division.

    Args:
        classes: C names, in index order.
        task: the task of the masks.
        width: width of the boundary as a fraction of the image's diagonal. The boundary is at least one pixel wide.
    """

    name = "boundary_iou"

    def __init__(self, classes: Sequence[str], task: Task, width: float = 0.02) -> None:
        super().__init__(classes, task, columns=2)
        self.width = width

    def label_sums(self, true: Labels, predicted: Labels) -> npt.NDArray[np.int64]:
        """Return the (intersection, union) of the boundary of each label in pixels. See `BoundaryMetric.label_sums`."""
        pixels = max(1, round(self.width * hypot(*true.shape)))
        sums = np.zeros((256, 2), np.int64)
        for rows, inner in slabs(true.shape[0], true.shape[1], pixels):
            one, other = true[rows][inner], predicted[rows][inner]
            near_one, near_other = (near_other_label(labels[rows], pixels)[inner] for labels in (true, predicted))
            shared = count_labels(one[near_one & near_other & (one == other)])
            sums[:, 0] += shared
            sums[:, 1] += count_labels(one[near_one]) + count_labels(other[near_other]) - shared
        return sums

    def value(self, sums: Sequence[int]) -> float | None:
        """Return the boundary IoU of a class. See `BoundaryMetric.value`."""
        intersection, union = sums
        return ratio(intersection, union)


class BoundaryFParams(Params):
    """Parameters of `BoundaryF`."""

    tolerance: float = Field(
        0.008, gt=0, lt=1, description="Maximum distance of two outlines as a fraction of the image's diagonal."
    )


@METRICS.register("boundary_f", params=BoundaryFParams)
class BoundaryF(BoundaryMetric):
    """The F-score of each class's outline. A pixel of an outline is correct if the other outline is near.

    Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?". Precision is the fraction of the
    predicted outline that is near the true outline, and recall the fraction of the true outline that is near the
    predicted one. The F-score is 2 · precision · recall ÷ (precision + recall). The tolerance is that of the DAVIS
    benchmark (Perazzi et al. 2016). The outline consists of the pixels of the class that touch another class. The image
    border and pixels to ignore are no outlines. Pixels are summed over all images before the divisions.

    Args:
        classes: C names, in index order.
        task: the task of the masks.
        tolerance: maximum distance of two outlines as a fraction of the image's diagonal, rounded up to whole pixels in
            chessboard metric (a diagonal step is one pixel).
    """

    name = "boundary_f"

    def __init__(self, classes: Sequence[str], task: Task, tolerance: float = 0.008) -> None:
        super().__init__(classes, task, columns=4)
        self.tolerance = tolerance

    def label_sums(self, true: Labels, predicted: Labels) -> npt.NDArray[np.int64]:
        """Return the outline pixels of each label: correct and all predicted ones, found and all true ones.

        See `BoundaryMetric.label_sums`.
        """
        pixels = ceil(self.tolerance * hypot(*true.shape))
        sums = np.zeros((256, 4), np.int64)
        for rows, inner in slabs(true.shape[0], true.shape[1], pixels + 1):
            one, other = true[rows], predicted[rows]
            edge_one, edge_other = touching_other_label(one), touching_other_label(other)
            near_one, near_other = same_label_near(one, edge_one, other, edge_other, pixels)
            parts = ((other, near_one), (other, edge_other), (one, near_other), (one, edge_one))
            for column, (labels, region) in enumerate(parts):
                sums[:, column] += count_labels(labels[inner][region[inner]])
        return sums

    def value(self, sums: Sequence[int]) -> float | None:
        """Return the F-score of a class. See `BoundaryMetric.value`."""
        correct, predicted, found, true = sums
        if predicted == 0 and true == 0:
            return None
        precision, recall = ratio(correct, predicted) or 0.0, ratio(found, true) or 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
