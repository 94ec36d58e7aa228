"""predictions.csv and objects.csv of a directory of predictions."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pixelwise.inference.csv_file import CsvFile
from pixelwise.inference.pixel_size import PixelSize
from pixelwise.inference.tables import ClassRows, CountedMask, ObjectRows, image_cell, to_csv

CLASSES_FILE, OBJECTS_FILE = "predictions.csv", "objects.csv"


@dataclass(frozen=True)
class ImageRows:
    """The rows of an image as text.

    Attributes:
        image: the cell of the image.
        classes: the rows of predictions.csv.
        objects: the rows of objects.csv.
        object_count: number of objects.
    """

    image: str
    classes: str
    objects: str
    object_count: int


class ResultTables:
    """The tables predictions.csv and objects.csv.

    The rows of an image are complete if predictions.csv has a row of it for each class.

    Args:
        out: the directory.
        classes: number of classes.
        pixel_size: the size of a pixel, or None.
    """

    def __init__(self, out: Path, classes: int, pixel_size: PixelSize | None = None) -> None:
        self._classes = classes
        self._class_rows, self._object_rows = ClassRows(pixel_size), ObjectRows(pixel_size)
        self._class_file = CsvFile(out / CLASSES_FILE, self._class_rows.columns)
        self._object_file = CsvFile(out / OBJECTS_FILE, self._object_rows.columns)

    @property
    def files(self) -> tuple[Path, Path]:
        """The files in the order in which the rows of an image are written."""
        return self._object_file.path, self._class_file.path

    def load(self) -> None:
        """Find the rows that an earlier prediction has written.

        Raises:
            OutputExistsError: A file has other columns.
        """
        self._class_file.load()
        self._object_file.load()

    def is_complete(self, path: object) -> bool:
        """Return True if both files have all rows of an image.

        Only predictions.csv is checked, because the rows of objects are written first.
        """
        block = self._class_file.blocks.get(image_cell(path))
        return block is not None and block.rows == self._classes

    def keep(self, paths: Collection[object]) -> None:
        """Reduce the files to the rows of some images, in this order."""
        for file in (self._object_file, self._class_file):
            file.keep(map(image_cell, paths))

    def finish(self, paths: Collection[object]) -> None:
        """Reduce the files to the rows of some images, in this order. Remove a file without rows."""
        self.keep(paths)
        self._object_file.remove_if_empty()
        self._class_file.remove_if_empty()

    def format(self, path: object, prediction: CountedMask) -> ImageRows:
        """Return the rows of an image."""
        image, objects = image_cell(path), self._object_rows.rows(prediction)
        classes = self._class_rows.rows(prediction)
        return ImageRows(image, to_csv(image, classes), to_csv(image, objects), len(objects))

    def append(self, rows: ImageRows) -> None:
        """Append the rows of an image to both files.

        Raises:
            OutputError: A file cannot be written.
        """
        self._object_file.append(rows.image, rows.objects, rows.object_count)
        self._class_file.append(rows.image, rows.classes, self._classes)

    def close(self) -> None:
        """Close both files."""
        self._object_file.close()
        self._class_file.close()
