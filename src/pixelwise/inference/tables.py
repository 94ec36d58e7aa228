"""The rows of predictions.csv (classes of each image) and objects.csv (objects of each image)."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from pixelwise.inference.objects import ObjectTable
from pixelwise.inference.pixel_size import PixelSize

Cell = str | int | float | None

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet takes for a formula."""


class CountedMask(Protocol):
    """The counts of a mask: a `Prediction`, `LargePrediction` or `VideoPrediction`. See there for the attributes."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def background(self) -> tuple[int, ...]: ...

    @property
    def areas(self) -> dict[str, int]: ...

    @property
    def class_fractions(self) -> dict[str, float]: ...

    @property
    def class_confidences(self) -> dict[str, float | None] | None: ...

    @property
    def object_table(self) -> ObjectTable: ...


class ClassRows:
    """The columns of predictions.csv: one row per class of an image.

    Args:
        pixel_size: the size of a pixel, or None. It adds the columns area_UNIT2 and median_object_area_UNIT2.

    Attributes:
        columns: class; pixels; fraction of the image's pixels in [0, 1]; objects, the number of connected regions,
            empty for the background; median_object_area in pixels; mean_confidence in [0, 1], see
            `Prediction.class_confidences`.
    """

    def __init__(self, pixel_size: PixelSize | None = None) -> None:
        self.pixel_size = pixel_size
        self.columns = ["class", "pixels", "fraction", "objects", "median_object_area", "mean_confidence"]
        if pixel_size is not None:
            self.columns += [f"area_{pixel_size.unit}2", f"median_object_area_{pixel_size.unit}2"]

    def rows(self, prediction: CountedMask) -> list[list[Cell]]:
        """Return the rows of an image, one per class in index order."""
        table = prediction.object_table
        confidences = prediction.class_confidences or {}
        rows: list[list[Cell]] = []
        for index, name in enumerate(prediction.classes):
            areas = table.areas[table.class_ids == index]
            median = float(np.median(areas)) if len(areas) else None
            confidence = confidences.get(name)
            pixels = prediction.areas[name]
            row: list[Cell] = [
                name,
                pixels,
                round(prediction.class_fractions[name], 6),
                None if index in prediction.background else len(areas),
                median,
                None if confidence is None else round(confidence, 4),
            ]
            if self.pixel_size is not None:
                area = self.pixel_size.area
                row += [_significant(pixels * area), None if median is None else _significant(median * area)]
            rows.append(row)
        return rows


class ObjectRows:
    """The columns of objects.csv: one row per object of an image.

    Args:
        pixel_size: the size of a pixel, or None. It adds the column area_UNIT2.

    Attributes:
        columns: class and the attributes of `MaskObject`, with the names of scikit-image's `regionprops_table`.
    """

    def __init__(self, pixel_size: PixelSize | None = None) -> None:
        self.pixel_size = pixel_size
        self.columns = ["class", "label", "area", *(f"bbox-{axis}" for axis in range(4)), "centroid-0", "centroid-1"]
        if pixel_size is not None:
            self.columns.append(f"area_{pixel_size.unit}2")

    def rows(self, prediction: CountedMask) -> list[list[Cell]]:
        """Return the rows of an image, one per object in the order of `Prediction.objects`."""
        table = prediction.object_table
        columns: list[list[Cell]] = [
            [prediction.classes[index] for index in table.class_ids.tolist()],
            table.labels.tolist(),
            table.areas.tolist(),
            *table.boxes.T.tolist(),
            *table.centroids.T.round(2).tolist(),
        ]
        if self.pixel_size is not None:
            columns.append([_significant(area) for area in (table.areas * self.pixel_size.area).tolist()])
        return [list(row) for row in zip(*columns, strict=True)]


def _significant(value: float) -> float:
    """Round to 6 significant digits."""
    return float(f"{value:.6g}")


def image_cell(path: object) -> str:
    """Return the cell of an image: its path. A path that a spreadsheet would take for a formula gets "./" in front.

    >>> from pathlib import Path
    >>> image_cell(Path("=1.jpg"))
    './=1.jpg'
    """
    text = str(path)
    text = f"./{text}" if text.startswith(_FORMULA_STARTS) else text
    # Bytes of file names that are not valid UTF-8 become escapes such as \\udce9.
    return text.encode("utf-8", "backslashreplace").decode()


def to_csv(image: str, rows: Iterable[Sequence[Cell]]) -> str:
    """Return the rows of an image as lines of CSV.

    Args:
        image: the first cell of each row, see `image_cell`.
        rows: the other cells. A text that a spreadsheet would take for a formula gets "'" in front, as OWASP advises,
            because class names can come from a model that is not trusted.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([image, *map(_safe, row)] for row in rows)
    return text.getvalue()


def _safe(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
