"""Tables with an image and its mask in each row."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._class_files import read_class_names
from pixelwise.data.formats._filesystem import is_folder, list_files, list_folders
from pixelwise.data.formats._folder_names import parse_folder_name
from pixelwise.data.formats._rle_tables import is_rle_table
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.formats._table_columns import REQUIREMENT, Columns, find_columns, has_image_and_mask
from pixelwise.data.formats._table_files import TABLE_SUFFIXES, Table, Value, open_table
from pixelwise.data.formats._table_sources import CellResolver
from pixelwise.data.formats._via_files import is_via_csv
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import SPLITS, BytesSource, DataIssue, FormatResult, LabelMap, MultilabelMask, Record, Split
from pixelwise.errors import AnnotationError, DataError

_MAX_COLUMNS_IN_MESSAGE = 12


def read_table(root: Path | RemoteFile, options: LabelOptions | None = None) -> FormatResult | None:
    """Read a CSV, TSV or Parquet file with columns for images and masks, or a folder that contains one.

    See `COLUMNS` for the names of columns. A cell has an image's path (relative to the folder of the table), its URL
    (see `PROTOCOLS`) or, in Parquet, its bytes. Columns mask:CLASS make the data multi-label.

    Splits come from a column, or else from the name of the table (train.csv next to test.csv). Without both, all rows
    are for training. Class names come from a class file next to the table (see `CLASS_FILES`), and the label map is
    inferred from the mask values.

    Args:
        root: the table or its folder.
        options: the user's options. Only `allow_outside` is used.

    Returns:
        The records, or None if there is no such table.

    Raises:
        DataError: A required column is missing, two columns have the same role, a row is damaged or names a file that
            is not allowed, or several tables of a folder do not have different splits in their names.
    """
    allow_outside = options is not None and options.allow_outside
    if is_rle_table(root) or is_via_csv(root):
        return None
    if root.name.lower().endswith(TABLE_SUFFIXES) and not is_folder(root):
        table = open_table(root, has_image_and_mask)
        if table is None:
            raise DataError(f"{root}: needs {REQUIREMENT}")
        columns = find_columns(table, strict=False)
        if columns is None:
            names = ", ".join(map(repr, table.columns[:_MAX_COLUMNS_IN_MESSAGE]))
            raise DataError(f"{root}: needs {REQUIREMENT}; its columns are {names}")
        return _to_result([(table, columns)], allow_outside)
    if not is_folder(root):
        return None
    tables = _find_tables(root)
    words = [_split_word(table) for table, _ in tables]
    if len(tables) > 1 and (None in words or len({SPLIT_WORDS[str(word)] for word in words}) < len(words)):
        first, second, *_ = (str(table.file) for table, _ in tables)
        raise DataError(f"{first}: lists images and masks, as {second} does; use one of the files as the data set")
    return _to_result(tables, allow_outside) if tables else None


def _find_tables(folder: Path) -> list[tuple[Table, Columns]]:
    tables, errors = [], []
    for name in list_files(folder, depth=0)[""]:
        if not name.lower().endswith(TABLE_SUFFIXES) or not (folder / name).is_file():
            continue
        try:
            table = open_table(folder / name, has_image_and_mask)
        except DataError as error:
            errors.append(error)
            continue
        columns = None if table is None or table.huggingface else find_columns(table, strict=True)
        if table is not None and columns is not None:
            tables.append((table, columns))
    # Unreadable tables are ignored if another table can be used, or if a subfolder has a name for images or masks.
    if errors and not tables and not any(any(parse_folder_name(name)) for name in list_folders(folder)):
        raise errors[0]
    return tables


def _split_word(table: Table) -> str | None:
    """Return the word for a split in a table's name (train.csv, data_val.csv), or None if it has none or several."""
    words = re.split(r"[\W_]+", table.file.name.rpartition(".")[0].casefold())
    matches = [word for word in words if word in SPLIT_WORDS]
    return matches[0] if len(matches) == 1 else None


