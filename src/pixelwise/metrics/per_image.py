"""IoU averaged over images instead of pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.metrics.base import METRICS, mean_of_present, ratio


@METRICS.register("image_iou")
class ImageIoU:
    """The IoU of each class, computed for each image and averaged over images.

    The average of a class is over the images that have the class in the mask or in the prediction. Images with large
    objects therefore have the same weight as others. Reference: mIoU^C in Wang et al. 2023, "Revisiting Evaluation
    Metrics for Semantic Segmentation".

    Args:
        classes: C names, in index order.
        task: the task of the masks.
    """

    def __init__(self, classes: Sequence[str], task: Task) -> None:
        self.classes, self.task = tuple(classes), task
        self._sums = torch.zeros((len(self.classes), 2), dtype=torch.float64)

    def update(self, mask: Tensor, prediction: Tensor) -> None:
        """Add one image.

        Args:
            mask: the true mask, see `Metric.update`.
            prediction: the predicted mask of the same shape.
        """
        counts = self.task.class_counts(self.task.confusion(mask, prediction, len(self.classes)))
        union = counts.true + counts.predicted - counts.true_positives
        present = union > 0
        self._sums[:, 0] += torch.where(present, counts.true_positives / union.clamp(min=1), 0.0)
        self._sums[:, 1] += present

    def compute(self) -> dict[str, float | None]:
        """Return "image_iou_CLASS" for each class, and their mean "image_iou". The value of an absent class is None."""
        values = {
            f"image_iou_{name}": ratio(total, count)
            for name, (total, count) in zip(self.classes, self._sums.tolist(), strict=True)
        }
        return {"image_iou": mean_of_present(list(values.values())), **values}

    def state(self) -> Tensor:
        """Return (C, 2) float64: the sum of IoUs and the number of images of each class."""
        return self._sums.clone()

    def load(self, state: Tensor) -> None:
        """Replace the sums and counts by those that `state` returned, or by a sum of such tensors."""
        self._sums = state.cpu().double()
