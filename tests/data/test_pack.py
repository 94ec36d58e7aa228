"""Packing into shards and reading them back: from a folder, from fsspec's memory, from a local S3 server."""

import io
import itertools
import json
import pickle
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.data.formats import detect_format
from pixelwise.data.formats.webdataset import read_webdataset
from pixelwise.data.io import tar_shard as members
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.lru import LRUCache
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.io.tar_shard import TarMember, shard_urls
from pixelwise.data.load import resolve_root
from pixelwise.data.pack import pack
from pixelwise.data.samplers import ShardSampler
from pixelwise.data.schema import FormatResult, LabelMap, MultilabelMask, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import ConfigError, DataError

SMALL = 12 * 1024
"""Bytes of a shard in these tests: a few of the drawn pets."""

forking = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
"""Python 3.12 warns of every fork in a process that has threads, which torch always has."""


@pytest.fixture(autouse=True)
def fresh_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No shard remembered from another test, and a cache of the test's own."""
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    members.SHARDS.clear()
    yield
    members.SHARDS.clear()


def original(record: Record) -> str:
    """The name of the image that a packed record comes from."""
    return record.image.name.partition(".")[0].partition("-")[2]


def check_same(layout: FormatResult, data: pw.DatasetIndex) -> ReadSpec:
    """Every sample of every split is there once, pixel for pixel; returns how the shards are read."""
    reading = ReadSpec(layout.label_map, data.read_spec.channels)  # type: ignore[arg-type]
    assert layout.classes == data.classes and layout.palette == data.palette
    for split in ("train", "val", "test"):
        packed = {original(record): record for record in getattr(layout, split)}
        assert len(packed) == len(getattr(layout, split)) == len(getattr(data, split))
        for record in getattr(data, split):
            again = packed[Path(record.image.name).stem]
            for one, other in zip(
                read_image_and_mask(record, data.read_spec), read_image_and_mask(again, reading), strict=True
            ):
                np.testing.assert_array_equal(one, other)
            assert again.image.read_bytes() == record.image.read_bytes(), "images are kept as they are"
            assert (again.stratum, again.group) == (record.stratum, record.group)
    return reading


# --- there and back


