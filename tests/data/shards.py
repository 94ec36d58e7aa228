"""Helpers of tests that read and write shards."""

from pathlib import Path

import pytest

from pixelwise.data.formats.webdataset import read_webdataset
from pixelwise.data.io import tar_shard
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.schema import FormatResult, ReadSpec
from pixelwise.data.task import MULTILABEL

SMALL = 12 * 1024
"""Size of a shard in bytes: a few images of the `pets` fixture."""

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
"""Python 3.12 warns about every fork of a process with threads, and torch always has threads."""


def read_packed(root: Path | RemoteFile) -> FormatResult:
    """Read the index of a packed data set."""
    result = read_webdataset(root)
    assert result is not None
    return result


def read_spec(result: FormatResult, channels: int = 3) -> ReadSpec:
    """Return the parameters to read a format result that has a label map."""
    assert result.label_map is not None
    spec = ReadSpec(result.label_map, channels)
    assert (spec.task is MULTILABEL) == (result.label_map.kind == "multilabel")
    return spec


def count_fetches(monkeypatch: pytest.MonkeyPatch, max_items: int) -> list[str]:
    """Start with an empty shard cache of this size. Return a list that gets the URL of every shard fetched."""
    urls: list[str] = []
    fetch = tar_shard.fetch_shard

    def counted(shard: tar_shard.TarShard) -> bytes:
        urls.append(shard.url)
        return fetch(shard)

    monkeypatch.setattr(tar_shard, "SHARDS", LRUCache[bytes](max_items))
    monkeypatch.setattr(tar_shard, "fetch_shard", counted)
    return urls
