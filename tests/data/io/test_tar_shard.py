"""Reading of shards, local and remote, intact and damaged."""

import pickle
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

import pixelwise as pw
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.io.tar_shard import TarMember, shard_urls
from pixelwise.data.pack import pack
from pixelwise.data.schema import Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError
from tests.data.shards import SMALL, count_fetches, read_packed, read_spec


@pytest.fixture(autouse=True)
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of the shards fetched. No shard is cached at the start."""
    return count_fetches(monkeypatch, max_items=4)


@pytest.fixture
def packed(pets: pw.DatasetIndex, tmp_path: Path) -> Path:
    pack(pets, tmp_path / "pets", SMALL)
    return tmp_path / "pets"


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_local_shard_that_is_missing_or_cut_off_is_named(damage: str, packed: Path) -> None:
    result = read_packed(packed)
    shard = packed / "train-000000.tar"
    content = shard.read_bytes()
    shard.unlink()
    if damage == "cut":
        shard.write_bytes(content[:700])
    with pytest.raises(DataError) as error:
        read_image_and_mask(result.train[0], read_spec(result))
    assert str(shard) in str(error.value) and "shard" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_remote_shard_that_is_not_what_was_packed_is_named(damage: str, pets: pw.DatasetIndex, memory: str) -> None:
    pack(pets, memory, SMALL)
    result = read_packed(RemoteFile(memory))
    system, path = fsspec.filesystem("memory"), "/bucket/pets/train-000000.tar"
    content = system.cat_file(path)
    system.rm(path)
    if damage != "missing":
        damaged = content[:-1] if damage == "cut" else content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]
        system.pipe_file(path, damaged)
    with pytest.raises(DataError) as error:
        read_image_and_mask(result.train[0], read_spec(result))
    assert f"{memory}/train-000000.tar" in str(error.value) and "\n" not in str(error.value)
    expected = "the shard is missing" if damage == "missing" else "the shard is not what was packed"
    assert expected in str(error.value)


def test_a_server_that_does_not_answer_is_an_error_in_one_line(s3: str, pets: pw.DatasetIndex) -> None:
    pack(pets, s3)
    image = read_packed(RemoteFile(s3)).train[0].image
    assert isinstance(image, TarMember)
    options = {
        "key": "a",
        "secret": "b",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(DataError) as error:
        TarMember(replace(image.shard, options=options), 0, 10, "a.jpg").read_bytes()
    assert "the shard cannot be read" in str(error.value) and "\n" not in str(error.value)


def test_members_pickle_small_and_share_their_shard(packed: Path) -> None:
    records = read_packed(packed).train
    copy = pickle.loads(pickle.dumps(records))
    assert copy[0].image.read_bytes() == records[0].image.read_bytes()
    assert copy[0].image.shard is copy[0].mask.shard


def test_an_image_outside_shards_is_a_shard_of_its_own(packed: Path) -> None:
    records = read_packed(packed).train
    urls = [record.image.shard.url for record in records if isinstance(record.image, TarMember)]
    assert shard_urls(records) == urls and len(urls) == len(records)
    file = Record(packed / "a.jpg", None)
    assert shard_urls([*records, file]) == [*urls, str(packed / "a.jpg")]
    assert shard_urls([file]) is None and shard_urls([]) is None


def test_packed_images_are_cached_without_reading_them_for_the_key(
    pets: pw.DatasetIndex, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    shards = [name for name in pack(pets, memory, SMALL).shards if name.startswith("train")]
    fetched = count_fetches(monkeypatch, max_items=len(shards))
    result = read_packed(RemoteFile(memory))
    first = SegmentationDataset(result.train, read_spec(result), 16)
    assert len(first) == 12 and first.cache_entry is not None
    assert len(fetched) == len(set(fetched)) == len(shards)
    again = SegmentationDataset(result.train, read_spec(result), 16)
    assert len(fetched) == len(shards)
    for index in range(12):
        assert all((one == other).all() for one, other in zip(first[index], again[index], strict=True))
