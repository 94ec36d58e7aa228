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
    """Raise CacheUnavailableError if `needed` bytes are more than half of the free space of the folder's disk."""
    free = shutil.disk_usage(folder).free
    if needed > free / 2:
        raise CacheUnavailableError(
            f"{folder}: the cache needs {_format_gib(needed)}, more than half of the {_format_gib(free)} that are free"
        )


@contextmanager
def open_new(path: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a new file for writing at most `max_bytes`. Raise OSError if the disk has less space.

    The file is not written through a memory map, because a full disk would then kill the process.

    Args:
        path: the file.
        max_bytes: the space to reserve in bytes, or 0 for none.
    """
    with path.open("xb", buffering=1 << 20) as file:
        if max_bytes and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, max_bytes)
        yield file
        file.truncate()
        flush(file)


def _format_gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
