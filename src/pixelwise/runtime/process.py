"""Process-wide settings. The library never makes them; a program, such as the command line, calls `configure`."""

import ctypes
import importlib.util
import logging
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Literal

ThreadPolicy = Literal["idle"] | int | None

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h

_thread_policy: ThreadPolicy = None


def configure(
    threads: ThreadPolicy = "idle",
    keep_freed_memory: bool = True,
    quiet_warnings: bool = True,
    log_level: int | str | None = logging.INFO,
) -> None:
    """Set up this process for a program whose only job is pixelwise. The settings last until the process ends.

    It starts quickly: torch is not imported here. The thread count is applied when a training, an evaluation or a
    timing starts.

    Args:
        threads: the number of threads that torch uses for one operation. "idle" sets it to the number of cores that
            other programs leave idle, and updates it during a training; OMP_NUM_THREADS takes precedence. None leaves
            it alone.
        keep_freed_memory: if True, freed memory stays in the process (see `disable_malloc_trim`).
        quiet_warnings: if True, hide Python warnings from Pillow, and lines that libtiff writes to stderr. Errors are
            raised in any case.
        log_level: the level of the logger "pixelwise", or None to leave it alone.

    >>> configure(threads=None, keep_freed_memory=False, quiet_warnings=False, log_level=None)
    """
    global _thread_policy
    _thread_policy = threads
    if keep_freed_memory:
        disable_malloc_trim()
    if quiet_warnings:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        silence_libtiff()
    if log_level is not None:
        logging.getLogger("pixelwise").setLevel(log_level)


def thread_policy() -> ThreadPolicy:
    """Return the `threads` of the last call of `configure`, or None if it was never called."""
    return _thread_policy


def silence_libtiff() -> None:
    """Drop the lines that the libtiff in Pillow's package writes to stderr for damaged files. They name no file."""
    spec = importlib.util.find_spec("PIL")
    if spec is None or spec.origin is None:
        return
    package = Path(spec.origin).parent
    for pattern in ("../pillow.libs/libtiff*", ".dylibs/libtiff*"):  # wheels for Linux and macOS
        for file in package.glob(pattern):
            with suppress(OSError, AttributeError):
                library = ctypes.CDLL(str(file))
                library.TIFFSetErrorHandler(None)
                library.TIFFSetWarningHandler(None)


def disable_malloc_trim() -> None:
    """Keep freed memory in this process for the next allocation. It has an effect with glibc on Linux only.

    A training step on a CPU frees and allocates gigabytes. By default glibc requests each large block from the
    operating system, which clears it page by page. That can take as long as the computation. See mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
