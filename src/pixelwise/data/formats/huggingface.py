"""Data sets of Hugging Face on this machine: what `datasets` saved, or the Parquet files that the hub serves."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pixelwise.data.formats._class_files import class_names
from pixelwise.data.formats._filesystem import is_folder, list_files, list_images, read_text, shown
from pixelwise.data.formats._splits import SPLIT_WORDS
from pixelwise.data.formats._table_files import wrap_errors
from pixelwise.data.formats._table_sources import CellResolver
from pixelwise.data.io.parquet import TableFile, holds_images, image_cells, open_parquet, read_arrow
from pixelwise.data.schema import SPLITS, DataIssue, FormatResult, Record, Split
from pixelwise.errors import DataError

IMAGES = ("image", "pixel_values", "img", "photo", "picture")


MASKS = (
    "label", "labels", "mask", "masks", "annotation", "annotations", "segmentation", "segmentation_mask",
    "semantic_segmentation", "seg_map", "ground_truth", "gt",
)  # fmt: skip
"""Names of columns, in lower case; with one other column of images, that is the mask whatever its name."""


_CLASSES = ("classes", "class_names", "class_labels", "categories", "objects", "label_names", "classes_on_image")
"""Columns whose ClassLabel names what masks hold; others name what an image shows as a whole."""


_SHARD = re.compile(r"(?P<split>.+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?|(?P<alone>[^\d-][^-]*)")


_DEPTH = 2
"""Folders within folders in which Parquet files lie: CONFIG/SPLIT/0000.parquet."""


Features = Mapping[str, Any]


def read_huggingface(root: Path) -> FormatResult | None:
    """A folder of `save_to_disk`, of a Dataset or a DatasetDict, or of Parquet files that `datasets` wrote.

    Files are read where they lie, by pyarrow alone: `datasets` would look for its cache and for the network. Splits are
    those of the data set; names of classes are those of a feature ClassLabel, or in id2label.json beside it.

    Raises DataError where no two columns are an image and its mask, or more than one may be.
    """
    if not is_folder(root):
        return None
    found = _saved(root) or _from_hub(root)
    if not found:
        return None
    image, mask = _columns(found[0])
    for other in found[1:]:
        if not {image, mask} <= set(_images(other.features)):
            raise DataError(f"{other.file}: has no columns {image} and {mask}, as {found[0].file} has")
    splits, problems = _splits(root, found)
    records: dict[Split, list[Record]] = {split: [] for split in SPLITS}
    for part in found:
        if part.split in splits:
            records[splits[part.split]] += _records(part, image, mask, problems)
    train, val, test = (tuple(records[split]) for split in SPLITS)
    layout = FormatResult(train, val, test, class_names=_class_names(found[0].features), issues=tuple(problems))
    beside = class_names(root, list_files(root, depth=0))
    return replace(layout, **vars(beside)) if beside else layout


@dataclass(frozen=True)
class _Part:
    """One file of a data set: its split as the data set calls it, "" where it has none."""

    file: TableFile
    split: str
    features: Features

    @property
    def folder(self) -> Path:
        return Path(self.file.url).parent


def _saved(root: Path) -> list[_Part]:
    """The Arrow files of `save_to_disk`."""
    if (root / "dataset_dict.json").is_file():
        splits = _json(root / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not all(isinstance(split, str) for split in splits):
            raise DataError(f"{root / 'dataset_dict.json'}: damaged; save the data set again")
        return [part for split in splits for part in _saved_files(root / split, split)]
    if (root / "state.json").is_file() and (root / "dataset_info.json").is_file():
        return _saved_files(root, "")
    return []


def _saved_files(folder: Path, split: str) -> list[_Part]:
    state, info = _json(folder / "state.json"), _json(folder / "dataset_info.json")
    try:
        names = [str(each["filename"]) for each in state["_data_files"]]
        features = dict(info["features"])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{folder / 'state.json'}: damaged, or its dataset_info.json; save the data set again"
        ) from None
    if state.get("_indices_data_files"):
        raise DataError(f"{folder / 'state.json'}: rows are picked by an index; save what flatten_indices() gives")
    return [_Part(_cell_file(folder / name, "arrow"), split, features) for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error}); save the data set again") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: damaged; save the data set again")
    return content


def _cell_file(path: Path, kind: Any) -> TableFile:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        needs = "reading data sets of Hugging Face needs pyarrow; pip install 'pixelwise[huggingface]'"
        raise DataError(f"{path}: {needs}") from None
    if not path.is_file():
        raise DataError(f"{path}: no such file; copy or save the data set again")
    return TableFile(str(path), kind, path.stat().st_mtime_ns)


def _from_hub(root: Path) -> list[_Part]:
    """Parquet files, here or in folders, that say that `datasets` wrote them and have columns of images."""
    listing = list_files(root, depth=_DEPTH)
    names = [(folder, name) for folder, names in listing.items() for name in names if name.endswith(".parquet")]
    try:
        if not names or not _features(_cell_file(root / names[0][0] / names[0][1], "parquet")):
            return []
    except DataError:
        if any(list_images(listing)):  # a file of something else, in a folder of images
            return []
        raise
    parts: list[_Part] = []
    configs: set[str] = set()
    for folder, name in names:
        file = _cell_file(root / folder / name, "parquet")
        features = _features(file)
        if not features:
            raise DataError(f"{file}: is not of the data set that {parts[0].file} is of; move one of them away")
        *above, last = folder.split("/")
        match = _SHARD.fullmatch(name.removesuffix(".parquet"))
        split = match and (match["split"] or match["alone"])
        if not split and last:  # train/0000.parquet
            split, folder = last, "/".join(above)
        configs.add(folder.removesuffix("data").rstrip("/"))
        parts.append(_Part(file, split or "", features))
    if len(configs) > 1:
        raise DataError(f"{root}: holds several data sets ({shown(sorted(configs))}); point DATA at one of them")
    return parts if _images(parts[0].features) else []


def _features(file: TableFile) -> Features:
    """What the file's own description says of its columns; {} where `datasets` did not write it."""
    with wrap_errors(file), open_parquet(file) as parquet:
        text = (parquet.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        return dict(json.loads(text)["info"]["features"]) if text else {}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file}: its description of features is damaged; copy it again") from None


