"""The index of packed data sets."""

import json
from pathlib import Path

import fsspec
import pytest

import pixelwise as pw
from pixelwise.data.formats.registry import FORMATS, detect_format
from pixelwise.data.formats.webdataset import read_webdataset
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.pack import pack
from pixelwise.errors import DataError


@pytest.fixture
def packed(pets: pw.DatasetIndex, tmp_path: Path) -> Path:
    pack(pets, tmp_path / "pets")
    return tmp_path / "pets"


def test_an_index_of_another_program_is_not_accepted(tmp_path: Path) -> None:
    assert read_webdataset(tmp_path) is None
    assert read_webdataset(tmp_path / "missing") is None
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0}}')
    assert read_webdataset(tmp_path) is None


def test_a_damaged_index_is_named(packed: Path) -> None:
    index = packed / "dataset.json"
    text = index.read_text()
    for damaged in (
        text[:-200],
        text.replace('"classes"', '"klasses"'),
        text.replace('"samples": [[', '"samples": [3, ['),
    ):
        index.write_text(damaged)
        with pytest.raises(DataError, match=f"{index}: damaged"):
            read_webdataset(packed)


def test_an_index_of_a_newer_version_is_refused(packed: Path) -> None:
    index = packed / "dataset.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"version": 99}))
    with pytest.raises(DataError, match="newer version of pixelwise"):
        read_webdataset(packed)


def test_a_url_without_a_data_set_raises_with_the_remote_formats(memory: str) -> None:
    root = RemoteFile(memory)
    with pytest.raises(DataError, match="no such file or directory"):
        detect_format(root)
    fsspec.filesystem("memory").pipe_file("/bucket/pets/notes.txt", b"text")
    with pytest.raises(DataError, match=r"any format that pixelwise reads from a URL \(table, shards\)"):
        detect_format(root)
    with pytest.raises(DataError, match="the format coco cannot be read from a URL"):
        detect_format(root, "coco")
    assert FORMATS.names(remote=True) == ["table", "shards"]
