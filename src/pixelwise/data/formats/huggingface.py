"""Local Hugging Face data sets: folders written by `save_to_disk`, or Parquet files as on the Hugging Face Hub."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pixelwise.data.formats._class_files import read_class_names
from pixelwise.data.formats._filesystem import abbreviate, is_folder, list_files, list_images
from pixelwise.data.formats._json import read_json
from pixelwise.data.formats._outside import check_inside
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.formats._table_columns import columns_for
from pixelwise.data.formats._table_files import to_table_file, wrap_errors
from pixelwise.data.formats._table_sources import CellResolver
from pixelwise.data.io.parquet import TableFile, holds_images, image_cells, open_parquet, read_arrow
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, Record, Split
from pixelwise.errors import AnnotationError, DataError
from pixelwise.runtime.parsing import parse_json

_CLASS_COLUMNS = ("classes", "class_names", "class_labels", "categories", "objects", "label_names", "classes_on_image")
"""Columns whose ClassLabel feature contains the class names of the masks.

The ClassLabel of any other column contains the classes of whole images.
"""

_FILE_NAME = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?|(?P<alone>[^\d-][^-]*)")

_DEPTH = 2
"""Number of levels of subfolders that are searched for Parquet files: CONFIG/SPLIT/0000.parquet."""

_SAVE_AGAIN = "save the data set again"

Features = Mapping[str, Any]


def read_huggingface(root: Path, options: LabelOptions | None = None) -> FormatResult | None:
    """Read a folder written by `save_to_disk` (Dataset or DatasetDict), or Parquet files written by `datasets`.

    pyarrow reads the files in place. The package `datasets` is not used, because it writes to its cache and uses the
    network. The splits are those of the data set. Class names come from a class file such as id2label.json in the
    folder, or else from a ClassLabel feature.

    Args:
        root: the folder.
        options: the user's options. Only `allow_outside` is used.

    Returns:
        The records, class names and issues. None if `datasets` did not write the folder, or its Parquet files have no
        image column.

    Raises:
        DataError: The image column or the mask column is missing or ambiguous, the splits are ambiguous, or a file is
            damaged. Or a file refers to another file outside its folder, which needs `allow_outside`.
    """
    if not is_folder(root):
        return None
    allow_outside = options is not None and options.allow_outside
    parts = _find_saved(root, allow_outside) or _find_parquet(root)
    if not parts:
        return None
    image, mask = _image_and_mask_columns(parts[0])
    for part in parts[1:]:
        if not {image, mask} <= set(_image_columns(part.features)):
            raise DataError(f"{part.file}: has no columns {image} and {mask}, as {parts[0].file} has")
    splits, issues = _map_splits(root, parts)
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for part in parts:
        if part.split in splits:
            records[splits[part.split]] += _read_records(part, (image, mask), issues, allow_outside)
    train, val, test = (tuple(records[split]) for split in SPLITS)
    result = FormatResult(train, val, test, class_names=_class_names(parts[0].features), issues=tuple(issues))
    names = read_class_names(root, list_files(root, depth=0))
    return replace(result, **vars(names)) if names else result


@dataclass(frozen=True)
class _Part:
    """One file of a data set.

    Attributes:
        file: the Parquet or Arrow file.
        split: the name of the split in the data set, or "".
        features: column name → description of the column, as `datasets` stores it.
    """

    file: TableFile
    split: str
    features: Features


def _find_saved(root: Path, allow_outside: bool) -> list[_Part]:
    """Return the Arrow files of a folder written by `save_to_disk`, or [] for any other folder."""
    if (root / "dataset_dict.json").is_file():
        splits = _read_object(root / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
            raise DataError(f"{root / 'dataset_dict.json'}: damaged; {_SAVE_AGAIN}")
        _check_inside(root / "dataset_dict.json", splits, allow_outside)
        return [part for split in splits for part in _saved_parts(root / split, split, allow_outside)]
    if (root / "state.json").is_file() and (root / "dataset_info.json").is_file():
        return _saved_parts(root, "", allow_outside)
    return []


def _check_inside(file: Path, names: Sequence[str], allow_outside: bool) -> None:
    """Raise DataError if one of the paths in a file leads out of the file's folder."""
    for name in names:
        try:
            check_inside(name, file.parent, allow_outside)
        except AnnotationError as error:
            raise DataError(f"{file}: {error}") from None


