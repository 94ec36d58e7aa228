"""The statistics of a mask that is too large to measure at once, from bands of its rows and parts of 4096 px."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.analysis.image_scan import content_digest
from pixelwise.data.analysis.regions import (
    MAX_REGION_VALUES,
    NO_VALUE,
    RegionStats,
    measure_regions,
    median_small_sizes,
    object_sizes,
    reduced_indices,
)
from pixelwise.data.analysis.widths import MAX_FULL_SIDE, widths_by_parts
from pixelwise.data.io.image_windows import ImageWindows
from pixelwise.data.io.mask_values import ValueKind
from pixelwise.data.io.record_windows import read_mask_values
from pixelwise.data.label_map.mask_stats import MAX_VALUES_PER_MASK, MaskStats, highest_number
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
            yield rows, self.read(rows, range(width)), self._missing(rows, range(width))

    def _missing(self, rows: range, columns: range) -> npt.NDArray[np.bool_] | None:
        return None if self.missing is None else self.missing(rows, columns)

    def part_of(self, value: int, rows: range) -> npt.NDArray[np.bool_]:
        """Return a part of at most 4096x4096 pixels around a pixel of a value, True at the pixels that have it.

        Args:
            value: the value.
            rows: rows of the mask that have a pixel of the value.
        """
        height, width = self.size
        present = self._present(value, rows, range(width))
        found = np.flatnonzero(present.any(1))
        if not len(found):
            return present[:0]
        row = int(found[len(found) // 2])
        inside = np.flatnonzero(present[row])
        column = int(inside[len(inside) // 2])
        top, left = (max(middle - MAX_FULL_SIDE // 2, 0) for middle in (rows.start + row, column))
        part = range(top, min(top + MAX_FULL_SIDE, height)), range(left, min(left + MAX_FULL_SIDE, width))
        return self._present(value, *part)

    def _present(self, value: int, rows: range, columns: range) -> npt.NDArray[np.bool_]:
        present, missing = self.read(rows, columns) == value, self._missing(rows, columns)
        return np.asarray(present if missing is None else present & ~missing, bool)


@dataclass(frozen=True, eq=False)
class LargeMaskScan:
    """The statistics of a large mask.

    Attributes:
        stats: the value counts.
        regions: the regions of each value. Those of narrow values are measured in a part of 4096x4096 pixels.
        digest: see `MaskScan.digest`.
        missing: number of pixels whose image has no data.
    """

    stats: MaskStats
    regions: RegionStats
    digest: bytes
    missing: int


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


def scan_large_mask(mask: LargeMask) -> LargeMaskScan:
    """Measure the values of a mask. Pixel counts are exact.

    Args:
        mask: the mask.

    Raises:
        DataError: The mask cannot be read.
    """
    counts: Counter[int] = Counter()
    present: Counter[int] = Counter()
    bands: dict[int, list[tuple[range, int]]] = {}
    missing_pixels, small, digests = 0, _Reducer(*mask.size), []
    for rows, values, missing in mask.bands():
        digests.append(content_digest(mask.kind.encode(), np.ascontiguousarray(values).reshape(-1).data))
        found = _count(values)
        counts.update(found)
        if missing is not None:
            missing_pixels += int(np.count_nonzero(missing))
            found = _count(values[~missing])
            values = np.where(missing, NO_VALUE, values.astype(np.int32))
        present.update(found)
        for value, pixels in found.items():
            bands.setdefault(value, []).append((rows, pixels))
        small.add(rows, values)
    reduced = small.values()
    kind = mask.kind
    if kind == "rgb" and all(_is_gray(value) for value in counts):
        counts, present, reduced = _to_gray(counts), _to_gray(present), np.where(reduced < 0, reduced, reduced & 0xFF)
        bands, kind = {value & 0xFF: rows for value, rows in bands.items()}, "index"
        read = mask.read
        mask = replace(mask, read=lambda rows, columns: read(rows, columns) & 0xFF)
    stats = _stats(mask, kind, counts)
    counted = sorted(((value, present[value]) for value in stats.values), key=lambda item: (-item[1], item[0]))
    regions = _regions(mask, stats, counted, reduced, bands)
    return LargeMaskScan(stats, regions, content_digest(*digests), missing_pixels)


def _stats(mask: LargeMask, kind: ValueKind, counts: Counter[int]) -> MaskStats:
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES_PER_MASK]
    numbered = highest_number(np.array(sorted(counts), np.int64))
    values = dict(sorted(frequent))
    colors = {value: int(mask.colors[value]) for value in values if value < len(mask.colors)}
    return MaskStats(kind, values, mask.size, colors, False, numbered)


def _regions(
    mask: LargeMask,
    stats: MaskStats,
    counted: Sequence[tuple[int, int]],
    reduced: Values,
    bands: dict[int, list[tuple[range, int]]],
) -> RegionStats:
    """Measure the regions, see `measure_regions`.

    Args:
        mask: the mask.
        stats: its value counts.
        counted: (value, number of pixels), most frequent first.
        reduced: the reduced mask.
        bands: value → the rows of each band that has it, with the number of pixels.
    """
    kept = [value for value, _ in counted[:MAX_REGION_VALUES]]
    sizes = [object_sizes(reduced == value) for value in kept]
    area = mask.size[0] * mask.size[1]

    def part_of(value: int) -> npt.NDArray[np.bool_]:
        return mask.part_of(value, _middle_band(bands.get(value, [])))

    def measure(value: int) -> np.ndarray:
        part = part_of(value)  # sizes are relative to the whole mask
        return object_sizes(part, min_pixels=1) * np.float32(np.sqrt(part.size / area))

    widths = widths_by_parts(max(mask.size) / max(reduced.shape), reduced, kept, part_of)
    total = sum(pixels for _, pixels in counted)
    return measure_regions(stats, counted, reduced, sizes, total, widths, median_small_sizes(kept, sizes, measure))


def _middle_band(bands: Sequence[tuple[range, int]]) -> range:
    """Return the rows of the band that has the middle one of a value's pixels."""
    sums = np.cumsum([pixels for _, pixels in bands])
    return bands[int(np.searchsorted(sums, sums[-1] / 2))][0] if len(bands) else range(0)


def _count(values: Values) -> Counter[int]:
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


def _is_gray(color: int) -> bool:
    return color >> 16 == color & 0xFF == color >> 8 & 0xFF


def _to_gray(counts: Counter[int]) -> Counter[int]:
    return Counter({value & 0xFF: pixels for value, pixels in counts.items()})


class _Reducer:
    """Reduce a mask like `reduce_mask`, from bands of its rows.

    Args:
        height: height of the mask in pixels.
        width: width of the mask in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._columns = reduced_indices(height, width)
        self._parts: list[Values] = []

    def add(self, rows: range, values: Values) -> None:
        """Add the next band of rows."""
        kept = self._rows[(self._rows >= rows.start) & (self._rows < rows.stop)] - rows.start
        if len(kept):
            self._parts.append(values[np.ix_(kept, self._columns)])

    def values(self) -> Values:
        """Return the reduced mask."""
        return np.concatenate([part.astype(np.int64) for part in self._parts])
