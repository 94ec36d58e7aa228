"""One entry of the image cache: uint8 images and masks in memory-mapped files.

An entry is a folder in the user's cache folder. Its name is its key (`cache_key`):

    photos.bin     (N, height, width, channels) uint8, one item after the other
    masks.bin      (N, height, width) uint8, or (N, C, height, width) for multi-label masks
    sums.bin       (N, 2) uint32, the CRC-32 of each image and mask
    header.json    shapes, skipped records, and pixel counts of each class

The items of an entry whose images were resized by a scale differ in size. Its header has the size of each item, and it
has one more file:

    cells.npz      the places of each class, see `ClassCells`

An entry is written under a temporary name and then renamed. So every folder whose name is a key is complete.
"""

import io
import json
import os
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pixelwise.data.class_cells import ClassCells
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

CELLS_FILE = "cells.npz"
"""Name of the file with the places of each class."""

_KEYS = {"image_shape": "photo_shape", "skipped": "left_out"}
"""Field of CacheHeader → its key in header.json, if they differ. The keys are those of version 0.1."""


@dataclass(frozen=True)
class CacheHeader:
    """The content of header.json.

    Attributes:
        items: number of items N.
        image_shape: (height, width, channels). If items differ in size, (channels,).
        mask_shape: (height, width), or (C, height, width) for multi-label masks. If items differ in size, () or (C,).
        skipped: indices of the records that could not be read and have no item.
        class_pixels: pixel counts of 256 mask values. For multi-label masks, pixel counts of C classes.
        sizes: (height, width) of each item in pixels if items differ in size. Empty if all have the same size.
        cells_sum: CRC-32 of cells.npz. 0 if there is no such file.
    """

    items: int
    image_shape: tuple[int, ...]
    mask_shape: tuple[int, ...]
    skipped: tuple[int, ...]
    class_pixels: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...] = ()
    cells_sum: int = 0

    def write(self, path: Path) -> None:
        """Write the header as JSON with a checksum."""
        fields = {_KEYS.get(name, name): value for name, value in asdict(self).items()}
        if not self.sizes:  # as in earlier versions
            del fields["sizes"], fields["cells_sum"]
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
        sizes = tuple((height, width) for height, width in fields.get("sizes", ()))
        return cls(
            fields["items"],
            tuple(fields[_KEYS["image_shape"]]),
            tuple(fields["mask_shape"]),
            tuple(fields[_KEYS["skipped"]]),
            tuple(fields["class_pixels"]),
            sizes,
            fields.get("cells_sum", 0),
        )


class CacheEntry:
    """An entry that is open for reading. It cannot be evicted until this object is deleted.

    A pickle of the object stores only the folder's path. Unpickling maps the files again, so that all processes share
    the same pages of memory.

    Args:
        folder: the entry's folder.

    Attributes:
        images: (N, height, width, channels) uint8. If items differ in size: N arrays of (H, W, channels) uint8.
        masks: (N, height, width) uint8, or (N, C, height, width) uint8 for multi-label masks. If items differ in size:
            N arrays of (H, W) or (C, H, W) uint8.
        header: shapes and counts.
        cells: the places of each class if items differ in size, else None.

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
        self.images, self.masks = self._map_items(header)
        self.cells = self._read_cells() if header.sizes else None

    def _map_items(self, header: CacheHeader) -> tuple[Sequence[np.ndarray] | np.ndarray, ...]:
        """Map the images and the masks."""
        if not header.sizes:
            return (
                self._map_file("photos.bin", (header.items, *header.image_shape)),
                self._map_file("masks.bin", (header.items, *header.mask_shape)),
            )
        images = [(height, width, *header.image_shape) for height, width in header.sizes]
        masks = [(*header.mask_shape, height, width) for height, width in header.sizes]
        return self._map_parts("photos.bin", images), self._map_parts("masks.bin", masks)

    def _map_parts(self, name: str, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
        """Open a file of the entry and return its content as one view of a memory map per shape."""
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        content = self._map_file(name, (int(ends[-1]),))
        return [part.reshape(shape) for part, shape in zip(np.split(content, ends[:-1]), shapes, strict=True)]

    def _read_cells(self) -> ClassCells:
        content = (self.folder / CELLS_FILE).read_bytes()
        if zlib.crc32(content) != self.header.cells_sum:
            raise ValueError(f"{self.folder / CELLS_FILE}: damaged")
        with np.load(io.BytesIO(content)) as arrays:
            return ClassCells(arrays["cells"], arrays["starts"])

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
                zlib.crc32(self.images[index].data) == sums[index, 0]
                and zlib.crc32(self.masks[index].data) == sums[index, 1]
                for index in indices
            )

        return all(prefetch_map(check, batched(range(self.header.items), _CHECKED_PER_TASK)))


def flush(file: Any) -> None:
    """Write an open file to the disk."""
    file.flush()
    os.fsync(file.fileno())
