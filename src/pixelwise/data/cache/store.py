"""The prepared cache: images and masks decoded and resized once, kept as uint8 in files that are memory-mapped.

An entry is a folder named by what is in it (`cache_key`), in the user's cache folder and never in the data's:

    photos.bin     (N, size, size, channels) uint8, item after item
    masks.bin      (N, size, size) uint8, multi-label (N, C, size, size)
    sums.bin       (N, 2) uint32: the CRC-32 of each image and mask
    header.json    the shape, the settings, what was left out, how many pixels each class has

It is written beside its place and renamed, so that what has the name is whole.
"""

import json
import os
import shutil
import uuid
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import platformdirs
from filelock import FileLock

from pixelwise.data.cache.eviction import evict_lru, remove_unfinished
from pixelwise.data.cache.keys import cache_key
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_image, resize_mask
from pixelwise.data.schema import MultilabelMask, ReadSpec, Record
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.runtime.files import lock_file
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.runtime.threads import batched, prefetch_map

VERSION = 1
"""Raised whenever the same files and settings would give other pixels, or the files another form."""


_CHUNK = 64
"""Items that are checked by one thread at a time."""


class CacheUnavailableError(Exception):
    """The cache cannot be used; the text says why, in a few words. The images themselves may be all right."""


def cache_folder() -> Path:
    """Where entries are: in the folder that PIXELWISE_CACHE names, else in the user's cache folder."""
    chosen = os.environ.get("PIXELWISE_CACHE")
    return (Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("pixelwise")) / "prepared"


def load_and_resize(record: Record, reading: ReadSpec, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A record's image (size, size, channels) and mask ([C,] size, size), uint8; DataError, which names the file."""
    image, mask = read_image_and_mask(record, reading, smallest=size)
    resized = resize_image(image, (size, size)).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(resized), np.ascontiguousarray(resize_mask(mask, (size, size)).numpy())


_KEYS = {"image_shape": "photo_shape"}
"""Field of CacheHeader → its key in header.json, if they differ."""


@dataclass(frozen=True)
class CacheHeader:
    """What an entry holds.

    `left_out` are the places, among the records, of those that could not be read. `class_pixels` has 256 entries, one
    a mask value; in a multi-label entry one a class, of the pixels that have it.
    """

    items: int
    image_shape: tuple[int, ...]
    mask_shape: tuple[int, ...]
    left_out: tuple[int, ...]
    class_pixels: tuple[int, ...]

    def write(self, path: Path) -> None:
        """As JSON, with a sum of its own."""
        fields = asdict(self)
        text = json.dumps({_KEYS.get(name, name): value for name, value in fields.items()})
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps({"version": VERSION, "crc32": zlib.crc32(text.encode()), "header": json.loads(text)}))
            _flush(file)

    @classmethod
    def read(cls, path: Path) -> "CacheHeader":
        """ValueError for one that is damaged, OSError for one that is not there."""
        whole = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(whole, dict) or whole.get("version") != VERSION:
            raise ValueError("not a header")
        fields = whole["header"]
        if zlib.crc32(json.dumps(fields).encode()) != whole["crc32"]:
            raise ValueError("damaged header")
        shapes = (tuple(fields[name]) for name in ("photo_shape", "mask_shape", "left_out", "class_pixels"))
        return cls(fields["items"], *shapes)


class CacheEntry:
    """An entry that is open for reading.

    Attributes:
        images: (N, size, size, channels) uint8.
        masks: (N, size, size) or, multi-label, (N, C, size, size) uint8.
        header: what it holds.

    It pickles as its folder's name; the memory maps are opened anew, and are no copy of the files' pages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = header = CacheHeader.read(folder / "header.json")
        held = lock_file(folder / "header.json")
        if held is None:
            raise OSError(f"{folder}: being removed")
        weakref.finalize(self, held.close)
        self.images = _map(folder / "photos.bin", (header.items, *header.image_shape))
        self.masks = _map(folder / "masks.bin", (header.items, *header.mask_shape))

    def __getstate__(self) -> Path:
        return self.folder

    def __setstate__(self, folder: Path) -> None:
        self.__init__(folder)  # type: ignore[misc]

    def is_sound(self) -> bool:
        """Whether every item is as it was written; this reads all of them, which warms the system's cache of pages."""
        sums = np.frombuffer((self.folder / "sums.bin").read_bytes(), np.uint32)
        if sums.size != self.header.items * 2:
            return False
        sums = sums.reshape(-1, 2)

        def chunk(indices: list[int]) -> bool:
            return all(
                zlib.crc32(self.images[i]) == sums[i, 0] and zlib.crc32(self.masks[i]) == sums[i, 1] for i in indices
            )

        return all(prefetch_map(chunk, batched(range(self.header.items), _CHUNK)))


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    if path.stat().st_size != int(np.prod(shape)):
        raise ValueError(f"{path}: not of its size")
    # Copy on write: torch warns of arrays that cannot be written to, and nothing is ever written to the file.
    return np.memmap(path, np.uint8, "c", shape=shape).view(np.ndarray)


def get_or_build(
    records: Sequence[Record], reading: ReadSpec, size: int, progress: Progress = no_progress, skip_bad: bool = False
) -> tuple[CacheEntry, list[DataError]]:
    """The records' entry, built where it is not there or is damaged, and the errors of those left out.

    Two processes that want the same entry wait for each other: one builds it, both use it.

    Raises DataError for the first image or mask that cannot be used, unless `skip_bad`, or where none can;
    CacheUnavailableError where the cache cannot be written, or has too little space. Nothing half-made stays.
    """
    key = cache_key(records, reading, size, VERSION, progress)
    folder = cache_folder() / key
    prepared = _open(folder)
    if prepared is None:
        prepared = _build_locked(folder, records, reading, size, progress, skip_bad)
    errors = [_error_of(records[index], reading, size) for index in prepared.header.left_out]
    if errors and not skip_bad:
        raise errors[0]
    return prepared, errors


