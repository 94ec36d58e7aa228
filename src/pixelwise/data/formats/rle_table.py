"""Tables of run lengths: an image, a class and "start length start length …" in each row, as on Kaggle."""

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from pixelwise.data.formats._annotations import assign_class_ids, polygon_result
from pixelwise.data.formats._filesystem import (
    ImageFile,
    Listing,
    filter_files,
    is_file,
    is_folder,
    list_files,
    list_images,
)
from pixelwise.data.formats._folder_names import parse_folder_name, split_of
from pixelwise.data.formats._image_index import ImageIndex
from pixelwise.data.formats._json import is_name, quote
from pixelwise.data.formats._rle_tables import EMPTY_CELLS, RLE_TABLE_SUFFIXES, RleTable, open_rle_table, parse_runs
from pixelwise.data.io.image import open_image
from pixelwise.data.schema import SPLITS, Annotation, DataIssue, FormatResult, PixelRuns, PolygonMask, Record, Split
from pixelwise.errors import AnnotationError, DataError

_SINGLE_CLASS = "foreground"

_SUBMISSION = "submission"
"""Part of the name of Kaggle's example files. Their columns are those of a table of run lengths, but their run lengths
are placeholders."""

_SAMPLED_IMAGES = 20

_MAX_FILES = 50
"""Maximum number of tables in a folder. A folder with more has one per image, which is another format."""


def read_rle_table(root: Path) -> FormatResult | None:
    """Read a CSV file of run lengths, or a folder that contains one, as in Severstal or Airbus on Kaggle.

    See `COLUMNS` for the names of columns. Run lengths count pixels from 1 along the columns of the image, or along its
    rows if the numbers show this order. The table has a row for each class or object of an image. An empty cell means
    that there is no object. Later rows cover earlier ones. The classes are "background" and the class numbers or names
    of the table. A table without classes has "background" and "foreground".

    Images are found by name, with or without suffix, anywhere in the folder `root` or in the folder of the CSV file.
    The split of an image comes from the name of its table (train.csv) or of its folder, else it is "train".

    Args:
        root: a folder, or the CSV file.

    Returns:
        The records. None if there is no table of run lengths, or if the folder also has the masks as files, which
        `read_folders` reads.

    Raises:
        DataError: A row has another number of cells than the first, or two tables list the same images.
    """
    if is_file(root):
        paths, base = [root] if root.name.lower().endswith(RLE_TABLE_SUFFIXES) else [], root.parent
    elif is_folder(root):
        paths, base = _find_tables(root), root
    else:
        return None
    tables = [table for path in paths if (table := open_rle_table(path)) is not None]
    without_runs = set(paths) - {table.path for table in tables}
    examples = [table for table in tables if _SUBMISSION in table.path.name.casefold()]
    tables = [table for table in tables if table not in examples] or tables
    if not tables:
        return None
    listing = list_files(base)
    others = _without_masks(listing)
    if base == root and sum(1 for _ in list_images(others)) < sum(1 for _ in list_images(listing)):
        return None  # the folder also has the masks as files, as in the Data Science Bowl 2018
    reader = _Reader(ImageIndex(base, others))
    for table in tables:
        reader.read(table)
    for table in examples if examples != tables else ():
        message = "is an example of a submission and not a list of masks; left out"
        reader.issues.append(DataIssue("table left out", str(table.path), message, severity="warning"))
    for path in sorted(without_runs):
        message = "has no columns of images and run lengths, or its first row is damaged; left out"
        reader.issues.append(DataIssue("table left out", str(path), message, severity="warning"))
    return reader.result(tables[0].path)


def _find_tables(root: Path) -> list[Path]:
    paths = []
    for folder, names in list_files(root, depth=1).items():
        names = [name for name in names if name.lower().endswith(RLE_TABLE_SUFFIXES)]
        if len(names) <= _MAX_FILES:
            paths += [root / folder / name for name in names]
    return paths


def _without_masks(listing: Listing) -> Listing:
    """Return the listing without the files in folders of masks. Such files can have the same names as the images."""
    return filter_files(listing, lambda folder, name: parse_folder_name(folder.rpartition("/")[2])[1] != "masks")


@dataclass
class _Rows:
    """The rows of one image.

    Attributes:
        split: the split, or None.
        location: the table and the line number of the image's first row.
        objects: (class name, runs) of the rows that are not empty.
        is_damaged: True if a row cannot be read.
    """

    split: Split | None
    location: str
    objects: list[tuple[str, np.ndarray]] = field(default_factory=list)
    is_damaged: bool = False


