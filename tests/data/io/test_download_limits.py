"""Limits on the size and the duration of reads: of file systems that are drawn here, and of a server in a thread."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from pixelwise.data.io import download_limits
from pixelwise.data.io.download_limits import (
    SIZE_VARIABLE,
    TimedFile,
    check_download_rate,
    max_download_bytes,
    read_file,
    within_time_limit,
)
from pixelwise.data.io.remote import RemoteFile
from pixelwise.data.io.tar_shard import TarShard, fetch_shard
from pixelwise.errors import ConfigError, DataError


class FakeStorage(AbstractFileSystem):
    """A storage service with one file. Each method can be replaced by one that blocks or fails.

    Attributes:
        calls: the names of the methods called so far.
    """

    protocol = "gs"
    cachable = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[str] = []
        self.read: Callable[[], bytes] = lambda: b"content"
        self.measure: Callable[[], int] = lambda: len(self.read())

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        self.calls.append("cat_file")
        return self.read()[start:end]

    def size(self, path: str) -> int:
        self.calls.append("size")
        return self.measure()


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> FakeStorage:
    """Google's storage service, and a time limit of 0.1 s."""
    monkeypatch.setattr(download_limits, "TIMEOUT_SECONDS", 0.1)
    fake = FakeStorage()
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url, **options: (fake, url))
    return fake


@pytest.fixture
def never() -> Iterator[Callable[[], Any]]:
    """A function that blocks until the test ends."""
    event = threading.Event()
    yield lambda: event.wait(10)
    event.set()


def test_a_file_is_read_in_one_request(storage: FakeStorage) -> None:
    assert RemoteFile("gs://bucket/a.png").read_bytes() == b"content"
    assert storage.calls == ["cat_file"]


@pytest.mark.parametrize("protocol", ["gs", "az", "abfs", "hf", "s3"])
def test_a_server_that_does_not_answer_is_given_up(
    protocol: str, storage: FakeStorage, never: Callable[[], Any]
) -> None:
    storage.read = storage.measure = never
    started = time.monotonic()
    with pytest.raises(DataError, match=r"did not answer within 0 s"):
        RemoteFile(f"{protocol}://bucket/a.png").read_bytes()
    assert time.monotonic() - started < 1 and storage.calls == ["cat_file", "size"]


def test_a_slow_file_gets_time_for_its_size(storage: FakeStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_limits, "MIN_BYTES_PER_SECOND", 100)

    def read_slowly() -> bytes:
        time.sleep(0.3)
        return b"content"

    storage.read, storage.measure = read_slowly, lambda: 100
    assert RemoteFile("gs://bucket/a.png").read_bytes() == b"content"
    storage.measure = lambda: 1
    with pytest.raises(DataError, match="did not answer"):
        RemoteFile("gs://bucket/a.png").read_bytes()


def test_the_size_decides_if_it_is_known_first(storage: FakeStorage, never: Callable[[], Any]) -> None:
    storage.read, storage.measure = never, lambda: 2 << 30
    with pytest.raises(DataError, match=r"larger than 1,024 MiB, .*PIXELWISE_MAX_DOWNLOAD_MB"):
        RemoteFile("gs://bucket/a.png").read_bytes()


def test_an_error_is_repeated_once(storage: FakeStorage) -> None:
    answers: list[Exception | bytes] = [OSError("reset"), b"content"]

    def read() -> bytes:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    storage.read = read
    assert RemoteFile("gs://bucket/a.png").read_bytes() == b"content"
    answers += [OSError("reset"), OSError("reset again"), b"content"]
    with pytest.raises(DataError, match=r"cannot be read \(reset again\)"):
        RemoteFile("gs://bucket/a.png").read_bytes()
    answers[:] = [FileNotFoundError("x"), b"content"]
    with pytest.raises(DataError, match="no such file"):
        RemoteFile("gs://bucket/a.png").read_bytes()


def test_a_file_that_is_too_large_is_refused_after_one_byte_more(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/pets/a.png", bytes((1 << 20) + 1))
    monkeypatch.setenv(SIZE_VARIABLE, "1")
    with pytest.raises(DataError, match="larger than 1 MiB"):
        RemoteFile(f"{memory}/a.png").read_bytes()
    monkeypatch.setenv(SIZE_VARIABLE, "2")
    assert len(RemoteFile(f"{memory}/a.png").read_bytes()) == (1 << 20) + 1


def test_at_most_one_byte_more_than_the_maximum_is_requested(storage: FakeStorage) -> None:
    storage.read = lambda: bytes(5)
    assert read_file(storage, "a", 5) == bytes(5)
    with pytest.raises(DataError, match="larger than"):
        read_file(storage, "a", 4)


def test_a_remote_shard_larger_than_the_maximum_is_not_requested(
    storage: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, "1")
    with pytest.raises(DataError, match=r"^the shard is larger than 1 MiB"):
        fetch_shard(TarShard("gs://bucket/train-0.tar", 1 << 21, "00"))
    assert storage.calls == []


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1.5", "9" * 5000])
def test_a_wrong_maximum_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SIZE_VARIABLE, text)
    with pytest.raises(ConfigError, match=SIZE_VARIABLE):
        max_download_bytes()


def test_the_rate_counts_after_the_first_seconds() -> None:
    check_download_rate(0, 9.9)
    check_download_rate(160 << 10, 19.9)
    with pytest.raises(DataError, match=r"the server sent 1,000 bytes in 11 s, less than the minimum of 16 KiB/s"):
        check_download_rate(1000, 11)


def test_a_file_of_a_server_has_a_limit_for_each_read(
    monkeypatch: pytest.MonkeyPatch, never: Callable[[], Any]
) -> None:
    monkeypatch.setattr(download_limits, "TIMEOUT_SECONDS", 0.05)
    file = TimedFile(io.BytesIO(b"content"), 5)
    assert (file.read(3), file.tell(), file.seek(1), file.read(), file.readable()) == (b"con", 3, 1, b"onten", True)
    with pytest.raises(DataError, match="larger than"):
        file.read(6)

    class Blocked(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            never()
            return b""

    with pytest.raises(DataError, match="did not answer"):
        TimedFile(Blocked(), 5).read(1)


def test_exists_has_a_time_limit(storage: FakeStorage, never: Callable[[], Any]) -> None:
    storage.exists = lambda path: never()
    with pytest.raises(DataError, match="did not answer"):
        RemoteFile("hf://datasets/a/b").exists()


def test_a_read_of_an_asynchronous_file_system_runs_in_a_thread() -> None:
    class Storage(AsyncFileSystem):
        cachable = False

        async def _cat_file(self, path: str, start: int = 0, end: int = 0, **options: Any) -> bytes:
            return f"{path} {start} {end}".encode()

    assert read_file(Storage(), "a", 7) == b"a 0 8"[:7]


def test_exceptions_come_from_the_thread() -> None:
    def fail() -> None:
        raise PermissionError("denied")

    with pytest.raises(PermissionError, match="denied"):
        within_time_limit(fail)
