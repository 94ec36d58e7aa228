"""The statistics of a mask that is too large to measure at once, from bands of its rows and parts of 4096 px."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
from pixelwise.data.io.large_mask import LargeMask, Values, count_values, to_gray
from pixelwise.data.label_map.mask_stats import MaskStats, large_mask_stats


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
        found = count_values(values)
        counts.update(found)
        if missing is not None:
            missing_pixels += int(np.count_nonzero(missing))
            found = count_values(values[~missing])
            values = np.where(missing, NO_VALUE, values.astype(np.int32))
        present.update(found)
        for value, pixels in found.items():
            bands.setdefault(value, []).append((rows, pixels))
        small.add(rows, values)
    reduced = small.values()
    stats = large_mask_stats(mask, counts)
    if stats.kind != mask.kind:
        present, reduced = to_gray(present), np.where(reduced < 0, reduced, reduced & 0xFF)
        bands = {value & 0xFF: rows for value, rows in bands.items()}
        read = mask.read
        mask = replace(mask, read=lambda rows, columns: read(rows, columns) & 0xFF)
    counted = sorted(((value, present[value]) for value in stats.values), key=lambda item: (-item[1], item[0]))
    regions = _regions(mask, stats, counted, reduced, bands)
    return LargeMaskScan(stats, regions, content_digest(*digests), missing_pixels)


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
        return _part_of(mask, value, _middle_band(bands.get(value, [])))

    def measure(value: int) -> np.ndarray:
        part = part_of(value)  # sizes are relative to the whole mask
        return object_sizes(part, min_pixels=1) * np.float32(np.sqrt(part.size / area))

    widths = widths_by_parts(max(mask.size) / max(reduced.shape), reduced, kept, part_of)
    total = sum(pixels for _, pixels in counted)
    return measure_regions(stats, counted, reduced, sizes, total, widths, median_small_sizes(kept, sizes, measure))


def _part_of(mask: LargeMask, value: int, rows: range) -> npt.NDArray[np.bool_]:
    """Return a part of at most 4096x4096 pixels around a pixel of a value, True at the pixels that have it.

    Args:
        mask: the mask.
        value: the value.
        rows: rows of the mask that have a pixel of the value.
    """
    height, width = mask.size
    present = _present(mask, value, rows, range(width))
    found = np.flatnonzero(present.any(1))
    if not len(found):
        return present[:0]
    row = int(found[len(found) // 2])
    inside = np.flatnonzero(present[row])
    column = int(inside[len(inside) // 2])
    top, left = (max(middle - MAX_FULL_SIDE // 2, 0) for middle in (rows.start + row, column))
    part = range(top, min(top + MAX_FULL_SIDE, height)), range(left, min(left + MAX_FULL_SIDE, width))
    return _present(mask, value, *part)


def _present(mask: LargeMask, value: int, rows: range, columns: range) -> npt.NDArray[np.bool_]:
    present, missing = mask.read(rows, columns) == value, mask.missing_in(rows, columns)
    return np.asarray(present if missing is None else present & ~missing, bool)


def _middle_band(bands: Sequence[tuple[range, int]]) -> range:
    """Return the rows of the band that has the middle one of a value's pixels."""
    sums = np.cumsum([pixels for _, pixels in bands])
    return bands[int(np.searchsorted(sums, sums[-1] / 2))][0] if len(bands) else range(0)


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
