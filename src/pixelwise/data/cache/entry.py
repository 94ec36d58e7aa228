"""One entry of the image cache: uint8 images and masks in memory-mapped files.

An entry is a folder in the user's cache folder. Its name is its key (`cache_key`):

    photos.bin     (N, size, size, channels) uint8, one item after the other
    masks.bin      (N, size, size) uint8, or (N, C, size, size) for multi-label masks
    sums.bin       (N, 2) uint32, the CRC-32 of each image and mask
    header.json    shapes, skipped records, and pixel counts of each class

An entry is written under a temporary name and then renamed. So every folder whose name is a key is complete.
"""

import json
import os
import weakref
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pixelwise.errors import DataError
from pixelwise.runtime.files import lock_file
from pixelwise.runtime.parsing import read_json
from pixelwise.runtime.threads import batched, prefetch_map

VERSION = 1
"""Version of the entry's files and of the image decoding. It is part of the key.

Increase it after a change by which the same image files are decoded to other pixel values.
"""


CHANGED = "the image cache was changed during its use; run the command again, with `resume` for a training"
"""Error message for a changed entry. The caller adds the folder's name. The next command builds the entry again."""

_CHECKED_PER_TASK = 64
"""Number of items per task of a thread in `CacheEntry.is_intact`."""


_KEYS = {"image_shape": "photo_shape", "skipped": "left_out"}
"""Field of CacheHeader → its key in header.json, if they differ. The keys are those of version 0.1."""


@dataclass(frozen=True)
class CacheHeader:
    """The content of header.json.

    Attributes:
        items: number of items N.
        image_shape: (size, size, channels).
        mask_shape: (size, size), or (C, size, size) for multi-label masks.
        skipped: indices of the records that could not be read and have no item.
        class_pixels: pixel counts of 256 mask values. For multi-label masks, pixel counts of C classes.
    """

    items: int
    image_shape: tuple[int, ...]
    mask_shape: tuple[int, ...]
    skipped: tuple[int, ...]
    class_pixels: tuple[int, ...]

    def write(self, path: Path) -> None:
        """Write the header as JSON with a checksum."""
        fields = {_KEYS.get(name, name): value for name, value in asdict(self).items()}
        text = json.dumps(fields)
        with path.open("x", encoding="utf-8") as file:
            json.dump({"version": VERSION, "crc32": zlib.crc32(text.encode()), "header": json.loads(text)}, file)
            flush(file)

    @classmethod
    def read(cls, path: Path) -> "CacheHeader":
        """Read a header. Raise ValueError if the file is damaged, and OSError if it is missing."""
        content = read_json(path)
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise ValueError(f"{path}: not a header of version {VERSION}")
        fields = content["header"]
        if zlib.crc32(json.dumps(fields).encode()) != content["crc32"]:
            raise ValueError(f"{path}: damaged")
        names = ("image_shape", "mask_shape", "skipped", "class_pixels")
        return cls(fields["items"], *(tuple(fields[_KEYS.get(name, name)]) for name in names))


class CacheEntry:
    """An entry that is open for reading. It cannot be evicted until this object is deleted.

    A pickle of the object stores only the folder's path. Unpickling maps the files again, so that all processes share
    the same pages of memory.

    Args:
        folder: the entry's folder.

    Attributes:
        images: (N, size, size, channels) uint8.
        masks: (N, size, size) uint8, or (N, C, size, size) uint8 for multi-label masks.
        header: shapes and counts.

    Raises:
        OSError: The entry is missing, or is being removed.
        ValueError: A file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = header = CacheHeader.read(folder / "header.json")
        lock = lock_file(folder / "header.json")
        if lock is None:
            raise OSError(f"{folder}: being removed")
        weakref.finalize(self, lock.close)
        self._files: dict[BinaryIO, int] = {}  # open file → its size in bytes
        self.images = self._map_file("photos.bin", (header.items, *header.image_shape))
        self.masks = self._map_file("masks.bin", (header.items, *header.mask_shape))

    def _map_file(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Open a file of the entry and return its content as a memory map."""
        file = (self.folder / name).open("rb")
        weakref.finalize(self, file.close)
        self._files[file] = size = int(np.prod(shape))
        actual_size = os.fstat(file.fileno()).st_size
        if actual_size != size:
            raise ValueError(f"{self.folder / name}: has {actual_size} bytes instead of {size}")
        # Map with copy on write, because torch warns about arrays that are not writable. The file never changes.
        return np.memmap(file, np.uint8, "c", shape=shape).view(np.ndarray)

    def __getstate__(self) -> Path:
        return self.folder

    def __setstate__(self, folder: Path) -> None:
        self.__init__(folder)  # type: ignore[misc]

    def check_size(self) -> None:
        """Raise DataError if a file was truncated.

        Without this check, the operating system would kill a process that reads a memory map beyond the file's end.
        """
        if any(os.fstat(file.fileno()).st_size < size for file, size in self._files.items()):
            raise DataError(f"{self.folder}: {CHANGED}")

    def is_intact(self) -> bool:
        """Return True if the files are complete and every item has its checksum.

        The check reads all items, which also fills the operating system's page cache.
        """
        try:
            self.check_size()
        except DataError:
            return False
        sums = np.frombuffer((self.folder / "sums.bin").read_bytes(), np.uint32)
        if sums.size != self.header.items * 2:
            return False
        sums = sums.reshape(-1, 2)

        def check(indices: list[int]) -> bool:
            return all(
                zlib.crc32(self.images[index]) == sums[index, 0] and zlib.crc32(self.masks[index]) == sums[index, 1]
                for index in indices
            )

        return all(prefetch_map(check, batched(range(self.header.items), _CHECKED_PER_TASK)))


def flush(file: Any) -> None:
    """Write an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())