def _saved_parts(folder: Path, split: str, allow_outside: bool) -> list[_Part]:
    state, info = _read_object(folder / "state.json"), _read_object(folder / "dataset_info.json")
    try:
        names = [str(file["filename"]) for file in state["_data_files"]]
        features = dict(info["features"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{folder / 'state.json'}: damaged, or dataset_info.json is; {_SAVE_AGAIN}") from None
    if state.get("_indices_data_files"):
        raise DataError(f"{folder / 'state.json'}: an index selects the rows; call flatten_indices() before saving")
    _check_inside(folder / "state.json", names, allow_outside)
    return [_Part(_to_file(folder / name, "arrow"), split, features) for name in names]


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path, fix=_SAVE_AGAIN)
    if not isinstance(content, dict):
        raise DataError(f"{path}: damaged; {_SAVE_AGAIN}")
    return content


def _to_file(path: Path, kind: Literal["parquet", "arrow"]) -> TableFile:
    return to_table_file(path, kind, extra="huggingface")


def _find_parquet(root: Path) -> list[_Part]:
    """Return the Parquet files of a data set, or [] if `datasets` did not write them or they have no image column."""
    listing = list_files(root, depth=_DEPTH)
    names = [(folder, name) for folder, names in listing.items() for name in names if name.endswith(".parquet")]
    try:
        if not names or not _read_features(_to_file(root / names[0][0] / names[0][1], "parquet")):
            return []
    except DataError:
        if any(list_images(listing)):  # the folder contains images, and the Parquet file is unrelated
            return []
        raise
    parts: list[_Part] = []
    configs: set[str] = set()
    for folder, name in names:
        file = _to_file(root / folder / name, "parquet")
        features = _read_features(file)
        if not features:
            raise DataError(f"{file}: is not of the data set that {parts[0].file} is of; move one of them away")
        *parents, last = folder.split("/")
        match = _FILE_NAME.fullmatch(name.removesuffix(".parquet"))
        split = match and (match["split"] or match["alone"])
        if not split and last:  # train/0000.parquet
            split, folder = last, "/".join(parents)
        configs.add(folder.removesuffix("data").rstrip("/"))
        parts.append(_Part(file, split or "", features))
    if len(configs) > 1:
        raise DataError(f"{root}: has several data sets ({abbreviate(sorted(configs))}); use one of the folders")
    return parts if _image_columns(parts[0].features) else []


def _read_features(file: TableFile) -> Features:
    """Return the column descriptions that `datasets` stored in a Parquet file, or {} if it did not write the file."""
    with wrap_errors(file), open_parquet(file) as parquet:
        text = (parquet.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        return dict(parse_json(text)["info"]["features"]) if text else {}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file}: its description of features is damaged; copy it again") from None


def _image_columns(features: Features) -> list[str]:
    return [
        name for name, feature in features.items() if isinstance(feature, Mapping) and feature.get("_type") == "Image"
    ]


def _image_and_mask_columns(part: _Part) -> tuple[str, str]:
    """Return the names of the column of images and the column of masks.

    Both columns contain images, so their names distinguish them (see `columns_for`). If there are only two such
    columns, it is sufficient that one of them has a known name. Raise DataError if the columns are missing or
    ambiguous.
    """
    candidates = _image_columns(part.features)
    images, masks = ([candidates[index] for index in columns_for(candidates, role)] for role in ("image", "mask"))
    if not masks and len(images) == 1:
        masks = [name for name in candidates if name not in images]
    if not images and len(masks) == 1:
        images = [name for name in candidates if name not in masks]
    if len(images) == len(masks) == 1:
        return images[0], masks[0]
    columns = ", ".join(candidates) or f"none among {', '.join(part.features)}"
    fix = "call one 'image' and one 'mask' (rename_column), and remove others (remove_columns)"
    raise DataError(f"{part.file}: needs one column of images and one of masks; columns of images: {columns}; {fix}")


def _map_splits(root: Path, parts: Sequence[_Part]) -> tuple[dict[str, Split], list[DataIssue]]:
    """Return name of the split in the data set → split, and a warning if splits are left out.

    A single split with an unknown name is used for training. If there are several splits, those with unknown names are
    left out. Raise DataError if no name is known, or if two names mean the same split.
    """
    names = list(dict.fromkeys(part.split for part in parts))
    if len(names) == 1:
        return {names[0]: SPLIT_WORDS.get(names[0].casefold(), "train")}, []
    splits = {name: SPLIT_WORDS[name.casefold()] for name in names if name.casefold() in SPLIT_WORDS}
    unknown = [name for name in names if name not in splits]
    if len(set(splits.values())) < max(1, len(splits)):
        raise DataError(f"{root}: its splits are {', '.join(names)}; call them train, validation and test, each once")
    message = f"the split {abbreviate(unknown)} is none of train, validation and test; left out"
    return splits, [DataIssue("unknown split", str(root), message, severity="warning")] if unknown else []


def _read_records(
    part: _Part, image_and_mask: tuple[str, str], issues: list[DataIssue], allow_outside: bool
) -> list[Record]:
    with wrap_errors(part.file):
        schema = _read_schema(part.file)
        columns = []
        for name in image_and_mask:
            if name not in schema.names or not holds_images(schema.field(name).type):
                raise DataError(f"{part.file}: the column {name} contains no images; {_SAVE_AGAIN}")
            columns.append(image_cells(part.file, name, schema.field(name).type))
        sources, records = CellResolver(Path(part.file.url), allow_outside), []
        for number, cells in enumerate(zip(*columns, strict=True), 1):
            location = f"{part.file}, row {number}"
            try:
                (image, image_path), (mask, mask_path) = map(sources.find, cells)
            except AnnotationError as error:
                raise DataError(f"{location}: {error}") from None
            if image is not None and mask is not None:
                records.append(Record(image, mask))
                continue
            kind, path = ("image", image_path) if image is None else ("mask", mask_path)
            fault = f"no such {kind}, though {location} names it" if path else f"has no {kind}"
            issues.append(DataIssue(f"missing {kind}", path or location, f"{fault}; add it or remove the row"))
    return records


def _read_schema(file: TableFile) -> Any:
    if file.kind == "arrow":
        return read_arrow(file).schema
    with open_parquet(file) as parquet:
        return parquet.schema_arrow


def _class_names(features: Features) -> tuple[str, ...]:
    """Return the class names of the first ClassLabel feature in `_CLASS_COLUMNS`, or () if there is none.

    The feature can be nested in list features.
    """
    for name, feature in features.items():
        while isinstance(feature, Mapping) and "feature" in feature:
            feature = feature["feature"]
        if name.lower() in _CLASS_COLUMNS and isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
            return tuple(map(str, feature.get("names") or ()))
    return ()
