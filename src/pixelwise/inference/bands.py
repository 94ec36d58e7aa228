"""Masks and probabilities at the original size of an image, computed from logits band by band. A band is a few rows.

The logits of all classes at the original size can take gigabytes: 150 classes at 12 megapixels take 7.2 GB. So they are
computed for one band at a time.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pixelwise.data.task import Task

MAX_BAND_BYTES = 32 << 20
"""Maximum size in bytes of the logits of a band."""


def resize_to_mask(
    logits: Tensor, size: tuple[int, int], task: Task, probabilities: bool = False, max_bytes: int = MAX_BAND_BYTES
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resize logits with bilinear interpolation, and convert them to a mask.

    Args:
        logits: (C, h, w) float32 of one image, any real values.
        size: (H, W) of the image in pixels.
        task: the task of the model.
        probabilities: True to return the probability of each class at each pixel as well.
        max_bytes: maximum size in bytes of the resized logits in memory. A band has at least one row.

    Returns:
        The mask (uint8, see `Task`) and the probabilities ((C, H, W) float32 in [0, 1], or None).
    """
    classes, (height, width) = logits.shape[0], size
    mask = np.empty(task.mask_shape(classes, height, width), np.uint8)
    likelihood = np.empty((classes, height, width), np.float32) if probabilities else None
    rows = max(1, max_bytes // (logits.element_size() * classes * width))
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        band = _resize_band(logits, size, start, stop)
        mask[..., start:stop, :] = task.logits_to_mask(band).cpu().numpy()
        if likelihood is not None:
            likelihood[:, start:stop] = task.activate(band).cpu().numpy()
    return mask, likelihood


def _resize_band(logits: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """Return the rows from start to stop of the logits resized to (H, W). The shape is (C, stop - start, W)."""
    height, width = size
    if (start, stop) == (0, height):
        return F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    # `interpolate` cannot compute a range of rows. So rows are interpolated here by its formula, and columns by itself.
    old = logits.shape[1]
    numbers = torch.arange(start, stop, dtype=torch.float32, device=logits.device)
    position = ((numbers + 0.5) * (torch.tensor(float(old)) / float(height)).item() - 0.5).clamp(min=0)
    upper = position.long().clamp(max=old - 1)
    lower = (upper + 1).clamp(max=old - 1)
    weight = (position - upper)[:, None]
    blended = logits[:, upper] * (1 - weight) + logits[:, lower] * weight
    return F.interpolate(blended[None], (stop - start, width), mode="bilinear", align_corners=False)[0]