class _Reader:
    """Collector of the rows of tables by image.

    Attributes:
        issues: images that are missing, and rows that cannot be used.
    """

    def __init__(self, images: ImageIndex) -> None:
        self.issues: list[DataIssue] = []
        self._images = images
        self._rows: dict[ImageFile, _Rows] = {}
        self._classes: dict[str, None] = {}

    def read(self, table: RleTable) -> None:
        """Read the rows of one table. Raise DataError if it lists an image of an earlier table."""
        split = split_of(table.path.stem)
        found: dict[str, ImageFile | None] = {}
        earlier = set(self._rows)
        for line, name, class_name, cell in table.read_rows():
            location = f"{table.path}, line {line}"
            if name not in found:
                found[name] = image = self._find(name, split, location)
                if image in earlier:
                    raise DataError(
                        f"{location}: lists {name}, as {self._rows[image].location} does; use one of the tables"
                    )
            image = found[name]
            if image is None:
                continue
            rows = self._rows.setdefault(image, _Rows(split, location))
            try:
                self._read_row(rows, class_name or _SINGLE_CLASS, cell)
                if not class_name and ("class" in table.columns or "image and class" in table.columns):
                    raise AnnotationError("names no class")
            except AnnotationError as error:
                rows.is_damaged = True
                self.issues.append(DataIssue("bad outline", location, f"{name}: {error}; fix or remove the row"))

    def _find(self, name: str, split: Split | None, location: str) -> ImageFile | None:
        image = None
        if is_name(name):
            image = self._images.find(name, split=split, source=location) or self._images.find_stem(name, "", split)
        if image is None:
            message = f"no such image here: {quote(name)}; add it, or remove its rows"
            self.issues.append(DataIssue("missing image", location, message))
        return image

    def _read_row(self, rows: _Rows, class_name: str, cell: str) -> None:
        if not is_name(class_name):
            raise AnnotationError("the class must be a name or a number")
        self._classes.setdefault(class_name)
        if cell.casefold() not in EMPTY_CELLS:
            rows.objects.append((class_name, parse_runs(cell)))

    def result(self, source: Path) -> FormatResult:
        """Return the records and issues of all tables. Issues about the whole data set name the file `source`."""
        names = sorted(
            self._classes, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
        )
        classes, index_of = assign_class_ids(names)
        by_row = self._is_by_row()
        if by_row:
            message = "the run lengths count pixels along rows, as their numbers show, not along columns"
            self.issues.append(DataIssue("order of pixels", str(source), message, severity="warning"))
        records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
        for image, rows in self._rows.items():
            if not rows.is_damaged:
                annotations = tuple(
                    Annotation(index_of[name], runs=PixelRuns(runs, by_row)) for name, runs in rows.objects
                )
                split = rows.split or split_of(image.folder) or "train"
                records[split].append(Record(self._images.path(image), PolygonMask(annotations, rows.location)))
        self.issues += self._unlisted(source)
        return polygon_result(records, classes, self.issues)

    def _is_by_row(self) -> bool:
        """Return True if the run lengths count pixels along rows, False if along columns.

        The distance in pixels between the starts of two successive runs of an object is usually about the height of
        the image if runs follow columns, and about its width if they follow rows. Each of the first `_SAMPLED_IMAGES`
        objects with more than 3 runs has one vote. Objects in square images have none. A tie means columns.
        """
        votes = 0
        with_runs = ((image, runs) for image, rows in self._rows.items() for _, runs in rows.objects if len(runs) > 3)
        for image, runs in islice(with_runs, _SAMPLED_IMAGES):
            try:
                width, height = open_image(self._images.path(image), lambda opened: opened.size)
            except DataError:
                continue
            distance = float(np.median(np.diff(runs[:, 0])))
            votes += int(np.sign(abs(distance - height) - abs(distance - width)))
        return votes > 0

    def _unlisted(self, source: Path) -> list[DataIssue]:
        """Return one warning about the images that are not listed but are in a folder of listed ones, or []."""
        folders = {image.folder for image in self._rows}
        unlisted = [image for image in self._images if image.folder in folders and image not in self._rows]
        if not unlisted:
            return []
        message = (
            f"does not list {len(unlisted)} image{'s' * (len(unlisted) > 1)} of the same folders, for example "
            f"{unlisted[0].name}; left out. If they show no object, add a row with an empty cell for each"
        )
        return [DataIssue("image not listed", str(source), message, severity="warning")]
