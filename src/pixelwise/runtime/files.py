"""Writing files so that nothing is ever lost: never half of one, never over another, never two at a time."""

import errno
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pixelwise.errors import PixelwiseError


@contextmanager
def atomic_write(out: Path) -> Iterator[Path]:
    """Yield a temporary path beside `out`; rename it to `out` when the block ends well, remove it otherwise.

    The temporary name keeps the suffix, from which Pillow and matplotlib choose the format. Missing parent
    folders are made; PixelwiseError where they cannot be.

    >>> with atomic_write(Path("notes.txt")) as path:  # doctest: +SKIP
    ...     path.write_text("whole or not at all")
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PixelwiseError(f"{out.parent}: cannot be made ({error.strerror}); write somewhere else") from None
    # Not tempfile: its files are readable by their owner only, and the rename would keep that.
    temporary = out.with_name(f".{out.stem}.{uuid.uuid4().hex[:12]}{out.suffix}")
    try:
        yield temporary
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def next_free_path(path: Path) -> Path:
    """The path itself where nothing is there yet, else the first free of name-2, name-3, …"""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def lock_file(path: Path, alone: bool = False) -> BinaryIO | None:
    """Keep a file from being held `alone` by another, as long as what is returned is open; None where it is.

    Windows has no such locks, but there nothing that is open can be removed anyway; nor have some network drives.
    """
    file = path.open("rb")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                file.close()
                raise
    return file
