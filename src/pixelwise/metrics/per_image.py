"""IoU averaged over images instead of pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.metrics.base import METRICS, mean_of_present, ratio


@METRICS.register("image_iou")
class ImageIoU:
    """The IoU of each class in each image, averaged over the images that show it.

    Wang et al. 2023, "Revisiting Evaluation Metrics for Semantic Segmentation" (mIoU^C). Images with large objects do
    not count more than others. An image counts for a class if the class is in its mask or in its prediction.

    Args:
        classes: C names, in index order.
        task: the task of the masks.
    """

    def __init__(self, classes: Sequence[str], task: Task) -> None:
        self.classes, self.task = tuple(classes), task
        self._sums = torch.zeros((len(self.classes), 2), dtype=torch.float64)

    def update(self, mask: Tensor, prediction: Tensor) -> None:
        """Add one image; see `Metric`."""
        counts = self.task.class_counts(self.task.confusion(mask, prediction, len(self.classes)))
        union = counts.true + counts.predicted - counts.true_positives
        present = union > 0
        self._sums[:, 0] += torch.where(present, counts.true_positives / union.clamp(min=1), 0.0)
        self._sums[:, 1] += present

    def compute(self) -> dict[str, float | None]:
        """Return "image_iou", the mean over the present classes, and "image_iou_CLASS" of each class."""
        values = {
            f"image_iou_{name}": ratio(total, count)
            for name, (total, count) in zip(self.classes, self._sums.tolist(), strict=True)
        }
        return {"image_iou": mean_of_present(list(values.values())), **values}

    def state(self) -> Tensor:
        """Return the sum of IoUs and the number of images of each class, (C, 2) float64."""
        return self._sums.clone()

    def load(self, state: Tensor) -> None:
        """Replace sums and counts; see `state`."""
        self._sums = state.cpu().double()
