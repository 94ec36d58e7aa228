"""Ordered parallel map in threads, batches of items, and the number of available CPUs."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item")


def prefetch_map(function: Callable[[Item], T], items: Iterable[Item], prefetch: int = 32) -> Iterator[T]:
    """Apply a function to items in threads and yield the results in order.

    Pillow and torch release Python's global lock while they decode and resize, so threads run in parallel.

    Args:
        function: a thread-safe function of one item.
        items: any iterable. It is read as the results are taken.
        prefetch: maximum number of results that wait to be taken. It bounds the memory.

    >>> list(prefetch_map(len, ["a", "bb"]))
    [1, 2]
    """
    # One more thread than CPUs, because one of them waits for the disk. More would only wait for the global lock.
    pool = ThreadPoolExecutor(available_cpus() + 1)
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > prefetch:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Do not wait: an abandoned generator can be collected in one of its own threads, which cannot join itself.
        pool.shutdown(wait=False, cancel_futures=True)


def available_cpus() -> int:
    """Return the number of CPU cores that this process may use, divided by the local processes of `torchrun`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items in order. The last list can be shorter.

    >>> list(batched("abc", 2))
    [['a', 'b'], ['c']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
