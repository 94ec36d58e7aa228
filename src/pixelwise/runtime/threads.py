"""Going through many items: read ahead in threads, in groups, under a progress bar."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


Item = TypeVar("Item")


def prefetch_map(read: Callable[[Item], T], items: Iterable[Item], ahead: int = 32) -> Iterator[T]:
    """Map `read` over items in order, in threads, at most `ahead` results in wait: memory stays bounded.

    Pillow and torch release the interpreter lock while they decode and resize, so threads do.

    >>> list(prefetch_map(len, ["a", "bb"]))
    [1, 2]
    """
    # More threads than cores would only wait for the lock; one more than cores, for one of them waits for the disk.
    pool = ThreadPoolExecutor(available_cpus() + 1)
    waiting: deque[Future[T]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Without a wait: a walk that was broken off may be collected in one of its threads, which cannot join itself.
        pool.shutdown(wait=False, cancel_futures=True)


def available_cpus() -> int:
    """The CPU cores that are for this process: those it may use, shared with others that `torchrun` started here."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order, the last one shorter.

    >>> list(batched("abc", 2))
    [['a', 'b'], ['c']]
    """
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
