"""Boundary IoU: the IoU of true and predicted class boundaries."""

from collections.abc import Sequence
from math import hypot

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.ndimage import minimum_filter1d
from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.metrics.base import METRICS, mean_of_present, ratio
from pixelwise.palette import IGNORE_INDEX
from pixelwise.registry import Params


class BoundaryIoUParams(Params):
    """Parameters of `BoundaryIoU`."""

    width: float = Field(0.02, gt=0, lt=1, description="Width of the boundary as a fraction of the image's diagonal.")


@METRICS.register("boundary_iou", params=BoundaryIoUParams)
class BoundaryIoU:
    """The IoU of each class's boundary. The boundary consists of the pixels of the class near its outline.

    Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation". Unlike the IoU, it is
    sensitive to errors at the outlines of large objects too. As in the paper, the image border is a part of the outline
    of a class that touches it. Intersections and unions are summed over all images before the division.

    Args:
        classes: C names, in index order.
        task: the task of the masks.
        width: width of the boundary as a fraction of the image's diagonal. The boundary is at least one pixel wide.
    """

    def __init__(self, classes: Sequence[str], task: Task, width: float = 0.02) -> None:
        self.classes, self.task, self.width = tuple(classes), task, width
        self._sums = np.zeros((len(self.classes), 2), np.int64)

    def update(self, mask: Tensor, prediction: Tensor) -> None:
        """Add one image. See `Metric.update`."""
        true, predicted = mask.numpy(), prediction.numpy()
        counted = true != IGNORE_INDEX
        pixels = max(1, round(self.width * hypot(*true.shape[-2:])))
        for index in range(len(self.classes)):
            # Predictions in ignored pixels are removed, so that both outlines follow the border of the ignored area.
            present = self.task.class_region(np.where(counted, predicted, IGNORE_INDEX), index)
            expected = self.task.class_region(true, index)
            if present.any() or expected.any():
                one, other = boundary(expected, pixels), boundary(present, pixels)
                self._sums[index] += (one & other).sum(), (one | other).sum()

    def compute(self) -> dict[str, float | None]:
        """Return "boundary_iou_CLASS" of each class, and their mean "boundary_iou". A class without pixels has None."""
        values = {
            f"boundary_iou_{name}": ratio(int(intersection), int(union))
            for name, (intersection, union) in zip(self.classes, self._sums, strict=True)
        }
        return {"boundary_iou": mean_of_present(list(values.values())), **values}

    def state(self) -> Tensor:
        """Return the (intersection, union) of each class in pixels, (C, 2) int64."""
        return torch.from_numpy(self._sums.copy())

    def load(self, state: Tensor) -> None:
        """Replace the intersections and unions. See `Metric.load`."""
        self._sums = state.cpu().numpy().astype(np.int64)


def boundary(region: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Return the pixels of a region that are near its outline.

    Args:
        region: (H, W) bool.
        pixels: width of the boundary in pixels, in chessboard distance (a diagonal step is one pixel).

    Returns:
        (H, W) bool.

    >>> boundary(np.ones((4, 4), bool), 1).astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    inner = region.astype(np.uint8)
    for axis in (0, 1):
        inner = minimum_filter1d(inner, 2 * pixels + 1, axis=axis, mode="constant", cval=0)
    return region & (inner == 0)
