"""The image cache: the same pixels as decoding, whatever happens to the files, the disk or other processes."""

import errno
import logging
import os
import pickle
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.data.augmentations import build_transform
from pixelwise.data.cache import entry, store
from pixelwise.data.cache.store import cache_folder, get_or_build, load_and_resize
from pixelwise.data.schema import MultilabelMask, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import CacheUnavailableError, DataError
from tests.data.cache.helpers import BINARY, MULTILABEL, entry_names, has_items_of
from tests.data.shards import forks

fcntl = pytest.importorskip("fcntl")

# --- content


def test_images_are_decoded_once(records: list[Record], decoded: list[Record], cache: Path) -> None:
    first = SegmentationDataset(records, BINARY, 16)
    assert sorted(map(id, decoded)) == sorted(map(id, records))
    second = SegmentationDataset(records, BINARY, 16)
    assert len(decoded) == 5 and len(entry_names(cache)) == 1
    assert has_items_of(first, records) and has_items_of(second, records)
    assert first.messages == second.messages == () and not first.skipped
    image, mask = second[2]
    assert image.stride() == (1, 48, 3), "channels last"
    assert mask.dtype == image.dtype == torch.uint8


def test_other_content_or_settings_are_another_entry(records: list[Record], decoded: list[Record], cache: Path) -> None:
    SegmentationDataset(records, BINARY, 16)
    decoded.clear()
    assert has_items_of(SegmentationDataset(records, BINARY, 17), records, image_size=17) and len(decoded) == 5
    Image.fromarray(np.zeros((36, 48), np.uint8)).save(str(records[2].mask))
    assert has_items_of(SegmentationDataset(records, BINARY, 16), records) and len(decoded) == 10
    assert len(entry_names(cache)) == 3


def test_nothing_is_written_to_the_data_folder(records: list[Record]) -> None:
    def snapshot() -> dict[Path, tuple[int, int]]:
        folder = Path(str(records[0].image)).parent
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.glob("**/*")}

    before = snapshot()
    SegmentationDataset(records, BINARY, 16)
    assert snapshot() == before


def test_items_without_the_cache_are_the_same(records: list[Record], cache: Path) -> None:
    cached = SegmentationDataset(records, BINARY, 16)
    streamed = SegmentationDataset(records, BINARY, 20, cache_images=False)
    assert has_items_of(streamed, records, image_size=20) and len(entry_names(cache)) == 1
    streamed = SegmentationDataset(records, BINARY, 16, build_transform("crop", 8), cache_images=False)
    cached.transform = streamed.transform
    for seed in range(5):
        assert all(torch.equal(a, b) for a, b in zip(cached[seed, seed], streamed[seed, seed], strict=True))


@pytest.mark.parametrize("cache_images", [False, True])
def test_class_pixels_are_those_of_the_masks(records: list[Record], cache_images: bool) -> None:
    dataset = SegmentationDataset(records, BINARY, 16, cache_images=cache_images)
    masks = np.stack([load_and_resize(record, BINARY, 16)[1] for record in records])
    assert dataset.class_pixels(3).tolist() == [(masks == 0).sum(), (masks == 1).sum(), 0]


@pytest.mark.parametrize("cache_images", [False, True])
def test_multilabel_masks_keep_their_channels(tmp_path: Path, records: list[Record], cache_images: bool) -> None:
    channel = np.zeros((36, 48), np.uint8)
    channel[:18] = 255
    Image.fromarray(channel).save(tmp_path / "data" / "channel.png")
    masks = MultilabelMask((None, tmp_path / "data" / "channel.png", None))
    multilabel = [replace(record, mask=masks) for record in records]
    dataset = SegmentationDataset(multilabel, MULTILABEL, 16, cache_images=cache_images)
    image, mask = dataset[3]
    assert tuple(image.shape) == (3, 16, 16) and tuple(mask.shape) == (3, 16, 16)
    assert mask[1, :8].eq(1).all() and mask.sum() == 8 * 16
    assert dataset.class_pixels(3).tolist() == [0, 5 * 8 * 16, 0]


# --- damaged entries


