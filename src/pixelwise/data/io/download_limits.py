"""Limits on the size and the duration of a read over the network.

A server or file that the user does not trust could otherwise fill the memory, or send a byte every few seconds forever.
"""

import io
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from pixelwise.data.io.network import TIMEOUT_SECONDS
from pixelwise.errors import ConfigError, DataError

T = TypeVar("T")

SIZE_VARIABLE = "PIXELWISE_MAX_DOWNLOAD_MB"
"""The environment variable that replaces `MAX_DOWNLOAD_MB`."""

MAX_DOWNLOAD_MB = 1024
"""Maximum size of a file that is read from a server, in MiB. The whole file is read into memory."""

MIN_BYTES_PER_SECOND = 16 << 10
"""Minimum rate of a read after the first `TIMEOUT_SECONDS`, averaged over the whole read."""


def max_download_bytes() -> int:
    """Return the maximum size in bytes of a file that is read from a server.

    Raises:
        ConfigError: The environment variable PIXELWISE_MAX_DOWNLOAD_MB is not a positive number.

    >>> max_download_bytes() >> 20
    1024
    """
    text = os.environ.get(SIZE_VARIABLE, str(MAX_DOWNLOAD_MB))
    try:
        megabytes = int(text)
    except ValueError:
        megabytes = 0
    if megabytes <= 0:
        raise ConfigError(
            f"the environment variable {SIZE_VARIABLE} is '{text[:100]}'; set it to a number of megabytes"
        )
    return megabytes << 20


def check_download_size(size: int, max_bytes: int) -> None:
    """Raise DataError if a file is larger than the maximum. The message does not name the file.

    Args:
        size: size of the file in bytes, or of the part that was read so far.
        max_bytes: the maximum, see `max_download_bytes`.
    """
    if size > max_bytes:
        raise DataError(
            f"is larger than {max_bytes >> 20:,} MiB, the maximum of a download; if you trust it, set the environment "
            f"variable {SIZE_VARIABLE} to a higher number"
        )


def check_download_rate(size: int, seconds: float) -> None:
    """Raise DataError if a read is slower than `MIN_BYTES_PER_SECOND`. The message does not name the file.

    Args:
        size: number of bytes that were read so far.
        seconds: duration of the read so far.
    """
    if seconds > max_seconds(size):
        raise DataError(
            f"the server sent {size:,} bytes in {seconds:.0f} s, less than the minimum of {MIN_BYTES_PER_SECOND >> 10} "
            "KiB/s; try again later, or copy the file to this machine"
        )


def max_seconds(size: int) -> float:
    """Return the time limit in seconds for reading a number of bytes."""
    return TIMEOUT_SECONDS + size / MIN_BYTES_PER_SECOND


def read_file(system: Any, path: str, max_bytes: int) -> bytes:
    """Return the content of a file, with limits on the time and the size.

    The packages for Google Cloud, Azure and the Hugging Face hub have no common setting for time limits, and repeat
    requests up to six times. So the read runs in a thread. If it takes longer than `TIMEOUT_SECONDS`, the size of the
    file is requested. If that gets no answer either, the read fails. Otherwise the size sets the time limit. A thread
    cannot be stopped. After an error it ends in the background.

    Args:
        system: a file system of fsspec.
        path: the path of the file in it.
        max_bytes: maximum size of the file in bytes. One more byte is requested, so that a larger file is noticed.

    Raises:
        DataError: The server does not answer, or the file is too large or arrives too slowly.
        Exception: Any exception of the file system.
    """
    content = _in_thread(lambda: system.cat_file(path, start=0, end=max_bytes + 1))
    if not _ends_within(content, TIMEOUT_SECONDS):
        size = _in_thread(lambda: system.size(path))
        if not _ends_within(size, TIMEOUT_SECONDS) and not content.done():
            raise no_answer(2 * TIMEOUT_SECONDS)
        expected = 0 if content.done() else int(size.result() or 0)
        check_download_size(expected, max_bytes)
        if not _ends_within(content, max_seconds(expected)):
            raise no_answer(2 * TIMEOUT_SECONDS + max_seconds(expected))
    result: bytes = content.result()
    check_download_size(len(result), max_bytes)
    return result


def within_time_limit(function: Callable[[], T], size: int = 0) -> T:
    """Call a function that uses the network in a thread, and return its result.

    Args:
        function: the function.
        size: number of bytes that the function reads. It sets the time limit.

    Raises:
        DataError: The time limit was exceeded. It is the sum of twice `TIMEOUT_SECONDS`, because the packages of fsspec
            repeat requests, and of a second for each 16 KiB.
        Exception: Any exception of the function.
    """
    seconds = TIMEOUT_SECONDS + max_seconds(size)
    future = _in_thread(function)
    if not _ends_within(future, seconds):
        raise no_answer(seconds)
    return future.result()


class TimedFile(io.RawIOBase):
    """A file on a server whose reads have limits on the time and the size.

    Args:
        file: an open file of fsspec. The caller closes it.
        max_bytes: maximum number of bytes of one read.
    """

    def __init__(self, file: Any, max_bytes: int) -> None:
        super().__init__()
        self._file, self._max_bytes = file, max_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        position: int = self._file.seek(offset, whence)
        return position

    def tell(self) -> int:
        position: int = self._file.tell()
        return position

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes. Raises DataError if `size` exceeds the maximum or the time limit is exceeded."""
        size = self._max_bytes if size is None or size < 0 else size
        check_download_size(size, self._max_bytes)
        return within_time_limit(lambda: self._file.read(size), size)


def _in_thread(function: Callable[[], T]) -> "Future[T]":
    """Call a function in a new thread."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    # A daemon thread does not keep the process alive. A thread of a ThreadPoolExecutor does.
    threading.Thread(target=run, name="pixelwise-read", daemon=True).start()
    return future


def _ends_within(future: "Future[Any]", seconds: float) -> bool:
    wait((future,), seconds)
    return future.done()


def no_answer(seconds: float) -> DataError:
    """Return the error about a server that did not answer within a number of seconds."""
    return DataError(f"the server did not answer within {seconds:.0f} s; try again later")
