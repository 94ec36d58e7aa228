"""The values of a mask that is too large to be decoded, read in bands of rows."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.io.image_windows import ImageWindows
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.io.record_windows import read_mask_values
from pixelwise.palette import pack_rgb

Values = npt.NDArray[Any]

Read = Callable[[range, range], Values]
"""A function of rows and columns. It returns the values of a part of a mask, (rows, columns)."""

_BAND_PIXELS = 1 << 22
"""Number of pixels of a band of rows."""

_COUNTED_PIXELS = 1 << 20
"""Number of pixels that are counted at once. Counting takes 8 bytes per pixel."""


@dataclass(frozen=True, eq=False)
class LargeMask:
    """A mask that is read by windows.

    Attributes:
        size: height and width in pixels.
        kind: the type of value, see `MaskStats`.
        read: returns the values of a part.
        block_rows: number of rows that are decoded at once.
        missing: returns the pixels of a part whose image has no data, bool. None if there are none.
        colors: palette index → 0xRRGGBB, if the mask has a palette.
    """

    size: tuple[int, int]
    kind: ValueKind
    read: Read
    block_rows: int = 1
    missing: Callable[[range, range], npt.NDArray[np.bool_] | None] | None = None
    colors: Sequence[int] = ()

    def bands(self) -> Iterator[tuple[range, Values, npt.NDArray[np.bool_] | None]]:
        """Yield the rows of bands from top to bottom, their values, and their pixels without data."""
        height, width = self.size
        step = max(1, _BAND_PIXELS // width // self.block_rows) * self.block_rows
        for start in range(0, height, step):
            rows = range(start, min(start + step, height))
            yield rows, self.read(rows, range(width)), self.missing_in(rows, range(width))

    def missing_in(self, rows: range, columns: range) -> npt.NDArray[np.bool_] | None:
        """Return the pixels of a part whose image has no data, or None."""
        return None if self.missing is None else self.missing(rows, columns)


def open_mask_windows(windows: ImageWindows) -> LargeMask:
    """Return a mask file that is read by windows.

    Raises:
        DataError: The file has no values of a mask. The message names it.
    """
    kind: ValueKind = "index" if windows.bands < 3 or windows.palette is not None else "rgb"
    colors = [] if windows.palette is None else pack_rgb(windows.palette.astype(np.uint32)).tolist()

    def read(rows: range, columns: range) -> Values:
        return read_mask_values(windows, kind, rows, columns)

    return LargeMask((windows.height, windows.width), kind, read, windows.block[0], colors=colors)


def count_values(values: Values) -> Counter[int]:
    """Return value → number of pixels."""
    flat, counts = values.reshape(-1), Counter[int]()
    if flat.dtype.itemsize <= 2:
        limit = 1 << 8 * flat.dtype.itemsize
        total = np.zeros(limit, np.int64)
        for start in range(0, len(flat), _COUNTED_PIXELS):
            total += np.bincount(flat[start : start + _COUNTED_PIXELS], minlength=limit)
        return Counter({int(value): int(total[value]) for value in np.flatnonzero(total)})
    for start in range(0, len(flat), _COUNTED_PIXELS):
        found, pixels = np.unique(flat[start : start + _COUNTED_PIXELS], return_counts=True)
        counts.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
    return counts


def is_gray(color: int) -> bool:
    """Return True if the channels of a color 0xRRGGBB are equal."""
    return color >> 16 == color & 0xFF == color >> 8 & 0xFF


def to_gray(counts: Counter[int]) -> Counter[int]:
    """Return gray value → number of pixels, from the counts of gray colors."""
    return Counter({value & 0xFF: pixels for value, pixels in counts.items()})