@pytest.mark.parametrize("file", ["photos.bin", "masks.bin", "sums.bin", "header.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "missing"])
def test_a_damaged_entry_is_built_again(
    file: str, damage: str, records: list[Record], decoded: list[Record], cache: Path
) -> None:
    SegmentationDataset(records, BINARY, 16)
    (name,) = entry_names(cache)
    path = cache / name / file
    content = path.read_bytes()
    middle = len(content) // 2
    damaged = {
        "flip": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "cut": content[:-1],
        "longer": content + b"0",
        "empty": b"",
    }
    path.unlink()
    if damage != "missing":
        path.write_bytes(damaged[damage])
    decoded.clear()
    assert has_items_of(SegmentationDataset(records, BINARY, 16), records)
    assert len(decoded) == 5 and entry_names(cache) == [name] and path.read_bytes() == content


def test_an_entry_of_another_version_is_not_used(
    records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Record]
) -> None:
    SegmentationDataset(records, BINARY, 16)
    (name,) = entry_names(cache)
    decoded.clear()
    monkeypatch.setattr(entry, "VERSION", entry.VERSION + 1)
    with pytest.raises(ValueError, match="not a header of version"):
        entry.CacheEntry(cache / name)
    monkeypatch.setattr(store, "VERSION", entry.VERSION)
    SegmentationDataset(records, BINARY, 16)
    assert len(decoded) == 5 and len(entry_names(cache)) == 2


# --- files that cannot be used


def damage_record(record: Record, damage: str) -> str:
    """Make a record unusable. Return a part of the error message."""
    image = Path(str(record.image))
    if damage == "truncated":
        image.write_bytes(image.read_bytes()[:-400])
    elif damage == "pipe":
        image.unlink()
        os.mkfifo(image)
    elif damage == "value":
        Image.fromarray(np.full((36, 48), 7, np.uint8)).save(str(record.mask))
        return f"{record.mask}: mask value 7"
    elif damage == "size":
        Image.fromarray(np.zeros((35, 48), np.uint8)).save(str(record.mask))
    return str(image)


DAMAGES = ["truncated", "pipe", "value", "size"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unusable_file_is_named_and_no_entry_is_made(damage: str, records: list[Record], cache: Path) -> None:
    message = damage_record(records[3], damage)
    with pytest.raises(DataError) as error:
        SegmentationDataset(records, BINARY, 16)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert entry_names(cache) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unusable_file_can_be_skipped(damage: str, records: list[Record], decoded: list[Record]) -> None:
    message = damage_record(records[3], damage)
    for _ in range(2):  # built, then opened
        dataset = SegmentationDataset(records, BINARY, 16, skip_unreadable=True)
        assert has_items_of(dataset, records[:3] + records[4:])
        assert len(dataset.skipped) == 1 and message in str(dataset.skipped[0])
    assert len(decoded) == 5 + 1 + 1, "each once, and the unusable one again for its error"
    with pytest.raises(DataError) as error:
        SegmentationDataset(records, BINARY, 16)
    assert message in str(error.value), "an entry without it does not hide it from a training that needs all"


def test_no_usable_image_is_an_error(records: list[Record], cache: Path) -> None:
    for record in records:
        damage_record(record, "truncated")
    with pytest.raises(DataError, match=f"none of the 5 images can be used; the first: {records[0].image}"):
        SegmentationDataset(records, BINARY, 16, skip_unreadable=True)
    assert entry_names(cache) == []


@forks
@pytest.mark.parametrize("workers", [0, 1])
def test_without_the_cache_an_unusable_file_is_an_error_in_one_line(
    workers: int, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time that torch waits for the workers of an epoch that was broken off.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    message = damage_record(records[3], "truncated")
    batches: Any = iter(
        DataLoader(SegmentationDataset(records, BINARY, 16, cache_images=False), 2, num_workers=workers)
    )
    with pytest.raises(DataError) as error:
        list(batches)
    if workers:
        batches._shutdown_workers()
    text = str(error.value)
    assert text.startswith(message) and "\n" not in text and "Traceback" not in text


def test_without_the_cache_an_unusable_file_never_reaches_the_loss(
    records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    message = damage_record(records[3], "value")
    dataset = SegmentationDataset(
        records, BINARY, 16, class_weights=torch.ones(2), cache_images=False, skip_unreadable=True
    )
    with caplog.at_level(logging.WARNING, "pixelwise"):
        for _ in range(3):
            image, mask, weight = dataset[3]
            assert mask.eq(255).all() and mask.shape == (16, 16) and weight.eq(0).all() and image.shape == (3, 16, 16)
    assert len(caplog.messages) == 1 and message in caplog.messages[0]
    multilabel = replace(records[0], mask=MultilabelMask((None, Path("/nowhere.png"))))
    dataset = SegmentationDataset([multilabel], MULTILABEL, 16, cache_images=False, skip_unreadable=True)
    assert dataset[0][1].eq(255).all() and dataset[0][1].shape == (2, 16, 16)


# --- the disk


def disk_full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["reserving", "writing", "syncing"])
def test_a_full_disk_leaves_no_entry_and_training_goes_on(
    step: str, records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if step == "reserving":
        monkeypatch.setattr(os, "posix_fallocate", disk_full)
    elif step == "writing":
        monkeypatch.setattr(entry.CacheHeader, "write", disk_full)
    else:
        monkeypatch.setattr(os, "fsync", disk_full)
    dataset = SegmentationDataset(records, BINARY, 16)
    assert entry_names(cache) == [] and has_items_of(dataset, records)
    (message,) = dataset.messages
    assert "No space left" in message and str(cache) in message and "\n" not in message


def test_at_most_half_of_the_free_space_is_used(
    records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[Record]
) -> None:
    usage = shutil.disk_usage(cache.parent.parent)
    needed = 5 * 16 * 16 * 4
    for free, fits in ((needed * 2 - 1, False), (needed * 2, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        dataset = SegmentationDataset(records, BINARY, 16)
        assert bool(dataset.messages) != fits and bool(decoded) == fits and len(entry_names(cache)) == fits
        assert has_items_of(dataset, records)


def test_without_a_cache_folder_training_goes_on(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file with the name of the folder")
    dataset = SegmentationDataset(records, BINARY, 16)
    assert has_items_of(dataset, records) and len(dataset.messages) == 1
    with pytest.raises(CacheUnavailableError):
        get_or_build(records, BINARY, 16)


def test_a_read_only_cache_is_used(
    records: list[Record], decoded: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    SegmentationDataset(records, BINARY, 16)
    decoded.clear()

    def denied(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(store, "FileLock", denied)
    monkeypatch.setattr(os, "utime", denied)
    assert has_items_of(SegmentationDataset(records, BINARY, 16), records) and not decoded
    dataset = SegmentationDataset(records, BINARY, 17)
    assert "Permission denied" in dataset.messages[0] and has_items_of(dataset, records, image_size=17)


# --- other processes


@forks
def test_the_rest_of_a_killed_build_is_removed(
    records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (child := os.fork()) == 0:
        monkeypatch.setattr(entry.CacheHeader, "write", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        get_or_build(records, BINARY, 16)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (unfinished,) = entry_names(cache)
    assert unfinished.startswith(".pixelwise-")
    assert has_items_of(SegmentationDataset(records, BINARY, 16), records)
    (name,) = entry_names(cache)
    assert len(name) == 40, "the entry's key"


def test_the_rest_of_a_killed_build_of_other_images_is_removed(records: list[Record], cache: Path) -> None:
    unfinished, busy = cache / ".pixelwise-000000000000", cache / ".pixelwise-111111111111"
    unfinished.mkdir(parents=True)
    busy.mkdir()
    lock = os.open(busy, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    SegmentationDataset(records, BINARY, 16)
    os.close(lock)
    assert not unfinished.exists() and busy.exists(), "another process builds the second one"


def test_a_user_without_a_home_directory(records: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELWISE_CACHE", "~nosuchuser/cache")
    dataset = SegmentationDataset(records, BINARY, 16)
    assert "~nosuchuser/cache: there is no such home directory" in dataset.messages[0]
    assert has_items_of(dataset, records)


def test_a_cache_that_is_cut_while_it_is_used_is_an_error(records: list[Record]) -> None:
    # Without the check, the system kills the process with SIGBUS.
    dataset = SegmentationDataset(records, BINARY, 16)
    assert dataset.cache_entry is not None
    os.truncate(dataset.cache_entry.folder / "photos.bin", 100)
    with pytest.raises(DataError, match="the image cache was changed during its use; run the command again"):
        dataset[0]
    assert not dataset.cache_entry.is_intact()
    assert has_items_of(SegmentationDataset(records, BINARY, 16), records), "the entry is built again"


def test_trainings_at_one_time_build_an_entry_once(records: list[Record], decoded: list[Record], cache: Path) -> None:
    start = threading.Barrier(4)

    def open_dataset(_: int) -> SegmentationDataset:
        start.wait(10)
        return SegmentationDataset(records, BINARY, 16)

    with ThreadPoolExecutor(4) as pool:
        datasets = list(pool.map(open_dataset, range(4)))
    assert len(decoded) == 5 and len(entry_names(cache)) == 1
    assert all(has_items_of(dataset, records) for dataset in datasets)


@forks
def test_workers_open_the_same_entry(records: list[Record]) -> None:
    dataset = SegmentationDataset(records, BINARY, 16)
    assert len(pickle.dumps(dataset)) < 20_000, "it has no pixels"
    assert has_items_of(pickle.loads(pickle.dumps(dataset)), records)
    loader = DataLoader(dataset, 2, num_workers=1)
    assert torch.equal(torch.cat([images for images, _ in loader]), torch.stack([dataset[i][0] for i in range(5)]))


def test_writing_to_an_item_does_not_change_the_entry(records: list[Record]) -> None:
    SegmentationDataset(records, BINARY, 16)[0][0].zero_()
    assert has_items_of(SegmentationDataset(records, BINARY, 16), records)


# --- the folder


def test_the_cache_is_in_the_folder_of_the_variable_or_in_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pets: pw.DatasetIndex
) -> None:
    assert cache_folder() == tmp_path / "cache" / "prepared"
    monkeypatch.delenv("PIXELWISE_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user" / name)
    assert cache_folder() == tmp_path / "user" / "pixelwise" / "prepared"
    SegmentationDataset(pets.train[:2], pets.read_spec, 16)
    assert len(entry_names(cache_folder())) == 1
