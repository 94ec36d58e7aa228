"""Packing into shards: to a folder, to fsspec's memory, to a local S3 server."""

import io
import itertools
import json
import multiprocessing
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.data.formats.registry import detect_format
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.io.tar_shard import TarMember, shard_urls
from pixelwise.data.load import resolve_root
from pixelwise.data.pack import pack
from pixelwise.data.samplers import ShardSampler
from pixelwise.data.schema import SPLITS, FormatResult, LabelMap, MultilabelMask, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import ConfigError, DataError, OutputExistsError
from tests.data.shards import SMALL, count_fetches, forks, read_packed, read_spec


def original_stem(record: Record) -> str:
    """Return the stem of the image file that a packed record comes from."""
    return record.image.name.partition(".")[0].partition("-")[2]


def assert_same_records(result: FormatResult, data: pw.DatasetIndex) -> None:
    """Compare every sample of every split, pixel by pixel."""
    spec = read_spec(result, data.read_spec.channels)
    assert result.classes == data.classes and result.palette == data.palette
    for split in SPLITS:
        packed = {original_stem(record): record for record in getattr(result, split)}
        assert len(packed) == len(getattr(result, split)) == len(getattr(data, split))
        for record in getattr(data, split):
            copy = packed[Path(record.image.name).stem]
            before, after = read_image_and_mask(record, data.read_spec), read_image_and_mask(copy, spec)
            np.testing.assert_array_equal(after[0], before[0])
            np.testing.assert_array_equal(after[1], before[1])
            assert copy.image.read_bytes() == record.image.read_bytes(), "image files are not changed"
            assert (copy.stratum, copy.group) == (record.stratum, record.group)


# --- there and back


def test_a_folder_of_shards_reads_back(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    grouped = replace(pets, train=tuple(replace(record, group=f"g{i % 3}") for i, record in enumerate(pets.train)))
    packed = pack(grouped, tmp_path / "out" / "pets", SMALL)
    format, result = detect_format(tmp_path / "out" / "pets")
    assert format == "shards" and not result.issues
    assert_same_records(result, grouped)
    shards = sorted((tmp_path / "out" / "pets").glob("*.tar"))
    assert sorted(packed.shards) == [shard.name for shard in shards] and len(shards) > 4
    assert packed.samples == 22 and packed.bytes == sum(shard.stat().st_size for shard in shards)
    assert all(shard.stat().st_size <= SMALL or len(read_as_webdataset(shard)) == 1 for shard in shards)
    assert max(len(read_as_webdataset(shard)) for shard in shards) > 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pets"], "no temporary folder is left"


@pytest.mark.parametrize("url", ["memory", "s3", "file"])
def test_any_file_system_can_be_packed_to(
    url: str, pets: pw.DatasetIndex, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    out = f"file://{tmp_path}/pets" if url == "file" else request.getfixturevalue(url)
    pack(pets, out, 4 * SMALL if url == "s3" else SMALL)
    format, result = detect_format(resolve_root(out))
    assert format == "shards"
    assert_same_records(result, pets)
    if url == "file":
        assert all(isinstance(record.image, TarMember) and record.image.shard.is_local for record in result.records)
    else:
        assert str(result.train[0].image).startswith(out + "/train-000000.tar/")
    with pytest.raises(OutputExistsError, match="exists already"):
        pack(pets, resolve_root(out), SMALL)


def test_masks_of_any_kind_become_class_indices(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / "image.png")
    values = rng.choice(np.array([7, 40, 90], np.uint8), (9, 12))
    Image.fromarray(values).save(tmp_path / "mask.png")
    spec = ReadSpec(LabelMap("index", {7: 1, 40: 0, 90: 255}))
    records = (Record(tmp_path / "image.png", tmp_path / "mask.png"),)
    data = pw.DatasetIndex(tmp_path, "folders", ("a", "b"), ((0, 0, 0), (9, 9, 9)), spec, train=records)
    pack(data, tmp_path / "packed")
    assert_same_records(read_packed(tmp_path / "packed"), data)


def test_multilabel_masks_have_a_file_per_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(tmp_path / "image.png")
    for number in range(2):
        Image.fromarray(rng.choice(np.array([0, 255], np.uint8), (9, 12))).save(tmp_path / f"{number}.png")
    mask = MultilabelMask((tmp_path / "0.png", None, tmp_path / "1.png"))
    spec = ReadSpec(LabelMap("multilabel", {0: 0, 255: 1}))
    colors = ((1, 1, 1), (2, 2, 2), (3, 3, 3))
    records = (Record(tmp_path / "image.png", mask),)
    data = pw.DatasetIndex(tmp_path, "folders", ("a", "b", "c"), colors, spec, train=records)
    pack(data, tmp_path / "packed")
    result = read_packed(tmp_path / "packed")
    assert_same_records(result, data)
    assert read_spec(result).task is MULTILABEL


def test_any_file_name_becomes_a_key_of_webdataset(tmp_path: Path, pets: pw.DatasetIndex) -> None:
    names = ["a.b.c", "кошка", "with space", "x" * 200, ".hidden"]
    records = []
    for name, record in zip(names, pets.train, strict=False):
        path = tmp_path / f"{name}.JPEG"
        path.write_bytes(record.image.read_bytes())
        records.append(Record(path, record.mask))
    pack(replace(pets, train=tuple(records), test=()), tmp_path / "packed")
    samples = read_as_webdataset(tmp_path / "packed" / "train-000000.tar")
    assert len(samples) == 5 and all(set(sample) == {"jpg", "mask.png"} for sample in samples.values())


# --- the files


def read_as_webdataset(path: Path) -> dict[str, dict[str, bytes]]:
    """Read a tar file as WebDataset does: files in order, grouped by the text before the first dot of the name."""
    samples: dict[str, dict[str, bytes]] = {}
    with tarfile.open(path) as tar:
        files = []
        for entry in tar:
            content = tar.extractfile(entry)
            assert content is not None
            files.append((entry.name, content.read()))
    for key, group in itertools.groupby(files, lambda file: file[0].partition(".")[0]):
        assert key not in samples, "the files of a sample are neighbors"
        samples[key] = {name.partition(".")[2]: content for name, content in group}
    return samples


def test_shards_have_webdatasets_layout(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    packed = pack(pets, tmp_path / "pets", SMALL)
    index = json.loads((tmp_path / "pets" / "dataset.json").read_text("utf-8"))
    expected = {Path(record.image.name).stem: read_image_and_mask(record, pets.read_spec) for record in pets.train}
    samples: dict[str, dict[str, bytes]] = {}
    for name in (name for name in packed.shards if name.startswith("train")):
        shard_samples = read_as_webdataset(tmp_path / "pets" / name)
        entry = next(entry for entry in index["splits"]["train"] if entry["shard"] == name)
        assert list(shard_samples) == [sample[0] for sample in entry["samples"]]
        samples |= {key.partition("-")[2]: sample for key, sample in shard_samples.items()}
    assert set(samples) == set(expected)
    for stem, sample in samples.items():
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(sample["jpg"]))), expected[stem][0])
        mask = Image.open(io.BytesIO(sample["mask.png"]))
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(mask), expected[stem][1])


