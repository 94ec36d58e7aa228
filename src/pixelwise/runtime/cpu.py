"""TODO: module."""

import ctypes
import os
import sys
import time
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    pass


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def disable_malloc_trim() -> None:
    """Let this process use freed memory again instead of giving it back to the system at once; Linux's glibc only.

    A training step on a CPU frees and asks for gigabytes. glibc takes each large block fresh from the system, which
    clears it page by page: that can take as long as the computing. mallopt(3) describes the two settings.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)


_MAX_THREADS = torch.get_num_threads()


class ThreadTuner:
    """Gives torch as many threads as other programs leave cores idle; OMP_NUM_THREADS, where set, has the say.

    Threads that share an operation wait for the slowest. Where another program keeps one of two cores busy, two
    threads take several times as long as one.
    """

    def __init__(self) -> None:
        self.most = 1 if "OMP_NUM_THREADS" in os.environ else _MAX_THREADS
        self.seen = _time_and_work()

    def follow(self, after: float = 10.0) -> None:
        """Settle the number of threads by what went on since the last time; nothing within so many seconds of it."""
        now = _time_and_work()
        seconds, busy = (each - before for each, before in zip(now, self.seen, strict=True))
        if self.most == 1 or seconds < after:
            return
        self.seen = now
        idle = (psutil.cpu_count() or 1) - busy / seconds
        torch.set_num_threads(min(self.most, max(1, round(idle))))


def _time_and_work() -> tuple[float, float]:
    """A clock's seconds, and those that all cores together have worked for other processes than this one."""
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")  # none of which every system has
    return time.monotonic(), sum(getattr(times, name, 0.0) for name in names) - own.user - own.system


def set_threads_to_idle_cores() -> None:
    """Look for a moment how many cores are idle: see `ThreadTuner`."""
    cores = ThreadTuner()
    if cores.most > 1:
        time.sleep(0.4)
        cores.follow(after=0.0)
