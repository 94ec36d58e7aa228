"""The probability of a mask that has thresholds. This module does not import torch."""

import numpy as np
import numpy.typing as npt

from pixelwise.data.task import MULTILABEL, Task


def mask_confidence(
    task: Task, probabilities: npt.NDArray[np.float32], mask: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Return the probability of a mask at each pixel, (H, W) float32, see `Task.confidence`.

    Args:
        task: the task.
        probabilities: (C, H, W) float32 in [0, 1].
        mask: a mask of the task. The values of pixels to ignore have no meaning.
    """
    labels = np.asarray(mask)
    if task is MULTILABEL:
        return np.where(labels == 1, probabilities, 1 - probabilities).min(0)
    index = np.minimum(labels, len(probabilities) - 1)
    return np.take_along_axis(probabilities, index[None].astype(np.int64), 0)[0]
