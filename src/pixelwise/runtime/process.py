"""Process-wide settings. They apply only after a program, such as the command line, has called `configure`."""

import ctypes
import importlib.util
import logging
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Literal

ThreadPolicy = Literal["idle"] | int | None
"""The type of the argument `threads` of `configure`."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h

_thread_policy: ThreadPolicy = None


def configure(
    threads: ThreadPolicy = "idle",
    keep_freed_memory: bool = True,
    quiet_warnings: bool = True,
    log_level: int | str | None = logging.INFO,
) -> None:
    """Set up this process for a program that only runs pixelwise. The settings last until the process ends.

    This function does not import torch, so that programs start quickly. The thread count is applied when a training, an
    evaluation or a timing starts.

    Args:
        threads: the number of threads that torch uses for one operation. "idle" sets it to the number of CPU cores that
            other programs leave idle, and updates it during a training. "idle" has no effect if the environment
            variable OMP_NUM_THREADS is set. None does not change the number.
        keep_freed_memory: if True, freed memory stays in the process (see `disable_malloc_trim`).
        quiet_warnings: if True, hide Python warnings from Pillow, and lines that libtiff writes to stderr. Errors are
            raised in any case.
        log_level: the level of the logger "pixelwise". None does not change it.

    >>> configure(threads=None, keep_freed_memory=False, quiet_warnings=False, log_level=None)
    """
    global _thread_policy
    _thread_policy = threads
    if keep_freed_memory:
        disable_malloc_trim()
    if quiet_warnings:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", message="Dataset has no geotransform")  # rasterio's, about any other image
        silence_libtiff()
    if log_level is not None:
        logging.getLogger("pixelwise").setLevel(log_level)


def thread_policy() -> ThreadPolicy:
    """Return the argument `threads` of the last call of `configure`, or None if it was never called."""
    return _thread_policy


def silence_libtiff() -> None:
    """Suppress the lines that Pillow's libtiff writes to stderr for damaged files. They do not contain a file name.

    This has an effect only if Pillow was installed from a wheel for Linux or macOS, which contains libtiff.
    """
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
    """Keep freed memory in this process for later allocations. This has an effect only with glibc on Linux.

    A training step on a CPU frees and allocates gigabytes. By default, glibc requests each large block from the
    operating system, which fills it with zeros page by page. This can take as long as the computation. See mallopt(3).

    Does nothing if the address space is limited (`ulimit -v`). Kept memory counts there, so after memory ran out,
    smaller batches would not suffice: oneDNN could not allocate the code that it generates for them.
    """
    if sys.platform != "linux":
        return
    import resource

    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
