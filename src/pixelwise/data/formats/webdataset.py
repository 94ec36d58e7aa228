"""What `pixelwise pack` wrote: shards, and dataset.json, which says what is where."""

import json
from pathlib import Path
from typing import Any

from pixelwise.data.io.tar_shard import TarMember, TarShard
from pixelwise.data.schema import SPLITS, FormatResult, LabelMap, MultilabelMask, Record
from pixelwise.errors import DataError, first_line
from pixelwise.palette import IGNORE_INDEX

INDEX = "dataset.json"


MARK = "pixelwise shards"


VERSION = 1


def read_webdataset(root: Path) -> FormatResult | None:
    """Shards of `pixelwise pack`: train-000000.tar, …, and dataset.json; a folder or a UPath on any fsspec system."""
    index = root / INDEX
    try:
        text = index.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Exception as error:  # each protocol has its own: of the network, of keys
        raise DataError(f"{index}: cannot be read ({first_line(error)})") from None
    if MARK.encode() not in text[:1000]:  # another tool's file of that name
        return None
    try:
        return _layout(root, json.loads(text))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise DataError(f"{index}: damaged; copy or pack the data set again") from None


def _layout(root: Path, index: dict[str, Any]) -> FormatResult:
    if index["version"] > VERSION:
        raise DataError(f"{root}: packed by a newer pixelwise; update this one")
    classes, multilabel = tuple(index["classes"]), index["multilabel"]
    local, options = _place(root)
    records: dict[str, tuple[Record, ...]] = dict.fromkeys(SPLITS, ())
    for split, shards in index["splits"].items():
        found = []
        for each in shards:
            url = str(Path(local) / each["shard"]) if local else f"{str(root).rstrip('/')}/{each['shard']}"
            shard = TarShard(url, each["bytes"], each["blake2b"], options)
            found += [_record(shard, sample, len(classes) if multilabel else 0) for sample in each["samples"]]
        records[split] = tuple(found)
    values = {0: 0, 1: 1} if multilabel else {index: index for index in range(len(classes))}
    return FormatResult(
        records["train"],
        records["val"],
        records["test"],
        classes=classes,
        label_map=LabelMap("multilabel" if multilabel else "index", values | {IGNORE_INDEX: IGNORE_INDEX}),
        palette=tuple((red, green, blue) for red, green, blue in index["palette"]),
    )


def _place(root: Path) -> tuple[str | None, dict[str, Any]]:
    """The folder's path where it is on this machine, and else what fsspec is to be given beside the URL."""
    protocol = getattr(root, "protocol", "")
    if protocol in ("", "file", "local"):
        return str(getattr(root, "path", root)), {}
    return None, dict(getattr(root, "storage_options", {}))


def _record(shard: TarShard, sample: list[Any], layers: int) -> Record:
    key, places, stratum, group = sample
    members = {ending: TarMember(shard, offset, size, f"{key}.{ending}") for ending, offset, size in places}
    image = members[places[0][0]]
    if not layers:
        return Record(image, members["mask.png"], stratum, group)
    return Record(
        image, MultilabelMask(tuple(members.get(f"mask.{label}.png") for label in range(layers))), stratum, group
    )
