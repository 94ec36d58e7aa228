"""What was seen of all masks, before and after it is known what their values mean."""

from array import array

import numpy as np

from pixelwise.data.analysis.scan import RecordStats
from pixelwise.data.io.mask import format_value, values_to_classes
from pixelwise.data.label_map.options import ResolvedLabels
from pixelwise.palette import IGNORE_INDEX

UNKNOWN = -1
"""The class of a value that is none."""


class MaskStatsTable:
    """Rows of figures, one for each value of each mask, in flat arrays: some tens of bytes an image.

    >>> tally = MaskStatsTable()
    >>> tally.add(0, scan_record(record))  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.record, self.layer, self.kind = array("L"), array("H"), array("B")
        self.value, self.color, self.opacity = array("L"), array("L"), array("h")
        self.pixels, self.objects = array("Q"), array("L")
        self.width, self.side, self.side_row = array("f"), array("f"), array("L")

    def add(self, record: int, look: RecordStats) -> None:
        """Add a record's mask."""
        assert look.mask is not None
        kind = _KINDS.index(look.mask.kind)
        for layer, rows in look.rows:
            first, count = len(self.record), len(rows.values)
            for column, value in (
                (self.record, record), (self.layer, layer), (self.kind, kind), (self.opacity, look.opacity),
            ):  # fmt: skip
                column.extend([value] * count)
            self.value.extend(rows.values.tolist())
            self.color.extend(rows.colors.tolist())
            self.pixels.extend(rows.pixels.tolist())
            self.objects.extend(rows.objects.tolist())
            self.width.extend(rows.widths.tolist())
            for row, sides in enumerate(rows.sides, start=first):
                self.side.extend(sides.tolist())
                self.side_row.extend([row] * len(sides))

    def resolve(self, meaning: ResolvedLabels) -> "ClassStatsTable":
        """The rows with the class that each is of."""
        wanted = meaning.label_map.kind
        value, kind = np.array(self.value, np.int64), np.array(self.kind)
        fits = np.full(len(value), True)
        if wanted == "rgb":
            value = np.where(kind == _KINDS.index("index"), np.array(self.color, np.int64), value)
            fits = kind != _KINDS.index("alpha")
        elif wanted == "alpha":
            opacity = np.array(self.opacity, np.int64)
            value = np.where(kind == _KINDS.index("alpha"), value, opacity)
            fits = value >= 0
        else:
            fits = kind == _KINDS.index("index")
        layer = np.array(self.layer, np.int64)
        classes = np.full(len(value), UNKNOWN, np.int64)
        if wanted == "polygons":
            classes[:] = value
        elif fits.any():
            classes[fits] = values_to_classes(value[fits].astype(np.uint32), meaning.label_map)
        if wanted == "multilabel":
            # Values say absent, present or ignore; the layer says of what.
            own = _renamed(layer, meaning.source_to_class)
            present = np.where(classes == 1, own, np.where(classes == 0, ABSENT, classes))
            classes = np.where(own == IGNORE_INDEX, ABSENT, present)
        elif wanted == "polygons":
            classes = _renamed(classes, meaning.source_to_class)
        return ClassStatsTable(self, value, classes, fits, wanted)


ABSENT = -2
"""The class of a value that says that a layer's class is not there."""


_KINDS = ("index", "rgb", "alpha")


def _renamed(index: np.ndarray, sources: tuple[int, ...]) -> np.ndarray:
    """Indices in a file's own order as those of the data set's classes."""
    if not sources:
        return index
    table = np.full(256, IGNORE_INDEX, np.int64)
    table[: len(sources)] = sources
    return table[index]


class ClassStatsTable:
    """A tally whose meaning is known.

    Attributes:
        record: (K,) which record a row is of, as it was added.
        classes: (K,) class index, 255 for "ignore", `UNKNOWN`, or `ABSENT`.
        pixels, objects: (K,).
        widths: (K,) float32, see `RegionStats`.
        side, side_row: (S,) of objects, and the row each is of.
    """

    def __init__(
        self, tally: MaskStatsTable, value: np.ndarray, classes: np.ndarray, fits: np.ndarray, kind: str
    ) -> None:
        self.record, self.classes = np.array(tally.record, np.int64), classes
        self.pixels, self.objects = np.array(tally.pixels, np.int64), np.array(tally.objects, np.int64)
        self.widths = np.array(tally.width, np.float32)
        self.side, self.side_row = np.array(tally.side, np.float32), np.array(tally.side_row, np.int64)
        self._value, self._fits, self._kind = value, fits, kind

    def unknown_values(self) -> dict[int, str]:
        """Record → what its mask holds that is no class, in words."""
        found: dict[int, list[str]] = {}
        for row in np.flatnonzero(self.classes == UNKNOWN):
            text = format_value(int(self._value[row]), self._kind) if self._fits[row] else f"no {self._kind}"
            found.setdefault(int(self.record[row]), []).append(text)
        return {
            record: f"mask value {', '.join(texts[:5])}{' …' if len(texts) > 5 else ''}"
            for record, texts in found.items()
        }

    def pixels_of(self, records: int, index: int) -> np.ndarray:
        """(records,) int64: how many pixels of a class each record has."""
        rows = self.classes == index
        return np.bincount(self.record[rows], self.pixels[rows], minlength=records).astype(np.int64)

    def presence(self, records: int, classes: int) -> np.ndarray:
        """(records, classes) bool: which record shows which class."""
        found = np.zeros((records, classes), bool)
        rows = (self.classes >= 0) & (self.classes < classes)
        found[self.record[rows], self.classes[rows]] = True
        return found

    def drop(self, records: np.ndarray) -> None:
        """Forget some records: True in (number of records,) bool."""
        self.classes = np.where(records[self.record], ABSENT, self.classes)

    def objects_of(self, index: int) -> int:
        """How many objects a class has."""
        return int(self.objects[self.classes == index].sum())

    def width_of(self, index: int, of: np.ndarray) -> float | None:
        """The typical width of a class where records `of`, (number of records,) bool, show it; None if none does."""
        widths = self.widths[(self.classes == index) & (self.objects > 0) & of[self.record]]
        return float(np.median(widths)) if len(widths) else None

    def sides_of(self, index: int) -> np.ndarray:
        """The sides of a class's objects."""
        return self.side[self.classes[self.side_row] == index] if len(self.side) else self.side
