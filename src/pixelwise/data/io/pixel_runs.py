"""Convert run lengths from files that do not state the size of the image to masks."""

import numpy as np

from pixelwise.data.schema import PixelRuns
from pixelwise.errors import AnnotationError


def draw_runs(pixel_runs: PixelRuns, size: tuple[int, int]) -> np.ndarray:
    """Draw the runs of an object as a mask.

    Args:
        pixel_runs: the runs. They may overlap.
        size: (height, width) of the image in pixels.

    Returns:
        (H, W) bool, True for pixels of a run.

    Raises:
        AnnotationError: A run ends after the last pixel of the image.

    >>> draw_runs(PixelRuns(np.array([[1, 2]])), (2, 3)).tolist()
    [[False, True, False], [True, False, False]]
    """
    height, width = size
    starts, lengths = pixel_runs.runs.astype(np.int64).T
    ends = starts + lengths
    if len(ends) and ends.max() > height * width:
        raise AnnotationError(
            f"run lengths end at pixel {ends.max()}, but {width}x{height} pixels are {height * width}"
        )
    changes = np.zeros(height * width + 1, np.int32)
    np.add.at(changes, starts, 1)
    np.subtract.at(changes, ends, 1)
    inside = np.cumsum(changes[:-1], out=changes[:-1]) > 0
    return inside.reshape(size) if pixel_runs.by_row else inside.reshape(width, height).T