def test_the_index_has_the_keys_of_version_1(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    pack(pets, tmp_path / "pets")
    index = json.loads((tmp_path / "pets" / "dataset.json").read_text("utf-8"))
    assert list(index) == ["format", "version", "classes", "palette", "channels", "bits", "multilabel", "splits"]
    assert (index["version"], index["bits"], index["multilabel"]) == (1, 16, False)
    assert list(index["splits"]["train"][0]) == ["shard", "bytes", "blake2b", "samples"]


def test_the_same_data_and_seed_give_the_same_bytes(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    def packed_files(name: str, seed: int = 0) -> dict[str, bytes]:
        pack(pets, tmp_path / name, SMALL, seed=seed)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    assert packed_files("a") == packed_files("b") != packed_files("c", seed=1)


def test_images_are_shuffled(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    pack(pets, tmp_path / "pets")
    stems = [original_stem(record) for record in read_packed(tmp_path / "pets").train]
    assert stems != [Path(record.image.name).stem for record in pets.train]


def test_large_images_are_resized(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    pack(pets, tmp_path / "pets", image_size=36)
    result = read_packed(tmp_path / "pets")
    originals = {Path(record.image.name).stem: read_image_and_mask(record, pets.read_spec) for record in pets.train}
    for record in result.train:
        image, mask = read_image_and_mask(record, read_spec(result))
        original, original_mask = originals[original_stem(record)]
        (height, width), (old_height, old_width) = mask.shape, original_mask.shape
        assert min(height, width) == 36 and image.shape[:2] == mask.shape
        assert abs(width / height - old_width / old_height) < 0.03
        rows = ((np.arange(height) + 0.5) * old_height / height).astype(int)
        columns = ((np.arange(width) + 0.5) * old_width / width).astype(int)
        np.testing.assert_array_equal(mask, original_mask[rows][:, columns])
        assert abs(image.mean() - original.mean()) < 3
        assert record.image.name.endswith(".jpg")


def test_small_images_are_not_resized(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    assert pack(pets, tmp_path / "pets", image_size=500).samples == 22
    assert_same_records(read_packed(tmp_path / "pets"), pets)


def test_multiband_images_cannot_be_resized(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`image_size`: images of 5 channels"):
        pack(replace(pets, read_spec=replace(pets.read_spec, channels=5)), tmp_path / "bands", image_size=36)


# --- errors


def with_damaged_image(data: pw.DatasetIndex, folder: Path) -> tuple[pw.DatasetIndex, Path]:
    damaged = folder / "bad.jpg"
    damaged.write_bytes(data.train[0].image.read_bytes()[:-300])
    return replace(data, train=(*data.train, Record(damaged, data.train[0].mask))), damaged


def test_a_damaged_image_leaves_no_folder(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    data, damaged = with_damaged_image(pets, tmp_path)
    with pytest.raises(DataError) as error:
        pack(data, tmp_path / "out" / "pets", SMALL)
    assert str(damaged) in str(error.value) and "\n" not in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_image_leaves_no_index_behind_a_url(pets: pw.DatasetIndex, tmp_path: Path, memory: str) -> None:
    data, _ = with_damaged_image(pets, tmp_path)
    with pytest.raises(DataError):
        pack(data, memory, SMALL)
    assert not RemoteFile(memory).child("dataset.json").exists()


def test_a_remote_output_that_was_stopped_is_replaced(
    pets: pw.DatasetIndex, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    with monkeypatch.context() as patch:
        written: list[str] = []

        def stop(system: MemoryFileSystem, path: str, value: bytes) -> None:
            if len(written) == 4:
                raise KeyboardInterrupt
            written.append(path)
            original(system, path, value)

        original = MemoryFileSystem.pipe_file
        patch.setattr(MemoryFileSystem, "pipe_file", stop)
        with pytest.raises(KeyboardInterrupt):
            pack(pets, memory, SMALL)
    repeated = pack(pets, memory, 4 * SMALL)
    system, path = MemoryFileSystem(), memory.partition("://")[2]
    names = {name.rpartition("/")[2] for name in system.ls(path, detail=False)}
    assert names == {*repeated.shards, "dataset.json"}, "no shard of the first attempt is left"
    with pytest.raises(pw.OutputExistsError):
        pack(pets, memory, SMALL)


def test_damaged_images_can_be_skipped(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    data, damaged = with_damaged_image(pets, tmp_path)
    packed = pack(data, tmp_path / "pets", SMALL, skip_unreadable=True)
    assert packed.samples == 22 and [str(damaged) in str(error) for error in packed.skipped] == [True]
    assert_same_records(read_packed(tmp_path / "pets"), pets)


def test_nothing_is_overwritten(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(OutputExistsError, match=f"{out}: exists already"):
            pack(pets, out)
    assert (tmp_path / "notes.txt").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1


def test_an_output_that_cannot_be_written_is_named(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outputs: dict[Path | str, type[Exception]] = {
        tmp_path / "file" / "pets": pw.OutputError,
        "nonsense://bucket/pets": DataError,
    }
    for out, kind in outputs.items():
        with pytest.raises(kind) as error:
            pack(pets, out)
        assert str(out) in str(error.value) and "\n" not in str(error.value)


# --- streaming


def item_bytes(dataset: SegmentationDataset) -> list[bytes]:
    return sorted(dataset[index][0].numpy().tobytes() for index in range(len(dataset)))


def test_an_epoch_fetches_each_shard_once_and_keeps_few(
    pets: pw.DatasetIndex, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(pets, memory, SMALL)
    result = read_packed(RemoteFile(memory))
    dataset = SegmentationDataset(result.train, read_spec(result), 16, cache_images=False)
    fetched = count_fetches(monkeypatch, max_items=2)
    sampler = ShardSampler(shard_urls(result.train) or [], 4, 0, window=2)
    images = [dataset[draw][0].numpy().tobytes() for batch in sampler for draw in batch]
    assert len(fetched) == len(set(fetched)) == sum(name.startswith("train") for name in packed.shards) > 4
    expected = SegmentationDataset(pets.train, pets.read_spec, 16, cache_images=False)
    assert sorted(images) == item_bytes(expected)


@forks
@pytest.mark.parametrize(
    ("url", "workers", "epochs"), [("memory", 0, 2), ("memory", 2, 2), pytest.param("s3", 2, 1, marks=pytest.mark.slow)]
)
def test_processes_and_workers_draw_each_sample_once(
    url: str, workers: int, epochs: int, pets: pw.DatasetIndex, request: pytest.FixtureRequest
) -> None:
    context = "fork" if url == "memory" and workers else None  # only a forked process has the files in memory
    if context and context not in multiprocessing.get_all_start_methods():
        pytest.skip("processes cannot be forked")
    out = request.getfixturevalue(url)
    pack(pets, out, SMALL if url == "memory" else 2 * SMALL)
    result = read_packed(RemoteFile(out))
    dataset = SegmentationDataset(result.train, read_spec(result), 16, cache_images=False)
    expected = item_bytes(SegmentationDataset(pets.train, pets.read_spec, 16, cache_images=False))
    for epoch in range(epochs):
        drawn: list[bytes] = []
        for rank in range(2):
            sampler = ShardSampler(shard_urls(result.train) or [], 4, 0, rank, 2, workers, window=2)
            sampler.epoch = epoch
            for images, _ in DataLoader(
                dataset, batch_sampler=sampler, num_workers=workers, multiprocessing_context=context
            ):
                drawn += [image.numpy().tobytes() for image in images]
        assert sorted(drawn) == expected