def _images(features: Features) -> list[str]:
    return [name for name, each in features.items() if isinstance(each, Mapping) and each.get("_type") == "Image"]


def _columns(part: _Part) -> tuple[str, str]:
    """Return the names of the image column and the mask column."""
    candidates = _images(part.features)
    images, masks = ([name for name in candidates if name.lower() in wanted] for wanted in (IMAGES, MASKS))
    if not masks and len(images) == 1:
        masks = [name for name in candidates if name not in images]
    if not images and len(masks) == 1:
        images = [name for name in candidates if name not in masks]
    if len(images) == len(masks) == 1:
        return images[0], masks[0]
    columns = ", ".join(candidates) or f"none among {', '.join(part.features)}"
    hint = "call one 'image' and one 'mask' (rename_column), and take others out (remove_columns)"
    raise DataError(f"{part.file}: needs one column of images and one of masks; columns of images: {columns}; {hint}")


def _splits(root: Path, parts: Sequence[_Part]) -> tuple[dict[str, Split], list[DataIssue]]:
    """The data set's name of each split → ours; those with names of no split are left out."""
    names = list(dict.fromkeys(part.split for part in parts))
    if len(names) == 1:
        return {names[0]: SPLIT_WORDS.get(names[0].casefold(), "train")}, []
    known = {name: SPLIT_WORDS[name.casefold()] for name in names if name.casefold() in SPLIT_WORDS}
    others = [name for name in names if name not in known]
    if len(set(known.values())) < max(1, len(known)):
        raise DataError(f"{root}: its splits are {', '.join(names)}; call them train, validation and test, each once")
    what = f"the split {shown(others)} is none of train, validation and test; left out"
    return known, [DataIssue("unknown split", str(root), what, severity="warning")] if others else []


def _records(part: _Part, image_column: str, mask_column: str, problems: list[DataIssue]) -> list[Record]:
    with wrap_errors(part.file):
        schema = _schema(part.file)
        columns = []
        for name in (image_column, mask_column):
            if name not in schema.names or not holds_images(schema.field(name).type):
                raise DataError(f"{part.file}: the column {name} holds no images; save the data set again")
            columns.append(image_cells(part.file, name, schema.field(name).type))
        sources, records = CellResolver(Path(part.file.url)), []
        for number, cells in enumerate(zip(*columns, strict=True), 1):
            where = f"{part.file}, row {number}"
            (image, no_image), (mask_source, no_mask) = map(sources.find, cells)
            if image is not None and mask_source is not None:
                records.append(Record(image, mask_source))
                continue
            kind, path = ("image", no_image) if image is None else ("mask", no_mask)
            what = f"no such {kind}, though {where} names it" if path else f"has no {kind}"
            problems.append(DataIssue(f"missing {kind}", path or where, f"{what}; add it or take out the row"))
    return records


def _schema(file: TableFile) -> Any:
    if file.kind == "arrow":
        return read_arrow(file).schema
    with open_parquet(file) as parquet:
        return parquet.schema_arrow


def _class_names(features: Features) -> tuple[str, ...]:
    """The names of a ClassLabel, alone or in a list, in a column that is called "classes"."""
    for name, feature in features.items():
        while isinstance(feature, Mapping) and "feature" in feature:
            feature = feature["feature"]
        if name.lower() in _CLASSES and isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
            return tuple(map(str, feature.get("names") or ()))
    return ()
