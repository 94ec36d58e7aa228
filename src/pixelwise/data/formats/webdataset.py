"""Read the output of `pixelwise pack`: WebDataset shards (tar files) and their index, dataset.json."""

from pathlib import Path
from typing import Any

from pixelwise.data.formats._outside import check_inside, outside_error
from pixelwise.data.io.image import is_special_file
from pixelwise.data.io.network import check_chain
from pixelwise.data.io.remote import RemoteFile, fetch_bytes
from pixelwise.data.io.tar_shard import TarMember, TarShard
from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.schema import SPLITS, FormatResult, LabelMap, MultilabelMask, Record
from pixelwise.errors import AnnotationError, DataError, first_line
from pixelwise.palette import IGNORE_INDEX
from pixelwise.runtime.parsing import parse_json

INDEX = "dataset.json"

MARK = "pixelwise shards"
"""Text at the start of the index, which distinguishes it from the dataset.json of other tools."""

VERSION = 1

_HEAD_BYTES = 1000


def read_webdataset(root: Path | RemoteFile, options: LabelOptions | None = None) -> FormatResult | None:
    """Read shards of `pixelwise pack`: train-000000.tar, … and dataset.json, in a local or remote folder.

    Args:
        root: the folder.
        options: the user's options. Only `allow_outside` is used.

    Returns:
        The records and classes. None if the folder has no dataset.json of `pixelwise pack`.

    Raises:
        DataError: The index cannot be read, is damaged, is of a newer version, or names a shard outside the folder
            without `allow_outside`.
    """
    index = root.child(INDEX) if isinstance(root, RemoteFile) else root / INDEX
    try:
        if isinstance(index, RemoteFile):
            content = fetch_bytes(index.url, index.options)
        else:
            if is_special_file(index):  # reading a named pipe would block forever
                raise DataError("not a file; replace or remove it")
            content = index.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DataError as error:
        raise DataError(f"{index}: {error}") from None
    except OSError as error:
        raise DataError(f"{index}: cannot be read ({first_line(error)})") from None
    if MARK.encode() not in content[:_HEAD_BYTES]:
        return None
    try:
        return _to_result(root, parse_json(content), options is not None and options.allow_outside)
    except AnnotationError as error:
        raise DataError(f"{index}: {error}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise DataError(f"{index}: damaged; copy or pack the data set again") from None


def _to_result(root: Path | RemoteFile, index: dict[str, Any], allow_outside: bool) -> FormatResult:
    if index["version"] > VERSION:
        raise DataError(f"{root}: packed by a newer version of pixelwise; update pixelwise")
    classes, multilabel = tuple(index["classes"]), index["multilabel"]
    options = root.options if isinstance(root, RemoteFile) else {}
    records: dict[str, tuple[Record, ...]] = dict.fromkeys(SPLITS, ())
    for split, shards in index["splits"].items():
        in_split = []
        for item in shards:
            url = _shard_url(root, item["shard"], allow_outside)
            shard = TarShard(url, item["bytes"], item["blake2b"], options)
            in_split += [_to_record(shard, sample, len(classes) if multilabel else 0) for sample in item["samples"]]
        records[split] = tuple(in_split)
    values = {0: 0, 1: 1} if multilabel else {label: label for label in range(len(classes))}
    return FormatResult(
        records["train"],
        records["val"],
        records["test"],
        classes=classes,
        label_map=LabelMap("multilabel" if multilabel else "index", values | {IGNORE_INDEX: IGNORE_INDEX}),
        palette=tuple((red, green, blue) for red, green, blue in index["palette"]),
    )


def _shard_url(root: Path | RemoteFile, name: str, allow_outside: bool) -> str:
    """Return the path or URL of a shard. Raises AnnotationError if it is outside the folder."""
    if isinstance(root, Path):
        check_inside(name, root, allow_outside)
        return str(root / name)
    check_chain(name)
    url = root.child(name).url
    if not allow_outside and not root.child(INDEX).is_inside(url):
        raise outside_error(name, root.url)
    return url


def _to_record(shard: TarShard, sample: list[Any], channels: int) -> Record:
    """Return the record of a sample of a shard. `channels` is the number of multi-label masks, 0 if not multi-label."""
    key, files, stratum, group = sample
    if any(offset < 0 or size < 0 or offset + size > shard.size for _, offset, size in files):
        raise ValueError("a file is outside its shard")
    members = {ending: TarMember(shard, offset, size, f"{key}.{ending}") for ending, offset, size in files}
    image = members[files[0][0]]
    if not channels:
        return Record(image, members["mask.png"], stratum, group)
    masks = tuple(members.get(f"mask.{label}.png") for label in range(channels))
    return Record(image, MultilabelMask(masks), stratum, group)
