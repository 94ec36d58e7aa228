"""Count the pixels of a mask by true and predicted class."""

from torch import Tensor

from pixelwise.data.task import Task

_COUNTED_PIXELS = 1 << 22
"""Number of pixels that are counted at a time."""


def count_pixels(task: Task, mask: Tensor, prediction: Tensor, classes: int) -> Tensor:
    """Count pixels like `Task.confusion`, in bands of rows to save memory.

    Counting takes about 30 bytes per pixel and class.

    Args:
        task: the task of the masks.
        mask: the true mask on the CPU, uint8, 255 = ignore.
        prediction: the predicted mask of the same shape, uint8.
        classes: the number of classes.

    Returns:
        int64 counts, see `Task.confusion`.
    """
    rows = max(1, _COUNTED_PIXELS // max(1, mask[..., :1, :].numel()))
    total = task.zero_matrix(classes)
    for start in range(0, mask.shape[-2], rows):
        band = slice(start, start + rows)
        total += task.confusion(mask[..., band, :], prediction[..., band, :], classes)
    return total
