"""Files of new entries of the image cache, with checks of the free disk space."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pixelwise.data.cache.entry import flush
from pixelwise.data.io.image_size import header_size
from pixelwise.data.resize import Scale, target_size
from pixelwise.data.schema import Record
from pixelwise.errors import CacheUnavailableError
from pixelwise.runtime.threads import prefetch_map


def stated_bytes(records: Sequence[Record], scale: Scale, channels: int) -> int:
    """Return the size of an entry at a scale in bytes, from the headers of the image files.

    Args:
        records: the records of the entry.
        scale: the scale of the images.
        channels: number of bytes of a pixel and its mask.

    Returns:
        The sum over the images whose size `header_size` returns. Other images are not counted.
    """
    stated = prefetch_map(header_size, [record.image for record in records])
    sizes = (target_size(scale, *size) for size in stated if size is not None)
    return sum(height * width for height, width in sizes) * channels


def free_space(folder: Path) -> int:
    """Return the free space of the disk of a folder in bytes."""
    return shutil.disk_usage(folder).free


def check_free_space(folder: Path, needed: int, free: int) -> None:
    """Check that an entry leaves at least half of the free space of its disk.

    Args:
        folder: the folder of the entries.
        needed: the size of the entry in bytes.
        free: the free space in bytes before the entry is written.

    Raises:
        CacheUnavailableError: `needed` is more than half of `free`.
    """
    if needed > free / 2:
        raise CacheUnavailableError(
            f"{folder}: the cache needs about {_format_gib(needed)}, "
            f"more than half of the {_format_gib(free)} that are free"
        )


@contextmanager
def open_new(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a new file for writing, and reserve its disk space if the operating system can do so.

    When the file is closed, it is cut after its last byte and flushed to the disk. The file is not written through a
    memory map, because a full disk would then kill the process.

    Args:
        path: the file.
        max_bytes: the space to reserve in bytes, or 0 for none.

    Raises:
        OSError: The file exists, or the disk has less space.
    """
    with path.open("xb", buffering=1 << 20) as file:
        if max_bytes and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max_bytes)
        yield file
        file.truncate()
        flush(file)


def _format_gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
