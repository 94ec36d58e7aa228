"""Thread count of torch. The functions do nothing unless `pixelwise.runtime.configure` has set a thread policy."""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
import torch

from pixelwise.runtime.process import thread_policy

_MEASURED_SECONDS = 0.4
"""Duration of the measurement of idle cores before a training, an evaluation or a timing."""

_tuner: "ThreadTuner | None" = None


class ThreadTuner:
    """Set torch's thread count to the number of idle cores. Do nothing if OMP_NUM_THREADS is set.

    torch splits an operation among its threads and waits for the slowest one. If another program keeps one of two cores
    busy, two threads take several times as long as one.

    Args:
        max_threads: upper limit of the thread count.
    """

    def __init__(self, max_threads: int) -> None:
        self.max_threads = 1 if "OMP_NUM_THREADS" in os.environ else max_threads
        self._last = _clock_and_other_work()

    def measure(self) -> None:
        """Measure the idle cores for 0.4 seconds and set the thread count."""
        if self.max_threads > 1:
            self._last = _clock_and_other_work()
            time.sleep(_MEASURED_SECONDS)
            self.update(min_seconds=0.0)

    def update(self, min_seconds: float = 10.0) -> None:
        """Set the thread count from the CPU time of other processes since the previous measurement.

        Args:
            min_seconds: do nothing if the previous measurement was less than this many seconds ago.
        """
        now = _clock_and_other_work()
        seconds, busy = (after - before for after, before in zip(now, self._last, strict=True))
        if self.max_threads == 1 or seconds < min_seconds:
            return
        self._last = now
        idle = (psutil.cpu_count() or 1) - busy / seconds
        torch.set_num_threads(min(self.max_threads, max(1, round(idle))))


def apply_thread_policy() -> None:
    """Set torch's thread count by the policy of `configure`. The policy "idle" first measures for 0.4 seconds."""
    global _tuner
    policy = thread_policy()
    if policy == "idle":
        # The upper limit is torch's thread count before its first change.
        _tuner = _tuner or ThreadTuner(torch.get_num_threads())
        _tuner.measure()
    elif policy is not None:
        torch.set_num_threads(policy)


def follow_idle_cores() -> None:
    """Update the thread count at most every 10 seconds. Do nothing without the policy "idle"."""
    if _tuner is not None and thread_policy() == "idle":
        _tuner.update()


def single_thread() -> AbstractContextManager[None]:
    """Use one thread in the block, for operations too small to split. Do nothing without a thread policy."""
    return _thread_limit(1)


def leave_one_core() -> AbstractContextManager[None]:
    """Use one thread less in the block, but at least one, because other threads of this process compute too.

    Do nothing without a thread policy.
    """
    return _thread_limit(max(1, torch.get_num_threads() - 1))


@contextmanager
def _thread_limit(count: int) -> Iterator[None]:
    if thread_policy() is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _clock_and_other_work() -> tuple[float, float]:
    """Return the monotonic time, and the CPU time of all other processes over all cores, both in seconds."""
    times, process = psutil.cpu_times(), psutil.Process().cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")  # no operating system reports all of them
    total = sum(getattr(times, name, 0.0) for name in names)
    return time.monotonic(), total - process.user - process.system
