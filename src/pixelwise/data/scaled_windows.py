"""Windows of images and masks at the working scale, read from files that are not decoded as a whole."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from pixelwise.data.antialias import antialias_weights, resize_by_weights
from pixelwise.data.class_cells import CELL_SIDE, ClassCells, find_cells_of_bands
from pixelwise.data.io import image
from pixelwise.data.io.image_windows import open_large
from pixelwise.data.io.record_windows import RecordWindows
from pixelwise.data.resize import ImageSize, nearest_indices, target_size
from pixelwise.data.schema import Record
from pixelwise.data.task import Task
from pixelwise.data.windows import mirror_indices

Bytes = npt.NDArray[np.uint8]

_MAX_PIXELS = 1 << 24
"""Maximum number of pixels of the file that are read at once to find the classes, or to resize a window."""


def exceeds_limit(record: Record, image_size: ImageSize) -> bool:
    """Return True if an image has more than `MAX_PIXELS` pixels after it is resized, and its windows can be read.

    Args:
        record: the record.
        image_size: the size, or the scale.
    """
    windows = open_large(record.image)
    if windows is None:
        return False
    with windows:
        height, width = target_size(image_size, windows.height, windows.width)
    return height * width > image.MAX_PIXELS


class ScaledWindows:
    """Windows of an image and its mask at the working scale.

    Windows are equal to those of the resized image. With a scale other than 1, pixels can differ by 1 from rounding.

    Args:
        windows: the windows of the files.
        scale: the working scale, or the size to which the image is resized.

    Attributes:
        size: height and width at the working scale in pixels.
        nbytes: size in bytes of the pixels that are kept.
    """

    def __init__(self, windows: RecordWindows, scale: ImageSize) -> None:
        self._windows = windows
        self.size, self.nbytes = target_size(scale, *windows.size), windows.nbytes

    def cut(self, top: int, left: int, side: int) -> tuple[Bytes, Bytes]:
        """Read a square window. Pixels outside the image are mirrored at its border.

        Args:
            top: first row of the window.
            left: first column of the window.
            side: side of the window in pixels.

        Returns:
            The image, (side, side, channels), and the mask, (side, side), or (C, side, side) if multi-label.

        Raises:
            DataError: A file is damaged, or its mask has an unknown value. The message names the file.
        """
        rows, columns = (mirror_indices(size, first, side) for size, first in zip(self.size, (top, left), strict=True))
        first_row, first_column = int(rows.min()), int(columns.min())
        image, mask = self.read(range(first_row, int(rows.max()) + 1), range(first_column, int(columns.max()) + 1))
        if image.shape[:2] == (side, side):
            return image, mask
        rows, columns = rows - first_row, columns - first_column
        return image[rows][:, columns], mask[..., rows, :][..., columns]

    def read(self, rows: range, columns: range) -> tuple[Bytes, Bytes]:
        """Read a part of the image and of the mask.

        Args:
            rows: consecutive rows at the working scale.
            columns: consecutive columns at the working scale.

        Returns:
            The image, (rows, columns, channels), and the mask, (…, rows, columns).

        Raises:
            DataError: See `cut`.
        """
        if self.size == self._windows.size:
            return self._windows.read(rows, columns)
        (height, width), (new_height, new_width) = self._windows.size, self.size
        left, across = antialias_weights(width, new_width, columns.start, columns.stop)
        nearest_columns = nearest_indices(width, new_width)[columns.start : columns.stop] - left
        step = max(1, int(_MAX_PIXELS / across.shape[1] * new_height / height))
        images, masks = [], []
        for start in range(rows.start, rows.stop, step):
            stop = min(start + step, rows.stop)
            top, down = antialias_weights(height, new_height, start, stop)
            image, mask = self._windows.read(range(top, top + down.shape[1]), range(left, left + across.shape[1]))
            images.append(resize_by_weights(image, down, across))
            nearest_rows = nearest_indices(height, new_height)[start:stop] - top
            masks.append(mask[..., nearest_rows, :][..., nearest_columns])
        return np.concatenate(images), np.concatenate(masks, -2)

    def read_mask(self, rows: range, columns: range) -> Bytes:
        """Read a part of the mask, see `read`."""
        if self.size == self._windows.size:
            return self._windows.read_mask(rows, columns)
        down, across = (
            nearest_indices(old, new)[part.start : part.stop]
            for old, new, part in zip(self._windows.size, self.size, (rows, columns), strict=True)
        )
        mask = self._windows.read_mask(*(range(int(part[0]), int(part[-1]) + 1) for part in (down, across)))
        return mask[..., down - down[0], :][..., across - across[0]]

    def find_cells(self) -> ClassCells:
        """Return the places of the classes, with the mask in bands of rows. Raises DataError, see `cut`."""
        return ClassCells.of([find_cells_of_bands(self._mask_bands())])

    def class_pixels(self, task: Task) -> npt.NDArray[np.int64]:
        """Count the pixels of each class, see `Task.class_pixels`, with the mask in bands of rows. Raises DataError."""
        counts = [task.class_pixels(band) for band in self._mask_bands()]
        return np.sum(counts, axis=0)

    def _mask_bands(self) -> Iterator[Bytes]:
        """Yield the mask from top to bottom in bands of `CELL_SIDE` rows."""
        (height, width), (source_height, source_width) = self.size, self._windows.size
        unit = math.lcm(CELL_SIDE, self._windows.block_rows)  # so that no tile is decoded twice at full scale
        largest = _MAX_PIXELS // source_width * height // source_height
        step = largest // unit * unit or max(largest // CELL_SIDE, 1) * CELL_SIDE
        for start in range(0, height, step):
            part = self.read_mask(range(start, min(start + step, height)), range(width))
            for top in range(0, part.shape[-2], CELL_SIDE):
                yield part[..., top : top + CELL_SIDE, :]