def _open(folder: Path) -> CacheEntry | None:
    """The entry, if it is there and sound."""
    try:
        prepared = CacheEntry(folder)
        if not prepared.is_sound():
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with suppress(OSError):
        os.utime(folder / "header.json")  # when it was last used
    return prepared


def _error_of(record: Record, reading: ReadSpec, size: int) -> DataError:
    """Why a record was left out: its files are what they were then."""
    try:
        load_and_resize(record, reading, size)
    except DataError as error:
        return error
    return DataError(f"{record.image}: could not be read when the cache was built")


def _build_locked(
    folder: Path, records: Sequence[Record], reading: ReadSpec, size: int, progress: Progress, skip_bad: bool
) -> CacheEntry:
    """Build the entry, unless another process does so first."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            prepared = _open(folder)
            if prepared is None:
                remove_unfinished(folder)
                _build(folder, records, reading, size, progress, skip_bad)
                prepared = CacheEntry(folder)
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        raise CacheUnavailableError(f"{folder.parent}: {getattr(error, 'strerror', None) or error}") from None
    evict_lru(folder.parent)
    return prepared


def _build(
    folder: Path, records: Sequence[Record], reading: ReadSpec, size: int, progress: Progress, skip_bad: bool
) -> None:
    image_shape = (size, size, reading.channels)
    mask_shape = (*_layers(records, reading), size, size)
    image_bytes, mask_bytes = (len(records) * int(np.prod(shape)) for shape in (image_shape, mask_shape))
    free = shutil.disk_usage(folder.parent).free
    if image_bytes + mask_bytes > free / 2:
        raise CacheUnavailableError(
            f"{folder.parent}: {_gib(image_bytes + mask_bytes)} are more than half of the {_gib(free)} that are free"
        )
    building = folder.with_name(f"{folder.name}.building-{uuid.uuid4().hex[:12]}")
    try:
        building.mkdir()
        sums = np.zeros((len(records), 2), np.uint32)
        counts = np.zeros(256 if len(mask_shape) == 2 else mask_shape[0], np.int64)
        left_out: list[int] = []
        first: DataError | None = None
        with _writing(building / "photos.bin", image_bytes) as images, _writing(
            building / "masks.bin", mask_bytes
        ) as masks:  # fmt: skip
            # Several at a time: threads that pass an image each wait for one another a tenth of the time.
            attempts = prefetch_map(partial(_attempts, reading=reading, size=size), batched(records, 8), prefetch=6)
            for index, pair in enumerate(progress(chain.from_iterable(attempts), len(records))):
                if isinstance(pair, DataError):
                    if not skip_bad:
                        raise pair
                    left_out.append(index)
                    first = first or pair
                    continue
                image, mask, sums[index - len(left_out)], pixels = pair
                counts += pixels
                images.write(image)
                masks.write(mask)
        items = len(records) - len(left_out)
        if first is not None and not items:
            raise DataError(f"none of the {len(records)} images can be used; the first: {first}")
        _write(building / "sums.bin", sums[:items].tobytes())
        CacheHeader(items, image_shape, mask_shape, tuple(left_out), tuple(counts.tolist())).write(
            building / "header.json"
        )
        _put_in_place(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


_Attempt = tuple[np.ndarray, np.ndarray, tuple[int, int], np.ndarray] | DataError


def _attempts(records: Sequence[Record], reading: ReadSpec, size: int) -> list[_Attempt]:
    """`_attempt` of several."""
    return [_attempt(record, reading, size) for record in records]


def _attempt(record: Record, reading: ReadSpec, size: int) -> _Attempt:
    """A record's image and mask, their sums, and the mask's pixels by value (or class); or why it cannot be read."""
    try:
        image, mask = load_and_resize(record, reading, size)
    except DataError as error:
        return error
    pixels = reading.task.class_pixels(mask)
    return image, mask, (zlib.crc32(image.data), zlib.crc32(mask.data)), pixels


def _layers(records: Sequence[Record], reading: ReadSpec) -> tuple[int, ...]:
    """(C,) where masks are multi-label."""
    if reading.task is not MULTILABEL:
        return ()
    counts = {len(record.mask.channels) for record in records if isinstance(record.mask, MultilabelMask)}
    if len(counts) != 1:
        raise DataError(
            f"{records[0].image}: all images need masks of the same classes; found {sorted(counts)} of them"
        )
    return (counts.pop(),)


@contextmanager
def _writing(path: Path, size: int) -> Iterator[BinaryIO]:
    """A new file that is written in order, `size` bytes at most; OSError at once where the disk cannot hold them.

    Ordinary writes and no memory map: on a full disk the latter kills the process.
    """
    with path.open("xb", buffering=1 << 20) as file:
        if size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        yield file
        file.truncate()
        _flush(file)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        _flush(file)


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(building: Path, folder: Path) -> None:
    if folder.exists():  # damaged, else it would be used
        folder.rename(building.with_name(building.name + "-before"))
    building.rename(folder)
    shutil.rmtree(building.with_name(building.name + "-before"), ignore_errors=True)
    if os.name == "posix":
        parent = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