def test_a_folder_of_shards_reads_back(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    grouped = replace(pets, train=tuple(replace(record, group=f"g{i % 3}") for i, record in enumerate(pets.train)))
    done = pack(grouped, tmp_path / "out" / "pets", SMALL)
    name, layout = detect_format(tmp_path / "out" / "pets")
    assert name == "shards" and not layout.issues
    check_same(layout, grouped)
    tars = sorted((tmp_path / "out" / "pets").glob("*.tar"))
    assert sorted(done.shards) == [tar.name for tar in tars] and len(tars) > 4
    assert done.samples == 22 and done.bytes == sum(tar.stat().st_size for tar in tars)
    assert all(tar.stat().st_size <= SMALL or len(webdataset(tar)) == 1 for tar in tars)
    assert max(len(webdataset(tar)) for tar in tars) > 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pets"], "nothing is left beside it"


@pytest.mark.parametrize("url", ["memory", "s3", "file"])
def test_any_file_system_will_do(
    url: str, pets: pw.DatasetIndex, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    out = f"file://{tmp_path}/pets" if url == "file" else request.getfixturevalue(url)
    pack(pets, out, SMALL)
    name, layout = detect_format(resolve_root(out))
    assert name == "shards"
    check_same(layout, pets)
    if url == "file":
        assert all(isinstance(record.image, TarMember) and record.image.shard.is_local for record in layout.records)
    else:
        assert str(layout.train[0].image).startswith(out + "/train-000000.tar/")
    with pytest.raises(DataError, match="exists already"):
        pack(pets, resolve_root(out), SMALL)


def test_masks_of_any_kind_become_class_indices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / "image.png")
    values = rng.choice(np.array([7, 40, 90], np.uint8), (9, 12))
    Image.fromarray(values).save(tmp_path / "mask.png")
    reading = ReadSpec(LabelMap("index", {7: 1, 40: 0, 90: 255}))
    records = (Record(tmp_path / "image.png", tmp_path / "mask.png"),)
    data = pw.DatasetIndex(tmp_path, "folders", ("a", "b"), ((0, 0, 0), (9, 9, 9)), reading, train=records)
    pack(data, tmp_path / "packed")
    check_same(detect_format(tmp_path / "packed")[1], data)

    layers = []
    for number in range(2):
        Image.fromarray(rng.choice(np.array([0, 255], np.uint8), (9, 12))).save(tmp_path / f"{number}.png")
        layers.append(tmp_path / f"{number}.png")
    layered = (Record(tmp_path / "image.png", MultilabelMask((layers[0], None, layers[1]))),)
    data = replace(
        data, classes=("a", "b", "c"), palette=((1, 1, 1),) * 3, train=layered,
        read_spec=ReadSpec(LabelMap("multilabel", {0: 0, 255: 1})),
    )  # fmt: skip
    pack(data, tmp_path / "layered")
    reading = check_same(detect_format(tmp_path / "layered")[1], data)
    assert reading.task is MULTILABEL


def test_names_of_any_kind_make_keys_that_webdataset_takes(tmp_path: Path, pets: pw.DatasetIndex) -> None:
    names = ["a.b.c", "кошка", "with space", "x" * 200, ".hidden"]
    records = []
    for name, record in zip(names, pets.train, strict=False):
        path = tmp_path / f"{name}.JPEG"
        path.write_bytes(record.image.read_bytes())
        records.append(Record(path, record.mask))
    pack(replace(pets, train=tuple(records), test=()), tmp_path / "packed")
    samples = webdataset(tmp_path / "packed" / "train-000000.tar")
    assert len(samples) == 5 and all(set(sample) == {"jpg", "mask.png"} for sample in samples.values())


# --- the form


def webdataset(path: Path) -> dict[str, dict[str, bytes]]:
    """A tar as WebDataset reads it: files in order, grouped by the text before the first dot of the base name."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        files = [(each.name, tar.extractfile(each).read()) for each in tar]  # type: ignore[union-attr]
    for key, group in itertools.groupby(files, lambda file: file[0].partition(".")[0]):
        assert key not in samples, "the files of a sample are neighbors"
        samples[key] = {name.partition(".")[2]: content for name, content in group}
    return samples


def test_shards_are_tars_in_webdatasets_form(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    done = pack(pets, tmp_path / "pets", SMALL)
    index = json.loads((tmp_path / "pets" / "dataset.json").read_text("utf-8"))
    truth = {Path(record.image.name).stem: read_image_and_mask(record, pets.read_spec) for record in pets.train}
    found = {}
    for shard in (name for name in done.shards if name.startswith("train")):
        samples = webdataset(tmp_path / "pets" / shard)
        listed = next(each for each in index["splits"]["train"] if each["shard"] == shard)
        assert list(samples) == [sample[0] for sample in listed["samples"]]
        for key, sample in samples.items():
            found[key.partition("-")[2]] = sample
    assert set(found) == set(truth)
    for name, sample in found.items():
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(sample["jpg"]))), truth[name][0])
        mask = Image.open(io.BytesIO(sample["mask.png"]))
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(mask), truth[name][1])


def test_the_same_data_gives_the_same_bytes(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    def packed(name: str, seed: int = 0) -> dict[str, bytes]:
        pack(pets, tmp_path / name, SMALL, seed=seed)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    assert packed("a") == packed("b") != packed("c", seed=1)


def test_neighbors_lie_apart(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    pack(pets, tmp_path / "pets")
    names = [original(record) for record in read_webdataset(tmp_path / "pets").train]  # type: ignore[union-attr]
    assert names != [Path(record.image.name).stem for record in pets.train]


def test_images_are_reduced_where_asked(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    pack(pets, tmp_path / "pets", image_size=36)
    layout = read_webdataset(tmp_path / "pets")
    assert layout is not None
    reading = ReadSpec(layout.label_map)  # type: ignore[arg-type]
    whole = {Path(record.image.name).stem: read_image_and_mask(record, pets.read_spec) for record in pets.train}
    for record in layout.train:
        image, mask = read_image_and_mask(record, reading)
        before, truth = whole[original(record)]
        assert min(mask.shape) == 36 and image.shape[:2] == mask.shape
        assert abs(mask.shape[1] / mask.shape[0] - truth.shape[1] / truth.shape[0]) < 0.03
        rows = ((np.arange(mask.shape[0]) + 0.5) * truth.shape[0] / mask.shape[0]).astype(int)
        columns = ((np.arange(mask.shape[1]) + 0.5) * truth.shape[1] / mask.shape[1]).astype(int)
        np.testing.assert_array_equal(mask, truth[rows][:, columns])
        assert abs(image.mean() - before.mean()) < 3
        assert record.image.name.endswith(".jpg")
    small = pack(pets, tmp_path / "kept", image_size=500)
    assert small.samples == 22
    check_same(read_webdataset(tmp_path / "kept"), pets)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="5 channels"):
        pack(replace(pets, read_spec=replace(pets.read_spec, channels=5)), tmp_path / "bands", image_size=36)


# --- what goes wrong while packing


@pytest.mark.parametrize("remote", [False, True])
def test_a_bad_image_leaves_no_data_set(remote: bool, pets: pw.DatasetIndex, tmp_path: Path, memory: str) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(pets.train[0].image.read_bytes()[:-300])
    spoilt = replace(pets, train=(*pets.train, Record(bad, pets.train[0].mask)))
    out = UPath(memory) if remote else tmp_path / "out" / "pets"
    with pytest.raises(DataError) as error:
        pack(spoilt, out, SMALL)
    assert str(bad) in str(error.value) and "\n" not in str(error.value)
    assert not (out / "dataset.json").exists()
    if not remote:
        assert list((tmp_path / "out").iterdir()) == []
        done = pack(spoilt, out, SMALL, skip_unreadable=True)
        assert done.samples == 22 and [str(bad) in str(each) for each in done.skipped] == [True]
        check_same(read_webdataset(tmp_path / "out" / "pets"), pets)  # type: ignore[arg-type]


def test_nothing_is_overwritten(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=f"{out}: exists already"):
            pack(pets, out)
    assert (tmp_path / "notes.txt").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_a_place_that_cannot_be_written_is_told(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "pets", "nonsense://bucket/pets"):
        with pytest.raises(DataError) as error:
            pack(pets, out)
        assert str(out) in str(error.value) and "\n" not in str(error.value)


# --- what goes wrong while reading


@pytest.fixture
def packed(pets: pw.DatasetIndex, tmp_path: Path) -> Path:
    pack(pets, tmp_path / "pets", SMALL)
    return tmp_path / "pets"


def test_another_tools_index_is_none_of_ours(tmp_path: Path) -> None:
    assert read_webdataset(tmp_path) is None and read_webdataset(tmp_path / "missing") is None
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0}}')
    assert read_webdataset(tmp_path) is None


def test_a_damaged_index_is_told(packed: Path) -> None:
    index = packed / "dataset.json"
    whole = index.read_text()
    newer = json.loads(whole) | {"version": 99}
    for text in (
        whole[:-200],
        whole.replace('"classes"', '"klasses"'),
        whole.replace('"samples": [[', '"samples": [3, ['),
    ):
        index.write_text(text)
        with pytest.raises(DataError, match=f"{index}: damaged"):
            read_webdataset(packed)
    index.write_text(json.dumps(newer))
    with pytest.raises(DataError, match="newer version of pixelwise"):
        read_webdataset(packed)


@pytest.mark.parametrize("how", ["missing", "cut"])
def test_a_local_shard_that_is_missing_or_cut_off_is_named(how: str, packed: Path) -> None:
    layout = read_webdataset(packed)
    assert layout is not None
    tar = packed / "train-000000.tar"
    content = tar.read_bytes()
    tar.unlink()
    if how == "cut":
        tar.write_bytes(content[:700])
    with pytest.raises(DataError) as error:
        read_image_and_mask(layout.train[0], ReadSpec(layout.label_map))  # type: ignore[arg-type]
    assert str(tar) in str(error.value) and "shard" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_a_remote_shard_that_is_not_what_was_packed_is_named(how: str, pets: pw.DatasetIndex, memory: str) -> None:
    pack(pets, memory, SMALL)
    layout = read_webdataset(RemoteFile(memory))
    assert layout is not None
    system, tar = fsspec.filesystem("memory"), "/bucket/pets/train-000000.tar"
    content = system.cat_file(tar)
    system.rm(tar)
    if how != "missing":
        spoilt = content[:-1] if how == "cut" else content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]
        system.pipe_file(tar, spoilt)
    with pytest.raises(DataError) as error:
        read_image_and_mask(layout.train[0], ReadSpec(layout.label_map))  # type: ignore[arg-type]
    assert f"{memory}/train-000000.tar" in str(error.value) and "\n" not in str(error.value)
    if how == "missing":
        assert "shard is missing" in str(error.value)


def test_a_server_that_does_not_answer_is_told_in_one_line(
    s3: str, pets: pw.DatasetIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(pets, s3, SMALL)
    shard = next(record.image.shard for record in read_webdataset(RemoteFile(s3)).train)  # type: ignore[union-attr]
    options = {
        "key": "a",
        "secret": "b",
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(DataError) as error:
        TarMember(replace(shard, options=options), 0, 10, "a.jpg").read_bytes()
    assert "the shard cannot be read" in str(error.value) and "\n" not in str(error.value)


# --- streaming


def test_a_walk_fetches_each_shard_once_and_keeps_few(pets: pw.DatasetIndex, memory: str) -> None:
    done = pack(pets, memory, SMALL)
    layout = read_webdataset(RemoteFile(memory))
    assert layout is not None
    records, reading = layout.train, ReadSpec(layout.label_map)  # type: ignore[arg-type]
    dataset = SegmentationDataset(records, reading, 16, cache_images=False)
    STORE.most = 2
    sampler = ShardSampler(shard_urls(records) or [], 4, 0, window=2)
    drawn = [image for batch in sampler for image, _ in (dataset[draw] for draw in batch)]
    assert len(drawn) == 12
    assert STORE.fetched == sum(name.startswith("train") for name in done.shards) > 4
    assert len(STORE._kept) == 2
    plain = SegmentationDataset(pets.train, pets.read_spec, 16, cache_images=False)
    wanted = {image.numpy().tobytes() for image, _ in (plain[i] for i in range(12))}
    assert {image.numpy().tobytes() for image in drawn} == wanted


@forking
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("url", ["memory", "s3"])
def test_ranks_and_workers_see_each_sample_once(
    url: str, workers: int, pets: pw.DatasetIndex, request: pytest.FixtureRequest
) -> None:
    out = request.getfixturevalue(url)
    pack(pets, out, SMALL)
    layout = detect_format(resolve_root(out))[1]
    dataset = SegmentationDataset(layout.train, ReadSpec(layout.label_map), 16, cache_images=False)  # type: ignore[arg-type]
    plain = SegmentationDataset(pets.train, pets.read_spec, 16, cache_images=False)
    wanted = sorted(image.numpy().tobytes() for image, _ in (plain[i] for i in range(12)))
    for epoch in range(2):
        seen = []
        for rank in range(2):
            sampler = ShardSampler(shard_urls(layout.train) or [], 4, 0, rank, 2, workers, window=2)
            sampler.epoch = epoch
            for images, masks in DataLoader(dataset, batch_sampler=sampler, num_workers=workers):
                seen += [image.numpy().tobytes() for image in images]
                assert images.dtype == masks.dtype == torch.uint8
        assert sorted(seen) == wanted


def test_packed_images_are_cached_without_reading_them_for_the_key(pets: pw.DatasetIndex, memory: str) -> None:
    done = pack(pets, memory, SMALL)
    layout = read_webdataset(RemoteFile(memory))
    assert layout is not None
    reading = ReadSpec(layout.label_map)  # type: ignore[arg-type]
    # Room for all, so that a thread that is late does not find its shard gone.
    STORE.most = len(done.shards)
    STORE.clear()
    first = SegmentationDataset(layout.train, reading, 16)
    assert STORE.fetched == sum(name.startswith("train") for name in done.shards), "each once, for they are in order"
    assert len(first) == 12 and first.cache_entry is not None
    again = SegmentationDataset(layout.train, reading, 16)
    assert STORE.fetched == sum(name.startswith("train") for name in done.shards)
    assert all(torch.equal(a, b) for i in range(12) for a, b in zip(first[i], again[i], strict=True))


def test_the_store_is_bounded_whatever_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    store, lock = ShardStore(most=3), threading.Lock()
    held: list[int] = []
    fetched: list[str] = []

    def fetch(shard: TarShard) -> bytes:
        with lock:
            fetched.append(shard.url)
            held.append(len(store._kept) + store._in_flight)
        return shard.url.encode()

    monkeypatch.setattr(members, "fetch", fetch)
    rng = np.random.default_rng(0)
    wanted = [TarShard(f"memory://{number}", 1, "") for number in range(8)]
    asked = [wanted[number] for number in rng.integers(0, 8, 500)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.get, asked)) == [shard.url.encode() for shard in asked]
    assert max(held) <= 3 and len(store._kept) <= 3 and store._in_flight == 0
    fetched.clear()
    for shard in [*wanted[:3], *wanted[:3], wanted[3], *wanted[1:3], wanted[0]]:
        store.get(shard)
    tail = fetched[-2:]
    assert tail == ["memory://3", "memory://0"], "what was asked for last is kept"


def test_a_failed_fetch_can_be_tried_again(memory: str) -> None:
    store, shard = ShardStore(), TarShard(memory + "/x.tar", 3, "")
    for _ in range(5):
        with pytest.raises(DataError, match="missing"):
            store.get(shard)
    assert store._in_flight == 0


def test_members_pickle_small_and_share_their_shard(packed: Path) -> None:
    records = read_webdataset(packed).train  # type: ignore[union-attr]
    again = pickle.loads(pickle.dumps(records))
    assert again[0].image.read_bytes() == records[0].image.read_bytes()
    assert again[0].image.shard is again[0].mask.shard
    assert shard_urls(records) == [record.image.shard.url for record in records]
    assert shard_urls([*records, Record(packed / "a.jpg", None)]) is None and shard_urls([]) is None
