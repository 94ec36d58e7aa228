"""Per-mask value statistics, and their aggregation by class once the label map is known."""

from array import array

import numpy as np

from pixelwise.data.analysis.mask_scan import NO_OPACITY, MaskScan
from pixelwise.data.io.mask import format_value, values_to_classes
from pixelwise.data.io.mask_values import VALUE_KINDS
from pixelwise.data.label_map.options import ResolvedLabels
from pixelwise.palette import IGNORE_INDEX

UNKNOWN = -1
"""Class of a value that the label map lacks."""

ABSENT = -2
"""Class of a value that is not counted: "absent" in a multi-label mask, or any value of a dropped record."""

_INDEX, _ALPHA = VALUE_KINDS.index("index"), VALUE_KINDS.index("alpha")


class MaskStatsTable:
    """The statistics of all masks in flat arrays, one row per mask file and value in it.

    A row takes about 76 bytes, and each stored object size 12 bytes.

    Attributes:
        record: index of the record.
        channel: index of the file in a multi-label mask, else 0.
        kind: index in `VALUE_KINDS`.
        value, color, opacity: see `RegionStats` and `MaskScan`.
        pixels, objects, mean_width, width, small_size, zero_contact: see `RegionStats`.
        moments: three numbers per row, see `RegionStats`.
        object_size, object_row: size of each stored object, see `RegionStats`, and the index of its row.
        missing: index of the record → number of pixels that are left out, for records with such pixels.
    """

    def __init__(self) -> None:
        self.record, self.channel, self.kind = array("L"), array("H"), array("B")
        self.value, self.color, self.opacity = array("L"), array("L"), array("h")
        self.pixels, self.objects, self.mean_width = array("Q"), array("L"), array("f")
        self.width, self.small_size, self.zero_contact = array("f"), array("f"), array("f")
        self.object_size, self.object_row, self.moments = array("f"), array("L"), array("f")
        self.missing: dict[int, int] = {}

    def add(self, record: int, mask: MaskScan) -> None:
        """Add the statistics of one mask.

        Args:
            record: index of the record.
            mask: the statistics of its mask.
        """
        kind = VALUE_KINDS.index(mask.stats.kind)
        if mask.missing:
            self.missing[record] = mask.missing
        for channel, regions in mask.regions:
            first_row, count = len(self.record), len(regions.values)
            self.record.extend([record] * count)
            self.channel.extend([channel] * count)
            self.kind.extend([kind] * count)
            self.opacity.extend([mask.opacity] * count)
            self.value.extend(regions.values.tolist())
            self.color.extend(regions.colors.tolist())
            self.pixels.extend(regions.pixels.tolist())
            self.objects.extend(regions.objects.tolist())
            self.mean_width.extend(regions.mean_widths.tolist())
            self.width.extend(regions.widths.tolist())
            self.small_size.extend(regions.small_sizes.tolist())
            self.zero_contact.extend(regions.zero_contacts.tolist())
            self.moments.extend(regions.moments.ravel().tolist())
            for row, sizes in enumerate(regions.object_sizes, start=first_row):
                self.object_size.extend(sizes.tolist())
                self.object_row.extend([row] * len(sizes))

    def resolve(self, labels: ResolvedLabels) -> "ClassStatsTable":
        """Return the rows with the class of each value."""
        values, fits = self._values_of_kind(labels.label_map.kind)
        classes = np.full(len(values), UNKNOWN, np.int64)
        if labels.label_map.kind == "polygons":
            classes = _translate(values, labels.source_to_class)
        elif fits.any():
            classes[fits] = values_to_classes(values[fits].astype(np.uint32), labels.label_map)
        if labels.label_map.kind == "multilabel":
            classes = self._multilabel_classes(classes, labels)
        return ClassStatsTable(self, values, classes, fits, labels.label_map.kind)

    def _values_of_kind(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the value of each row in this kind, (K,) int64, and True if the row has one, (K,) bool."""
        values, kinds = np.array(self.value, np.int64), np.array(self.kind)
        if kind == "rgb":
            return np.where(kinds == _INDEX, np.array(self.color, np.int64), values), kinds != _ALPHA
        if kind == "alpha":
            values = np.where(kinds == _ALPHA, values, np.array(self.opacity, np.int64))
            return values, values != NO_OPACITY
        return values, kinds == _INDEX

    def _multilabel_classes(self, states: np.ndarray, labels: ResolvedLabels) -> np.ndarray:
        """Return the class of each row of multi-label masks.

        The channel of a row determines its class. Its state is 0 for absent, 1 for present, 255 for "ignore".
        """
        classes = _translate(np.array(self.channel, np.int64), labels.source_to_class)
        present = np.where(states == 1, classes, np.where(states == 0, ABSENT, states))
        return np.where(classes == IGNORE_INDEX, ABSENT, present)


def _translate(indices: np.ndarray, source_to_class: tuple[int, ...]) -> np.ndarray:
    """Convert class indices of the data set's files to class indices of the resolved labels, or 255 for "ignore"."""
    if not source_to_class:
        return indices
    table = np.full(256, IGNORE_INDEX, np.int64)
    table[: len(source_to_class)] = source_to_class
    return table[indices]


class ClassStatsTable:
    """The statistics of all masks by class, one row per mask file and value in it.

    Attributes:
        record: (K,) index of the record.
        classes: (K,) class index, 255 for "ignore", `UNKNOWN` or `ABSENT`.
        pixels, objects: (K,) int64.
        mean_widths, widths, small_sizes, zero_contacts: (K,) float32, see `RegionStats`.
        sizes, size_rows: (S,) size of each stored object, and the index of its row.
    """

    def __init__(
        self, table: MaskStatsTable, values: np.ndarray, classes: np.ndarray, fits: np.ndarray, kind: str
    ) -> None:
        self.record, self.classes = np.array(table.record, np.int64), classes
        self.pixels, self.objects = np.array(table.pixels, np.int64), np.array(table.objects, np.int64)
        self.mean_widths = np.array(table.mean_width, np.float32)
        self.widths = np.array(table.width, np.float32)
        self.small_sizes = np.array(table.small_size, np.float32)
        # The contacts are those with the palette index 0. If the mask is read by color, the index has no meaning.
        has_kind = np.array(table.kind) == (VALUE_KINDS.index(kind) if kind in VALUE_KINDS else _INDEX)
        self.zero_contacts = np.where(has_kind, np.array(table.zero_contact, np.float32), np.nan)
        self.sizes, self.size_rows = np.array(table.object_size, np.float32), np.array(table.object_row, np.int64)
        self._moments = np.array(table.moments, np.float32).reshape(-1, 3)
        self._values, self._fits, self._kind, self._missing = values, fits, kind, dict(table.missing)
        self._dropped: np.ndarray | None = None

    def unknown_values(self) -> dict[int, str]:
        """Return record index → text that lists at most 5 mask values without a class."""
        texts: dict[int, dict[str, None]] = {}
        for row in np.flatnonzero(self.classes == UNKNOWN):
            text = format_value(int(self._values[row]), self._kind) if self._fits[row] else "of another kind"
            texts.setdefault(int(self.record[row]), {})[text] = None
        return {
            record: f"mask value {', '.join(list(values)[:5])}{' …' if len(values) > 5 else ''}"
            for record, values in texts.items()
        }

    def class_pixels(self, index: int, records: int) -> np.ndarray:
        """Return the number of pixels of a class in each record.

        Args:
            index: the class.
            records: number of records.

        Returns:
            (records,) int64.
        """
        rows = self.classes == index
        return np.bincount(self.record[rows], self.pixels[rows], minlength=records).astype(np.int64)

    def moments(self, records: int, classes: int) -> np.ndarray:
        """Return the moments of each class in each record, see `region_moments`.

        Args:
            records: number of records.
            classes: number of classes.

        Returns:
            (records, classes, 3) float64, 0 for a class that the record does not have.
        """
        result = np.zeros((records, classes, 3))
        rows = (self.classes >= 0) & (self.classes < classes)
        np.add.at(result, (self.record[rows], self.classes[rows]), self._moments[rows])
        return result

    def presence(self, records: int, classes: int) -> np.ndarray:
        """Return which records have pixels of which classes.

        Args:
            records: number of records.
            classes: number of classes.

        Returns:
            (records, classes) bool, True if the record has pixels of the class.
        """
        present = np.zeros((records, classes), bool)
        rows = (self.classes >= 0) & (self.classes < classes) & (self.pixels > 0)
        present[self.record[rows], self.classes[rows]] = True
        return present

    def mask_pixels(self, records: int) -> np.ndarray:
        """Return (records,) int64: the total number of pixels of all rows of each record."""
        return np.bincount(self.record, self.pixels, minlength=records).astype(np.int64)

    def missing_pixels(self, records: int) -> np.ndarray:
        """Return (records,) int64: the number of pixels that no row counts, because the image has no data there."""
        missing = np.zeros(records, np.int64)
        missing[list(self._missing)] = list(self._missing.values())
        return missing if self._dropped is None else np.where(self._dropped, 0, missing)

    def dropped(self, records: int) -> np.ndarray:
        """Return (records,) bool: True if the statistics of the record were removed by `drop`."""
        return np.zeros(records, bool) if self._dropped is None else self._dropped

    def drop(self, records: np.ndarray) -> None:
        """Remove the statistics of some records. `records` is (number of records,) bool, True to remove a record."""
        self._dropped = records
        self.classes = np.where(records[self.record], ABSENT, self.classes)

    def object_count(self, index: int) -> int:
        """Return the number of objects of a class."""
        return int(self.objects[self.classes == index].sum())

    def median_width(self, index: int, records: np.ndarray) -> float | None:
        """Return the median over mask files of the mean width of a class, or None if it has no objects.

        Args:
            index: the class.
            records: (number of records,) bool, the records to include.
        """
        widths = self.mean_widths[(self.classes == index) & (self.objects > 0) & records[self.record]]
        return float(np.median(widths)) if len(widths) else None

    def median_pixel_width(self, index: int, records: np.ndarray) -> float | None:
        """Return the median over mask files of the width of a class in pixels. None if it has no pixels.

        Args:
            index: the class.
            records: (number of records,) bool, the records to include.
        """
        widths = self.widths[(self.classes == index) & (self.widths > 0) & records[self.record]]
        return float(np.median(widths)) if len(widths) else None

    def zero_contact(self, index: int) -> float | None:
        """Return the mean fraction of a class's outline that borders on the value 0, or None if it has no outline."""
        contacts = self.zero_contacts[self.classes == index]
        contacts = contacts[~np.isnan(contacts)]
        return float(contacts.mean()) if len(contacts) else None

    def object_sizes(self, index: int) -> np.ndarray:
        """Return (N,) float32: the stored sizes of a class's objects, see `regions.object_sizes`."""
        return self.sizes[self.classes[self.size_rows] == index] if len(self.sizes) else self.sizes

    def typical_size(self, index: int, records: np.ndarray) -> float | None:
        """Return the median size of a class's regions, including regions that are too small to count as objects.

        Args:
            index: the class.
            records: (number of records,) bool, the records to include.

        Returns:
            The square root of the region's fraction of the image area, in [0, 1]. None if there are no regions.
        """
        rows = (self.classes == index) & records[self.record]
        small = self.small_sizes[rows & (self.small_sizes > 0)]
        of_class = rows[self.size_rows] if len(self.sizes) else np.zeros(0, bool)
        kept = np.bincount(self.size_rows, minlength=len(rows))  # number of stored sizes of each row
        weights = (self.objects / np.maximum(kept, 1))[self.size_rows[of_class]]
        sizes = np.concatenate([self.sizes[of_class], small])
        return weighted_median(sizes, np.concatenate([weights, np.ones(len(small))])) if len(sizes) else None


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Return the weighted median of values.

    Args:
        values: (N,), N at least 1.
        weights: (N,), the number of times that each value is counted.

    >>> weighted_median(np.array([1, 2, 3]), np.array([1, 1, 9]))
    3.0
    """
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
