"""Ordered parallel map in threads, batches of items, and the number of available CPUs."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from itertools import chain, islice
from operator import itemgetter
from typing import TypeVar, cast

T = TypeVar("T")
Item = TypeVar("Item")


def prefetch_map(
    function: Callable[[Item], T],
    items: Iterable[Item],
    prefetch: int = 32,
    cost: Callable[[Item], int] | None = None,
    max_cost: int = 0,
) -> Iterator[T]:
    """Apply a function to items in threads and yield the results in the order of the items.

    Pillow and torch release Python's global interpreter lock (GIL) while they decode and resize, so threads run in
    parallel.

    Args:
        function: a thread-safe function of one item.
        items: any iterable. It is read lazily, as the caller takes results.
        prefetch: maximum number of items computed ahead of the caller. It limits the memory.
        cost: returns the cost of an item's result, for example in bytes. It is called in the caller's thread.
        max_cost: maximum total cost of the items computed ahead. An item with a higher cost is computed alone. Ignored
            without `cost`.

    >>> list(prefetch_map(len, ["a", "bb"]))
    [1, 2]
    """
    # One more thread than CPUs, because one thread usually waits for the disk. More threads would wait for the GIL.
    pool = ThreadPoolExecutor(available_cpus() + 1)
    pending: deque[tuple[Future[T], int]] = deque()
    total = 0
    try:
        for item in items:
            price = 0 if cost is None else cost(item)
            while pending and total + price > max_cost and cost is not None:
                total -= pending[0][1]
                yield pending.popleft()[0].result()
            pending.append((pool.submit(function, item), price))
            total += price
            if len(pending) > prefetch:
                total -= pending[0][1]
                yield pending.popleft()[0].result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        # Do not wait: an abandoned generator can be deleted in a thread of its own pool, which cannot join itself.
        pool.shutdown(wait=False, cancel_futures=True)


def prefetch(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items of an iterable, which a thread reads ahead.

    Args:
        items: any iterable. Only that thread reads it. If it is a generator, the caller closes it.
        count: maximum number of items that are read ahead.

    >>> list(prefetch(range(3), 2))
    [0, 1, 2]
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        pending: deque[Future[object]] = deque(pool.submit(next, iterator, end) for _ in range(count))
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, iterator, end))
                yield cast(T, item)
        finally:
            pool.shutdown(cancel_futures=True)


def parallel_map(function: Callable[[Item], T], items: Sequence[Item]) -> list[T]:
    """Apply a function to items in threads that stay for the next call, one per CPU, and return the results in order.

    Args:
        function: a thread-safe function of one item. It must not call `parallel_map`.
        items: the items. A single one is computed in the caller's thread.

    Raises:
        Exception: An exception of the function. Items that were not started are left out.

    >>> parallel_map(len, ["a", "bb"])
    [1, 2]
    """
    cpus = available_cpus()
    threads = min(cpus, len(items))
    if threads <= 1:
        return [function(item) for item in items]
    remaining = iter(enumerate(items))  # its `next` is atomic

    def compute() -> list[tuple[int, T]]:
        try:
            return [(index, function(item)) for index, item in remaining]
        finally:
            deque(remaining, maxlen=0)  # after an exception, the other threads start no item

    # A future per item takes time that a small network would have (docs/decisions.md).
    futures = [_shared_pool(os.getpid(), cpus).submit(compute) for _ in range(threads)]
    try:
        parts = [future.result() for future in futures]
    finally:
        deque(remaining, maxlen=0)
        wait(futures)
    return [result for _, result in sorted(chain.from_iterable(parts), key=itemgetter(0))]


@lru_cache(maxsize=1)
def _shared_pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the threads of a process. A forked process does not have those of its parent."""
    return ThreadPoolExecutor(threads)


def available_cpus() -> int:
    """Return the number of CPU cores that this process may use, at least 1.

    With `torchrun`, the cores are divided by the number of processes on this machine.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def batched(
    items: Iterable[T], size: int, cost: Callable[[T], int] | None = None, max_cost: int = 0
) -> Iterator[list[T]]:
    """Group items in lists of `size` and yield the lists in order. The last list can be shorter.

    Args:
        items: any iterable.
        size: maximum number of items of a list.
        cost: returns the cost of an item, for example in bytes. A list then also ends at `max_cost`.
        max_cost: the total cost at which a list ends. The item that reaches or exceeds it is the last one of its list.
            Ignored without `cost`.

    >>> list(batched("abc", 2))
    [['a', 'b'], ['c']]
    >>> list(batched(["a", "bbb", "c"], 2, len, 3))
    [['a', 'bbb'], ['c']]
    """
    iterator = iter(items)
    if cost is None:
        while group := list(islice(iterator, size)):
            yield group
        return
    group, total = [], 0
    for item in iterator:
        group.append(item)
        total += cost(item)
        del item  # a large item must not stay in memory while the next one is computed
        if len(group) == size or total >= max_cost:
            yield group
            group, total = [], 0
    if group:
        yield group
