"""The prepared cache: the same pixels as reading anew, whatever happens to the files, the disk or other processes."""

import errno
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from torch.utils.data import DataLoader

import pixelwise as pw
from pixelwise.data.augmentations import build_transform
from pixelwise.data.cache import eviction as cache_room
from pixelwise.data.cache import store as prepared
from pixelwise.data.cache.eviction import evict_lru
from pixelwise.data.cache.store import CacheEntry, CacheUnavailableError, cache_folder, get_or_build, load_and_resize
from pixelwise.data.schema import Annotation, LabelMap, MultilabelMask, PolygonMask, ReadSpec, Record
from pixelwise.data.torch_dataset import SegmentationDataset
from pixelwise.errors import DataError

BINARY = ReadSpec(LabelMap("index", {0: 0, 1: 1, 255: 255}))
LAYERED = ReadSpec(LabelMap("multilabel", {0: 0, 255: 1}))

forking = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
"""Python 3.12 warns of every fork in a process that has threads, which torch always has."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("PIXELWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "prepared"


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Five images of 48x36 of noise, with masks of 0, 1 and 255."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    folder.mkdir()
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (36, 48, 3), np.uint8)).save(folder / f"{number}.png")
        mask = rng.choice(np.array([0, 1, 255], np.uint8), (36, 48))
        Image.fromarray(mask).save(folder / f"{number}_mask.png")
    return [Record(folder / f"{number}.png", folder / f"{number}_mask.png") for number in range(5)]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records whose files were decoded, in any order."""
    seen: list[Record] = []

    def counted(record: Record, reading: ReadSpec, size: int) -> tuple[np.ndarray, np.ndarray]:
        seen.append(record)
        return load_and_resize(record, reading, size)

    monkeypatch.setattr(prepared, "load_and_resize", counted)
    return seen


