"""Weights of linear interpolation with antialiasing, to resize a part of an image like the whole image."""

import numpy as np
import numpy.typing as npt


def antialias_weights(old: int, new: int, start: int, stop: int) -> tuple[int, npt.NDArray[np.float32]]:
    """Return the weights of old values in new values, for linear interpolation with antialiasing as in torch.

    Args:
        old: number of old values.
        new: number of new values.
        start: the first new value.
        stop: the new value after the last one.

    Returns:
        The first old value that is needed, and (stop - start, old values that are needed). Each row sums to 1.

    >>> antialias_weights(8, 4, 1, 2)
    (1, array([[0.125, 0.375, 0.375, 0.125]], dtype=float32))
    """
    scale = old / new
    support = max(scale, 1.0)
    center = (np.arange(start, stop) + 0.5) * scale
    first = int(max(0.0, center[0] - support + 0.5))
    last = int(min(float(old), center[-1] + support + 0.5))
    position = np.arange(first, max(last, first + 1)) + 0.5
    weights = np.maximum(1 - np.abs(position - center[:, None]) / support, 0)
    return first, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def resize_by_weights(
    image: npt.NDArray[np.uint8], rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Resize an image with the weights of its rows and of its columns.

    Args:
        image: (H, W, channels).
        rows: (new rows, H), see `antialias_weights`.
        columns: (new columns, W).

    Returns:
        (new rows, new columns, channels). It differs from `resize_image` by at most 1, by rounding.
    """
    from scipy.sparse import csr_array  # takes 0.2 s, and only windows of large images need it

    height, width, channels = image.shape
    down = csr_array(rows) @ image.reshape(height, width * channels).astype(np.float32)
    turned = down.reshape(len(rows), width, channels).transpose(1, 0, 2).reshape(width, -1)
    across = (csr_array(columns) @ turned).reshape(len(columns), len(rows), channels).transpose(1, 0, 2)
    return np.ascontiguousarray(np.rint(across).clip(0, 255).astype(np.uint8))
