"""The LRU cache: bounded, loads each value once, safe in threads and after a fork."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pixelwise.data.io.lru import LRUCache
from pixelwise.errors import DataError


def test_values_that_were_used_last_are_kept() -> None:
    cache, loaded = LRUCache[int](max_items=3), []

    def load(key: int) -> int:
        loaded.append(key)
        return key * 10

    def get(key: int) -> int:
        return cache.get(key, lambda: load(key))

    assert [get(key) for key in (0, 1, 2, 0, 1, 2)] == [0, 10, 20, 0, 10, 20] and loaded == [0, 1, 2]
    get(0)
    get(3)  # evicts 1
    get(0)
    get(2)
    assert loaded == [0, 1, 2, 3]
    get(1)
    assert loaded == [0, 1, 2, 3, 1] and len(cache) == 3


def test_the_limit_holds_while_threads_load() -> None:
    cache, lock = LRUCache[bytes](max_items=3), threading.Lock()
    sizes: list[int] = []
    running: list[int] = [0]

    def load(key: int) -> bytes:
        with lock:
            running[0] += 1
            sizes.append(len(cache) + running[0])
        time.sleep(0.001)
        with lock:
            running[0] -= 1
        return str(key).encode()

    keys = np.random.default_rng(0).integers(0, 8, 300).tolist()
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda key: cache.get(key, lambda: load(key)), keys))
    assert values == [str(key).encode() for key in keys]
    assert max(sizes) <= 3 and len(cache) <= 3


def test_threads_that_request_one_key_load_it_once() -> None:
    cache, loads = LRUCache[str](max_items=2), []
    together = threading.Barrier(6)

    def load() -> str:
        loads.append(1)
        time.sleep(0.05)
        return "value"

    def request(_: int) -> str:
        together.wait(timeout=30)
        return cache.get("key", load)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(request, range(6))) == ["value"] * 6
    assert len(loads) == 1


def test_at_most_max_loads_run_at_a_time() -> None:
    cache, running, peaks = LRUCache[int](max_items=8, max_loads=1), [0], []

    def load(key: int) -> int:
        running[0] += 1
        peaks.append(running[0])
        time.sleep(0.002)
        running[0] -= 1
        return key

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda key: cache.get(key, lambda: load(key)), range(20)))
    assert set(peaks) == {1}


def test_a_size_limit_keeps_one_value_and_the_new_one() -> None:
    cache = LRUCache[bytes](max_items=10, max_bytes=100, nbytes=len)
    for key in range(4):
        cache.get(key, lambda: bytes(30))
    assert len(cache) == 4
    for key in range(4, 8):
        cache.get(key, lambda: bytes(200))
    assert len(cache) == 2


def test_a_failed_load_is_raised_and_tried_again() -> None:
    cache, attempts = LRUCache[str](max_items=1), []

    def load() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise DataError("missing")
        return "value"

    for _ in range(2):
        with pytest.raises(DataError, match="missing"):
            cache.get("key", load)
    assert cache.get("key", load) == "value" and len(attempts) == 3


def test_a_failed_load_reaches_all_threads_that_wait_for_it() -> None:
    cache, started, finish = LRUCache[str](max_items=1), threading.Event(), threading.Event()

    def load() -> str:
        started.set()
        finish.wait(timeout=30)
        raise DataError("missing")

    def request(_: int) -> str:
        with pytest.raises(DataError, match="missing"):
            cache.get("key", load)
        return "raised"

    with ThreadPoolExecutor(4) as pool:
        results = [pool.submit(request, number) for number in range(4)]
        assert started.wait(timeout=30)
        finish.set()
        assert [result.result(timeout=30) for result in results] == ["raised"] * 4
    assert len(cache) == 0


def test_clear_drops_all_values() -> None:
    cache = LRUCache[int](max_items=2)
    cache.get("a", lambda: 1)
    cache.clear()
    assert len(cache) == 0 and cache.get("a", lambda: 2) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_locks_of_its_parent() -> None:
    """A thread of the parent loads while the process forks. The child has no such thread, and must load itself."""
    cache, loading, finish = LRUCache[str](max_items=1), threading.Event(), threading.Event()

    def slow() -> str:
        loading.set()
        finish.wait(timeout=30)
        return "parent"

    thread = threading.Thread(target=cache.get, args=("key", slow))
    thread.start()
    assert loading.wait(timeout=30)
    child = os.fork()
    if child == 0:
        os._exit(0 if cache.get("key", lambda: "child") == "child" and len(cache) == 1 else 1)
    deadline = time.monotonic() + 30
    status = None
    while status is None and time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else None
        time.sleep(0.01)
    finish.set()
    thread.join()
    if status is None:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert status == 0
    assert cache.get("key", lambda: "again") == "parent"
