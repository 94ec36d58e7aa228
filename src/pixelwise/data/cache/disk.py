"""Files of new entries of the image cache, with checks of the free disk space."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pixelwise.data.cache.entry import flush
from pixelwise.errors import CacheUnavailableError


def check_free_space(folder: Path, needed: int) -> None:
    """Check that a disk has at least twice the space that is needed.

    Args:
        folder: a folder on the disk.
        needed: the space in bytes.

    Raises:
        CacheUnavailableError: `needed` is more than half of the free space.
    """
    free = shutil.disk_usage(folder).free
    if needed > free / 2:
        raise CacheUnavailableError(
            f"{folder}: the cache needs {_format_gib(needed)}, more than half of the {_format_gib(free)} that are free"
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
