"""Ordered parallel maps in threads, batches, and the CPUs of a process."""

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator

import pytest

from pixelwise.errors import DataError
from pixelwise.runtime import threads
from pixelwise.runtime.threads import available_cpus, batched, parallel_map, prefetch, prefetch_map


def test_results_keep_the_order() -> None:
    def slow_if_even(number: int) -> int:
        time.sleep(0.004 if number % 2 == 0 else 0)
        return number * 10

    empty: list[int] = []
    assert list(prefetch_map(slow_if_even, range(40), prefetch=4)) == [n * 10 for n in range(40)]
    assert list(prefetch_map(slow_if_even, empty, prefetch=4)) == []
    assert list(prefetch_map(slow_if_even, [1], prefetch=4)) == [10]


def test_items_are_read_in_several_threads() -> None:
    barrier = threading.Barrier(2, timeout=10)

    def wait_for_the_other(number: int) -> int:
        barrier.wait()
        return number

    assert list(prefetch_map(wait_for_the_other, [0, 1])) == [0, 1]


def test_the_number_of_waiting_results_is_bounded() -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    results = prefetch_map(lambda n: n, source(), prefetch=5)
    assert taken == 0, "nothing is read before the first result is requested"
    for used, _ in enumerate(results, start=1):
        time.sleep(0.0005)
        assert taken <= used + 5
        assert used > 90 or taken == used + 5, "items are read ahead"


def test_an_error_is_raised_at_its_position() -> None:
    started = set()

    def read(number: int) -> int:
        started.add(number)
        if number == 3:
            raise DataError("image 3")
        return number

    results = prefetch_map(read, itertools.count(), prefetch=4)
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    with pytest.raises(DataError, match="image 3"):
        next(results)
    assert max(started) <= 8, "an endless source is not read further"
    assert list(results) == []


def test_batches_have_all_items() -> None:
    empty: list[int] = []
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batched(range(6), 3)) == [[0, 1, 2], [3, 4, 5]]
    assert list(batched(empty, 3)) == []
    endless = batched(itertools.count(), 2)
    assert [next(endless), next(endless)] == [[0, 1], [2, 3]], "items are read when a batch is requested"


def test_processes_of_torchrun_share_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert available_cpus() == 12
    for processes, cpus in ((1, 12), (5, 2), (12, 1), (16, 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert available_cpus() == cpus


def test_the_cost_of_waiting_results_is_bounded() -> None:
    started: list[int] = []
    yielded = 0
    costs = [10, 30, 30, 30, 500, 20, 80, 10]

    def compute(number: int) -> int:
        started.append(number)
        return number

    results = prefetch_map(compute, range(len(costs)), prefetch=5, cost=costs.__getitem__, max_cost=100)
    for yielded, number in enumerate(results, start=1):
        assert number == yielded - 1, "the order is kept"
        waiting = [each for each in started if each >= yielded]
        assert sum(costs[each] for each in waiting) <= 100 or waiting == [4], "4 is computed alone"
    assert yielded == len(costs)


def test_a_batch_ends_when_its_cost_is_reached() -> None:
    assert list(batched([1, 1, 1, 5, 1, 9, 2], 3, cost=int, max_cost=5)) == [[1, 1, 1], [5], [1, 9], [2]]
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in (9, 1):
            taken.append(number)
            yield number

    batches = batched(source(), 3, cost=int, max_cost=5)
    assert next(batches) == [9]
    assert taken == [9], "the next item is requested only after a large one was used"


def test_prefetch_reads_ahead_a_few_items_in_another_thread() -> None:
    taken: list[int] = []
    threads = set()

    def source() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            threads.add(threading.current_thread())
            yield number

    for number in prefetch(source(), 3):
        time.sleep(0.001)
        assert len(taken) <= number + 1 + 3 + 1
    assert len(taken) == 50 and len(threads) == 1 and threading.current_thread() not in threads


def test_prefetch_raises_errors_in_order_and_can_be_abandoned() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise DataError("broken")

    items = prefetch(source(), 5)
    assert next(items) == 1
    with pytest.raises(DataError, match="broken"):
        next(items)
    endless = prefetch(itertools.count(), 4)
    assert next(endless) == 0
    endless.close()  # type: ignore[attr-defined]


class TestParallelMap:
    def test_results_keep_the_order_and_threads_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "available_cpus", lambda: 2)
        barrier = threading.Barrier(2, timeout=10)

        def meet(number: int) -> tuple[int, threading.Thread]:
            barrier.wait()  # two threads at a time
            return 10 * number, threading.current_thread()

        first, second = parallel_map(meet, range(4)), parallel_map(meet, range(4))
        assert [number for number, _ in first] == [0, 10, 20, 30]
        used = {thread for _, thread in first + second}
        assert len(used) == 2 and threading.current_thread() not in used

    def test_one_item_is_computed_in_the_thread_of_the_caller(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "available_cpus", lambda: 2)
        assert parallel_map(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]
        empty: list[int] = []
        assert parallel_map(str, empty) == []

    def test_an_error_is_raised_and_the_threads_still_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "available_cpus", lambda: 2)
        with pytest.raises(ZeroDivisionError):
            parallel_map(lambda number: 1 // number, [1, 0, 1])
        assert parallel_map(lambda number: 1 // number, [1, 1]) == [1, 1]

    def test_no_item_is_started_after_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "available_cpus", lambda: 2)
        started: list[int] = []

        def fail_at_first(number: int) -> None:
            started.append(number)
            time.sleep(0.005)
            if number == 0:
                raise OSError("first")

        with pytest.raises(OSError, match="first"):
            parallel_map(fail_at_first, range(100))
        count = len(started)
        time.sleep(0.02)
        assert count == len(started) < 20

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_process_has_threads_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "available_cpus", lambda: 2)
        parallel_map(abs, [1, 2])
        process = multiprocessing.get_context("fork").Process(target=parallel_map, args=(abs, [1, 2]))
        process.start()
        process.join(10)
        stayed = process.is_alive()
        process.kill()
        assert not stayed and process.exitcode == 0