def entries(cache: Path) -> list[str]:
    """Everything in the cache but the locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") if cache.exists() else []


def same_items(dataset: SegmentationDataset, records: list[Record], reading: ReadSpec = BINARY, size: int = 16) -> bool:
    """Whether items are exactly what the files hold."""
    wanted = [load_and_resize(record, reading, size) for record in records]
    return len(dataset) == len(wanted) and all(
        np.array_equal(item.permute(1, 2, 0), image) and np.array_equal(mask, truth)
        for (item, mask), (image, truth) in zip((dataset[i] for i in range(len(dataset))), wanted, strict=True)
    )


# --- what it holds


def test_images_are_decoded_once(records: list[Record], reads: list[Record], cache: Path) -> None:
    first = SegmentationDataset(records, BINARY, 16)
    assert sorted(map(id, reads)) == sorted(map(id, records))
    again = SegmentationDataset(records, BINARY, 16)
    assert len(reads) == 5 and len(entries(cache)) == 1
    assert same_items(first, records) and same_items(again, records)
    assert first.messages == again.messages == () and not first.skipped
    image, mask = again[2]
    assert image.is_contiguous(memory_format=torch.channels_last) or image.stride() == (1, 48, 3)
    assert mask.dtype == image.dtype == torch.uint8


def test_nothing_is_written_to_the_data_folder(records: list[Record]) -> None:
    folder = Path(str(records[0].image)).parent
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.parent.glob("data/**/*")}
    SegmentationDataset(records, BINARY, 16)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.glob("**/*")} == before


def test_streamed_items_are_the_same(records: list[Record], cache: Path) -> None:
    kept, streamed = SegmentationDataset(records, BINARY, 16), SegmentationDataset(records, BINARY, 20, cache_images=False)
    assert same_items(streamed, records, size=20) and len(entries(cache)) == 1
    streamed = SegmentationDataset(records, BINARY, 16, build_transform("crop", 8), cache_images=False)
    kept.transform = streamed.transform
    for seed in range(5):
        assert all(torch.equal(a, b) for a, b in zip(kept[seed, seed], streamed[seed, seed], strict=True))
    assert streamed.class_pixels(2).tolist() == kept.class_pixels(2).tolist()


@pytest.mark.parametrize("streamed", [False, True])
def test_class_pixels_are_those_of_the_masks(records: list[Record], streamed: bool) -> None:
    dataset = SegmentationDataset(records, BINARY, 16, cache_images=not streamed)
    masks = np.stack([load_and_resize(record, BINARY, 16)[1] for record in records])
    assert dataset.class_pixels(3).tolist() == [(masks == 0).sum(), (masks == 1).sum(), 0]


@pytest.mark.parametrize("streamed", [False, True])
def test_multilabel_masks_keep_their_layers(tmp_path: Path, records: list[Record], streamed: bool) -> None:
    layer = np.zeros((36, 48), np.uint8)
    layer[:18] = 255
    Image.fromarray(layer).save(tmp_path / "data" / "layer.png")
    layered = [
        replace(record, mask=MultilabelMask((None, tmp_path / "data" / "layer.png", None))) for record in records
    ]
    dataset = SegmentationDataset(layered, LAYERED, 16, cache_images=not streamed)
    image, mask = dataset[3]
    assert tuple(image.shape) == (3, 16, 16) and tuple(mask.shape) == (3, 16, 16)
    assert mask[1, :8].eq(1).all() and mask.sum() == 8 * 16
    assert dataset.class_pixels(3).tolist() == [0, 5 * 8 * 16, 0]


# --- the key


def test_content_and_settings_make_another_entry(records: list[Record], reads: list[Record], cache: Path) -> None:
    """Anything that changes pixels: an image, a mask, their order, the size, how masks are read."""

    def fresh(records: list[Record], reading: ReadSpec = BINARY, size: int = 16) -> bool:
        reads.clear()
        assert same_items(SegmentationDataset(records, reading, size), records, reading, size)
        return bool(reads)

    assert fresh(records) and not fresh(records)
    assert fresh(records, size=17)
    assert fresh(records, ReadSpec(LabelMap("index", {0: 1, 1: 0, 255: 255})))
    assert fresh(records, replace(BINARY, bit_depth=12))
    assert fresh(records[::-1]) and fresh(records[:4])
    assert not fresh(records)
    mask = Path(str(records[2].mask))
    values = np.asarray(Image.open(mask)).copy()
    values[0, 0] = 1 - values[0, 0] if values[0, 0] < 2 else 0
    before = mask.stat()
    Image.fromarray(values).save(mask)
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fresh(records), "though the file's time says that nothing changed"
    assert len(entries(cache)) == 7


def test_where_files_lie_does_not_count(records: list[Record], reads: list[Record], tmp_path: Path) -> None:
    SegmentationDataset(records, BINARY, 16)
    reads.clear()
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    moved = [Record(tmp_path / "moved" / r.image.name, tmp_path / "moved" / Path(str(r.mask)).name) for r in records]
    assert same_items(SegmentationDataset(moved, BINARY, 16), records) and not reads


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_drawn_masks_count_by_what_is_drawn(records: list[Record], reads: list[Record]) -> None:
    reading = ReadSpec(LabelMap("polygons"))

    def outlined(side: float, label: int = 1, background: int = 0, relative: bool = False) -> list[Record]:
        square = np.array([[0, 0], [side, 0], [side, side], [0, side]])
        shapes = PolygonMask((Annotation(label, (square,), relative=relative),), "by hand", background)
        return [replace(record, mask=shapes) for record in records]

    for made in (
        outlined(20),
        outlined(21),
        outlined(20, label=2),
        outlined(20, background=3),
        outlined(0.5, 1, 0, True),
    ):
        reads.clear()
        assert same_items(SegmentationDataset(made, reading, 16), made, reading) and reads
    reads.clear()
    assert SegmentationDataset(outlined(20), reading, 16) and not reads


# --- damage


@pytest.mark.parametrize("file", ["photos.bin", "masks.bin", "sums.bin", "header.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "missing"])
def test_a_damaged_entry_is_built_anew(
    file: str, damage: str, records: list[Record], reads: list[Record], cache: Path
) -> None:
    SegmentationDataset(records, BINARY, 16)
    (entry,) = entries(cache)
    path = cache / entry / file
    whole = path.read_bytes()
    flipped = bytes([whole[len(whole) // 2] ^ 1])
    damaged = {
        "flip": whole[: len(whole) // 2] + flipped + whole[len(whole) // 2 + 1 :],
        "cut": whole[:-1],
        "longer": whole + b"0",
        "empty": b"",
    }
    path.unlink()
    if damage != "missing":
        path.write_bytes(damaged[damage])
    reads.clear()
    assert same_items(SegmentationDataset(records, BINARY, 16), records)
    assert len(reads) == 5 and entries(cache) == [entry] and path.read_bytes() == whole


def test_an_entry_of_another_version_is_not_used(
    records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Record]
) -> None:
    SegmentationDataset(records, BINARY, 16)
    monkeypatch.setattr(prepared, "VERSION", prepared.VERSION + 1)
    reads.clear()
    SegmentationDataset(records, BINARY, 16)
    assert len(reads) == 5 and len(entries(cache)) == 2


# --- bad files


def spoil(record: Record, how: str) -> str:
    """Make a record unusable; returns a part of what is said then."""
    image = Path(str(record.image))
    if how == "image":
        image.write_bytes(image.read_bytes()[:-400])
    elif how == "missing":
        image.unlink()
    elif how == "pipe":
        image.unlink()
        os.mkfifo(image)
    elif how == "value":
        Image.fromarray(np.full((36, 48), 7, np.uint8)).save(str(record.mask))
        return f"{record.mask}: mask value 7"
    elif how == "size":
        Image.fromarray(np.zeros((35, 48), np.uint8)).save(str(record.mask))
    return str(image)


BAD = ["image", "missing", "pipe", "value", "size"]


@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_told_and_nothing_stays(how: str, records: list[Record], cache: Path) -> None:
    said = spoil(records[3], how)
    with pytest.raises(DataError) as error:
        SegmentationDataset(records, BINARY, 16)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert entries(cache) == []


@pytest.mark.parametrize("how", BAD)
def test_a_bad_file_is_left_out_where_asked(how: str, records: list[Record], reads: list[Record]) -> None:
    said = spoil(records[3], how)
    for _ in range(2):  # built, then opened
        dataset = SegmentationDataset(records, BINARY, 16, skip_unreadable=True)
        assert same_items(dataset, records[:3] + records[4:])
        assert len(dataset.skipped) == 1 and said in str(dataset.skipped[0])
    assert len(reads) == 5 + 1 + 1, "each once, and the bad one again for what is wrong with it"
    with pytest.raises(DataError) as error:
        SegmentationDataset(records, BINARY, 16)
    assert said in str(error.value), "an entry without it does not hide it from those who want all"


def test_nothing_that_can_be_used_is_an_error(records: list[Record], cache: Path) -> None:
    for record in records:
        spoil(record, "image")
    with pytest.raises(DataError, match=f"none of the 5 images can be used; the first: {records[0].image}"):
        SegmentationDataset(records, BINARY, 16, skip_unreadable=True)
    assert entries(cache) == []


@forking
@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_file_met_while_streaming_is_one_line(
    workers: int, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So long torch waits for the workers of a walk that was broken off.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    said = spoil(records[3], "image")
    walk = iter(DataLoader(SegmentationDataset(records, BINARY, 16, cache_images=False), 2, num_workers=workers))
    with pytest.raises(DataError) as error:
        list(walk)
    if workers:
        walk._shutdown_workers()  # type: ignore[attr-defined]
    text = str(error.value)
    assert text.startswith(said) and "\n" not in text and "Traceback" not in text


def test_a_bad_file_met_while_streaming_never_reaches_the_loss(
    records: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    said = spoil(records[3], "value")
    dataset = SegmentationDataset(records, BINARY, 16, class_weights=torch.ones(2), cache_images=False, skip_unreadable=True)
    for _ in range(3):
        image, mask, weight = dataset[3]
        assert mask.eq(255).all() and mask.shape == (16, 16) and weight.eq(0).all() and image.shape == (3, 16, 16)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]
    layered = replace(records[0], mask=MultilabelMask((None, Path("/nowhere.png"))))
    assert SegmentationDataset([layered], LAYERED, 16, cache_images=False, skip_unreadable=True)[0][1].eq(255).all()


# --- the disk


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("when", ["reserving", "writing", "finishing"])
def test_a_full_disk_leaves_nothing_and_streams(
    when: str, records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if when == "reserving":
        monkeypatch.setattr(os, "posix_fallocate", full_disk)
    elif when == "writing":
        monkeypatch.setattr(prepared, "_write", full_disk)
    else:
        monkeypatch.setattr(os, "fsync", full_disk)
    dataset = SegmentationDataset(records, BINARY, 16)
    assert entries(cache) == [] and same_items(dataset, records)
    (note,) = dataset.messages
    assert "No space left" in note and str(cache) in note and "\n" not in note


def test_a_disk_with_too_little_room_is_not_filled(
    records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Record]
) -> None:
    usage = shutil.disk_usage(cache.parent.parent)
    needed = 5 * 16 * 16 * 4
    for free, fits in ((needed * 2 - 1, False), (needed * 2, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        dataset = SegmentationDataset(records, BINARY, 16)
        assert bool(dataset.messages) != fits and bool(reads) == fits and len(entries(cache)) == fits
        assert same_items(dataset, records)


def test_a_cache_that_cannot_be_made_is_done_without(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, where the folder would be")
    dataset = SegmentationDataset(records, BINARY, 16)
    assert same_items(dataset, records) and len(dataset.messages) == 1
    with pytest.raises(CacheUnavailableError):
        get_or_build(records, BINARY, 16)


def test_a_cache_that_can_only_be_read_is_used(
    records: list[Record], reads: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    SegmentationDataset(records, BINARY, 16)
    reads.clear()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(prepared, "FileLock", refused)
    monkeypatch.setattr(os, "utime", refused)
    assert same_items(SegmentationDataset(records, BINARY, 16), records) and not reads
    dataset = SegmentationDataset(records, BINARY, 17)
    assert "Permission denied" in dataset.messages[0] and same_items(dataset, records, size=17)


# --- other processes


@forking
def test_a_killed_build_is_cleared_away(records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if (child := os.fork()) == 0:
        monkeypatch.setattr(prepared, "_write", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        get_or_build(records, BINARY, 16)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (left,) = entries(cache)
    assert ".building-" in left
    assert same_items(SegmentationDataset(records, BINARY, 16), records)
    (entry,) = entries(cache)
    assert left.startswith(entry) and left != entry


def test_what_a_killed_build_of_other_images_left_is_cleared_away(records: list[Record], cache: Path) -> None:
    left, busy = cache / "abc.building-1", cache / "def.building-2"
    left.mkdir(parents=True)
    busy.mkdir()
    with FileLock(cache / "def.lock"):
        SegmentationDataset(records, BINARY, 16)
    assert not left.exists() and busy.exists(), "but not what is being built now"


def test_two_trainings_at_once_build_it_once(records: list[Record], reads: list[Record], cache: Path) -> None:
    start = threading.Barrier(4)

    def train(_: int) -> SegmentationDataset:
        start.wait(10)
        return SegmentationDataset(records, BINARY, 16)

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(train, range(4)))
    assert len(reads) == 5 and len(entries(cache)) == 1
    assert all(same_items(dataset, records) for dataset in made)


@forking
def test_workers_open_the_same_entry(records: list[Record]) -> None:
    dataset = SegmentationDataset(records, BINARY, 16)
    assert len(pickle.dumps(dataset)) < 20_000, "no images in it"
    assert same_items(pickle.loads(pickle.dumps(dataset)), records)
    loader = DataLoader(dataset, 2, num_workers=1)
    assert torch.equal(torch.cat([images for images, _ in loader]), torch.stack([dataset[i][0] for i in range(5)]))


def test_items_that_are_written_to_do_not_change_the_entry(records: list[Record]) -> None:
    SegmentationDataset(records, BINARY, 16)[0][0].zero_()
    assert same_items(SegmentationDataset(records, BINARY, 16), records)


# --- old entries


@pytest.fixture
def three(records: list[Record], cache: Path) -> Callable[[], list[str]]:
    """Three entries of 5,120 bytes and their heads, used in this order; gives those that are there, oldest first."""
    names = []
    for number, reading in enumerate((BINARY, replace(BINARY, bit_depth=12), replace(BINARY, bit_depth=10))):
        folder = SegmentationDataset(records, reading, 16).cache_entry.folder  # type: ignore[union-attr]
        os.utime(folder / "header.json", (1000 + number, 1000 + number))
        names.append(folder.name)
    return lambda: [name for name in names if (cache / name).exists()]


def test_old_entries_make_room(three: Callable[[], list[str]], cache: Path) -> None:
    first, second, third = three()
    size = sum(file.stat().st_size for file in (cache / first).iterdir())
    evict_lru(cache, 4 * size)
    assert three() == [first, second, third]
    evict_lru(cache, 2 * size + size // 2)
    assert three() == [second, third], "what was used longest ago goes first"


def test_an_entry_used_again_stays(three: Callable[[], list[str]], records: list[Record], cache: Path) -> None:
    first, _, third = three()
    SegmentationDataset(records, BINARY, 16)  # the first one
    evict_lru(cache, 12_500)
    assert three() == [first, third]


def test_entries_in_use_stay(three: Callable[[], list[str]], cache: Path) -> None:
    first, second, _ = three()
    reader = CacheEntry(cache / first)
    with FileLock(cache / f"{second}.lock"):
        evict_lru(cache, 0)
    assert three() == [first, second]
    del reader
    evict_lru(cache, 0)
    assert three() == []


def test_a_build_makes_room(
    three: Callable[[], list[str]], records: list[Record], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_room, "MAX_BYTES", 14_000)
    new = SegmentationDataset(records[:4], BINARY, 16)
    assert three() == three()[-1:] and same_items(new, records[:4])


# --- and where the cache lies


def test_the_cache_is_where_the_variable_says_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pets: pw.DatasetIndex
) -> None:
    assert cache_folder() == tmp_path / "cache" / "prepared"
    monkeypatch.delenv("PIXELWISE_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "user" / name)
    assert cache_folder() == tmp_path / "user" / "pixelwise" / "prepared"
    SegmentationDataset(pets.train[:2], pets.read_spec, 16)
    assert len(entries(cache_folder())) == 1