def _to_result(tables: Sequence[tuple[Table, Columns]], allow_outside: bool) -> FormatResult:
    classes = tables[0][1].classes
    for table, columns in tables[1:]:
        if columns.classes != classes:
            raise DataError(f"{table.file}: has columns for other classes than {tables[0][0].file}; give both the same")
    reader = _Reader(allow_outside)
    for table, columns in tables:
        reader.read(table, columns)
    train, val, test = (tuple(reader.records[split]) for split in SPLITS)
    label_map = LabelMap("multilabel") if classes else None
    result = FormatResult(train, val, test, classes=classes, label_map=label_map, issues=tuple(reader.issues))
    file = tables[0][0].file
    if classes or isinstance(file, RemoteFile):
        return result
    table_names = {table.file.name for table, _ in tables}
    other_files = [name for name in list_files(file.parent, depth=0)[""] if name not in table_names]
    return replace(result, **vars(read_class_names(file.parent, {"": other_files})))


class _Reader:
    """Converts the rows of tables to records.

    Args:
        allow_outside: see `CellResolver`.

    Attributes:
        records: the records of each split.
        issues: one issue per row without a usable image or mask.
    """

    def __init__(self, allow_outside: bool) -> None:
        self._allow_outside = allow_outside
        self.records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
        self.issues: list[DataIssue] = []
        self._rows: dict[str, str] = {}

    def read(self, table: Table, columns: Columns) -> None:
        """Read the rows of one table, and add their records and issues.

        Args:
            table: the table.
            columns: the roles of its columns.

        Raises:
            DataError: A row names an unknown split, or a file that is not allowed.
        """
        sources = CellResolver(table.file, self._allow_outside)
        word = _split_word(table)
        default: Split = SPLIT_WORDS[word] if word else "train"
        optional = (columns.split, columns.group, columns.stratum)
        used = list(dict.fromkeys([columns.image, *columns.masks, *(index for index in optional if index is not None)]))
        for number, cells in table.read_rows(used):
            row, location = dict(zip(used, cells, strict=True)), table.locate(number)
            split_word, group, stratum = (None if index is None else str(row[index]) or None for index in optional)
            split = default if columns.split is None else _to_split(location, split_word or "")
            masks = [row[index] for index in columns.masks]
            try:
                record = self._to_record(location, sources, row[columns.image], masks, columns)
            except AnnotationError as error:
                raise DataError(f"{location}: {error}") from None
            if record is not None:
                self.records[split].append(replace(record, group=group, stratum=stratum))

    def _to_record(
        self, location: str, sources: CellResolver, image_cell: Value, mask_cells: Sequence[Value], columns: Columns
    ) -> Record | None:
        image, missing = sources.find(image_cell)
        name = str(image or missing or location)
        if image is None:
            fault = f"no such image, though {location} lists it" if missing else "names no image"
            self._add_issue("missing image", name, f"{fault}; add it or remove the row")
            return None
        first = self._rows.setdefault(os.path.normpath(name) if isinstance(image, Path) else name, location)
        if first != location:
            self._add_issue("image listed twice", location, f"lists {name}, as {first} does; remove one of the rows")
            return None
        masks: list[BytesSource | None] = []
        for cell in mask_cells:
            mask, missing = sources.find(cell)
            if missing:
                message = f"no such mask, though {location} lists it; add it or remove the row"
                self._add_issue("missing mask", missing, message)
                return None
            masks.append(mask)
        if columns.classes:
            return Record(image, MultilabelMask(tuple(masks)))
        if masks[0] is None:
            self._add_issue("missing mask", name, f"has no mask in {location}; add it or remove the row")
            return None
        return Record(image, masks[0])

    def _add_issue(self, kind: str, file: str, message: str) -> None:
        self.issues.append(DataIssue(kind, file, message))


def _to_split(location: str, word: str) -> Split:
    split = SPLIT_WORDS.get(word.casefold())
    if split is None:
        raise DataError(f"{location}: the split '{word}' is unknown; write one of: {', '.join(SPLIT_WORDS)}")
    return split
