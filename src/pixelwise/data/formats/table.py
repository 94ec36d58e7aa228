"""A table with an image and its mask in each row."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data.formats._class_files import class_names
from pixelwise.data.formats._filesystem import is_folder, list_files, list_folders
from pixelwise.data.formats._folder_names import parse_folder_name
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.formats._table_columns import NEEDED, Columns, find_columns, wanted
from pixelwise.data.formats._table_files import SUFFIXES, Table, Value, open_table
from pixelwise.data.formats._table_sources import CellResolver
from pixelwise.data.io.remote import RemoteFile, to_local_or_remote
from pixelwise.data.schema import SPLITS, BytesSource, DataIssue, FormatResult, LabelMap, MultilabelMask, Record, Split
from pixelwise.errors import DataError


def read_table(root: Path) -> FormatResult | None:
    """A CSV, TSV or Parquet file with the columns image and mask, or a folder that holds one; see `COLUMNS`.

    Images are paths (relative ones start at the table's folder), URLs of any protocol of fsspec, or, in Parquet, the
    bytes themselves. A column split says train, val or test; without it the table's name may (train.csv beside
    test.csv), and else all rows train. Columns mask:CLASS make the data multi-label. Names of classes come from a
    file beside the table (see `class_files.CLASS_FILES`), what masks mean from the masks.

    Raises DataError for a table with a broken row, with columns that may mean two things, or beside another one.
    """
    place = to_local_or_remote(root)
    if place.name.lower().endswith(SUFFIXES) and not is_folder(root):
        found = open_table(place, wanted)
        if found is None:
            raise DataError(f"{place}: needs {NEEDED}")
        columns = find_columns(found, strict=False)
        if columns is None:
            raise DataError(f"{place}: needs {NEEDED}; its columns are {', '.join(map(repr, found.columns[:12]))}")
        return _layout([(found, columns)])
    if isinstance(place, RemoteFile) or not is_folder(place):
        return None
    tables = _tables_in(place)
    words = [_word(each) for each, _ in tables]
    if len(tables) > 1 and (None in words or len({SPLIT_WORDS[str(word)] for word in words}) < len(words)):
        first, second, *_ = (str(each.file) for each, _ in tables)
        raise DataError(f"{first}: lists images and masks, as {second} does; point DATA at the file that is meant")
    return _layout(tables) if tables else None


def _tables_in(folder: Path) -> list[tuple[Table, Columns]]:
    tables, errors = [], []
    for name in list_files(folder, depth=0)[""]:
        if not name.lower().endswith(SUFFIXES) or not (folder / name).is_file():
            continue
        try:
            found = open_table(folder / name, wanted)
        except DataError as error:
            errors.append(error)
            continue
        columns = None if found is None or found.huggingface else find_columns(found, strict=True)
        if found is not None and columns is not None:
            tables.append((found, columns))
    # A table that cannot be read is nothing to a folder whose masks are in folders.
    if errors and not tables and not any(any(parse_folder_name(name)) for name in list_folders(folder)):
        raise errors[0]
    return tables


def _word(table: Table) -> str | None:
    """The word in a table's name that says its split: train.csv, data_val.csv."""
    words = re.split(r"[\W_]+", table.file.name.rpartition(".")[0].casefold())
    found = [word for word in words if word in SPLIT_WORDS]
    return found[0] if len(found) == 1 else None


def _layout(tables: Sequence[tuple[Table, Columns]]) -> FormatResult:
    classes = tables[0][1].classes
    for other, columns in tables[1:]:
        if columns.classes != classes:
            raise DataError(f"{other.file}: has columns for other classes than {tables[0][0].file}; give both the same")
    reader = _Reader()
    for each, columns in tables:
        reader.read(each, columns)
    train, val, test = (tuple(reader.records[split]) for split in SPLITS)
    layout = FormatResult(
        train,
        val,
        test,
        classes=classes,
        label_map=LabelMap("multilabel") if classes else None,
        issues=tuple(reader.problems),
    )
    folder = tables[0][0].file
    if classes or isinstance(folder, RemoteFile):
        return layout
    names = {str(each.file.name) for each, _ in tables}
    beside = [name for name in list_files(folder.parent, depth=0)[""] if name not in names]
    return replace(layout, **vars(class_names(folder.parent, {"": beside})))


class _Reader:
    """Rows on their way to records."""

    def __init__(self) -> None:
        self.records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
        self.problems: list[DataIssue] = []
        self._seen: dict[str, str] = {}

    def read(self, table: Table, columns: Columns) -> None:
        """The rows of one table."""
        sources = CellResolver(table.file)
        named = _word(table)
        default: Split = SPLIT_WORDS[named] if named else "train"
        extra = (columns.split, columns.group, columns.stratum)
        asked = list(dict.fromkeys([columns.image, *columns.masks, *(each for each in extra if each is not None)]))
        for number, cells in table.rows(asked):
            row, where = dict(zip(asked, cells, strict=True)), table.where(number)
            word, group, stratum = (None if each is None else str(row[each]) or None for each in extra)
            split = default if columns.split is None else _split(where, word or "")
            record = self._record(where, sources, row[columns.image], [row[each] for each in columns.masks], columns)
            if record is not None:
                self.records[split].append(replace(record, group=group, stratum=stratum))

    def _record(
        self, where: str, sources: CellResolver, image_cell: Value, masks: Sequence[Value], columns: Columns
    ) -> Record | None:
        image, missing = sources.find(image_cell)
        name = str(image or missing or where)
        if image is None:
            what = f"no such image, though {where} lists it" if missing else "names no image"
            self._problem("missing image", name, f"{what}; add it or take out the row")
            return None
        first = self._seen.setdefault(os.path.normpath(name) if isinstance(image, Path) else name, where)
        if first != where:
            self._problem("image listed twice", where, f"lists {name}, as {first} does; take out one of the rows")
            return None
        found: list[BytesSource | None] = []
        for cell in masks:
            mask, missing = sources.find(cell)
            if missing:
                what = f"no such mask, though {where} lists it; add it or take out the row"
                self._problem("missing mask", missing, what)
                return None
            found.append(mask)
        if columns.classes:
            return Record(image, MultilabelMask(tuple(found)))
        if found[0] is None:
            self._problem("missing mask", name, f"has no mask in {where}; add it or take out the row")
            return None
        return Record(image, found[0])

    def _problem(self, kind: str, file: str, what: str) -> None:
        self.problems.append(DataIssue(kind, file, what))


def _split(where: str, word: str) -> Split:
    split = SPLIT_WORDS.get(word.casefold())
    if split is None:
        raise DataError(f"{where}: the split '{word}' is unknown; write one of: {', '.join(SPLIT_WORDS)}")
    return split
