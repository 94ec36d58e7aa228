"""Thread count of torch, by the cores that other programs leave idle.

torch splits an operation among its threads and waits for the slowest one. If another program keeps one of two cores
busy, two threads take several times as long as one.

Predictions limit the count for the duration of a call, see `limit_threads_to_idle_cores`. All other functions do
nothing unless `pixelwise.runtime.configure` has set a thread policy.
"""

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
import torch

from pixelwise.runtime.process import thread_policy

MAX_BUSY_FRACTION = 0.3
"""A core is idle if other processes use at most this fraction of it.

It is less than a half, because a process that competes with two threads of this process for two cores gets about half a
core, even if it could use a whole one.
"""

CALL_SECONDS = 0.1
"""Minimum time in seconds between two measurements of idle cores by `limit_threads_to_idle_cores`."""

_MEASURED_SECONDS = 0.4
"""Duration of the measurement of idle cores before a training, an evaluation or a timing."""

_tuner: "ThreadTuner | None" = None
_call_meter: "IdleCoreMeter | None" = None


class IdleCoreMeter:
    """Measure the number of idle cores, among those that this process may use.

    Attributes:
        idle: number of idle cores at the last measurement, see `MAX_BUSY_FRACTION`. None before the first one.
    """

    def __init__(self) -> None:
        self.idle: int | None = None
        self._last = _clock_and_other_work()

    def measure(self, min_seconds: float) -> bool:
        """Compute `idle` from the CPU time of other processes since the previous call that returned True.

        Args:
            min_seconds: do nothing if this call was less than this many seconds ago. Operating systems count CPU time
                in steps of about 0.01 seconds.

        Returns:
            True if `idle` was measured.
        """
        started, before, _ = self._last
        if time.monotonic() - started < min_seconds:
            return False
        now, work, cores = self._last = _clock_and_other_work()
        if now == started:
            return False
        self.idle = int(cores - (work - before) / (now - started) + MAX_BUSY_FRACTION)
        return True


class ThreadTuner:
    """Set torch's thread count to the number of idle cores. Do nothing if OMP_NUM_THREADS is set.

    Args:
        max_threads: upper limit of the thread count.
    """

    def __init__(self, max_threads: int) -> None:
        self.max_threads = 1 if "OMP_NUM_THREADS" in os.environ else max_threads
        self._meter = IdleCoreMeter()
        self._started: float | None = None

    def start(self) -> None:
        """Begin a measurement of the idle cores. `update` ends it."""
        self._meter, self._started = IdleCoreMeter(), time.monotonic()

    def measure(self) -> None:
        """Measure the idle cores for 0.4 seconds and set the thread count."""
        self.start()
        self.update()

    def update(self, min_seconds: float = 10.0) -> None:
        """Set the thread count from the CPU time of other processes since the previous measurement.

        After `start`, wait until its measurement has taken 0.4 seconds.

        Args:
            min_seconds: do nothing if the previous measurement was less than this many seconds ago.
        """
        if self.max_threads > 1 and self._started is not None:
            time.sleep(max(0.0, self._started + _MEASURED_SECONDS - time.monotonic()))
            self._started, min_seconds = None, 0.0
        if self.max_threads > 1 and self._meter.measure(min_seconds):
            torch.set_num_threads(min(self.max_threads, max(1, self._meter.idle or 1)))


def apply_thread_policy(wait: bool = True) -> None:
    """Set torch's thread count by the policy of `configure`. The policy "idle" first measures for 0.4 seconds.

    Args:
        wait: if False, other work can be done during the measurement. The next `follow_idle_cores` ends it.
    """
    global _tuner
    policy = thread_policy()
    if policy == "idle":
        # The upper limit is torch's thread count before its first change.
        _tuner = _tuner or ThreadTuner(torch.get_num_threads())
        if wait:
            _tuner.measure()
        else:
            _tuner.start()
    elif policy is not None:
        torch.set_num_threads(policy)


def follow_idle_cores() -> None:
    """Update the thread count at most every 10 seconds. Do nothing without the policy "idle"."""
    if _tuner is not None and thread_policy() == "idle":
        _tuner.update()


@contextmanager
def limit_threads_to_idle_cores() -> Iterator[None]:
    """Use at most as many threads in the block as cores are idle, and restore the count afterwards.

    The idle cores are measured at most every `CALL_SECONDS`, between two blocks, so that a block does not wait. The
    first block is not limited. In torch, the thread count belongs to the calling thread, and is the default of threads
    that first use torch during the block. Do nothing if OMP_NUM_THREADS is set, or if `configure` set a number.
    """
    global _call_meter
    threads = torch.get_num_threads()
    if threads == 1 or "OMP_NUM_THREADS" in os.environ or isinstance(thread_policy(), int):
        yield
        return
    _call_meter = meter = _call_meter or IdleCoreMeter()
    meter.measure(CALL_SECONDS)  # 0.1 ms on a machine with two cores
    count = threads if meter.idle is None else min(threads, max(1, meter.idle))
    if count == threads:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def constant_threads() -> Iterator[None]:
    """Use torch's default thread count in the block, and restore the count afterwards.

    Sums of floating-point numbers depend on the number of threads that share them, so a count that follows the load of
    the machine makes a training impossible to repeat. In the block, `follow_idle_cores` has no effect.
    """
    global _tuner
    tuner, threads = _tuner, torch.get_num_threads()
    _tuner = None
    if tuner is not None and tuner.max_threads > 1:
        torch.set_num_threads(tuner.max_threads)
    try:
        yield
    finally:
        _tuner = tuner
        torch.set_num_threads(threads)


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


def _clock_and_other_work() -> tuple[float, float, int]:
    """Return the monotonic time, the CPU time of other processes, and the number of cores, for the usable cores.

    Times are in seconds. The CPU time is the sum over the cores that this process may use.
    """
    cores = psutil.cpu_times(percpu=True)
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if usable and usable[-1] < len(cores):
        cores = [cores[index] for index in usable]
    names = ("user", "nice", "system", "irq", "softirq", "steal")  # no operating system reports all of them
    total = sum(getattr(times, name, 0.0) for times in cores for name in names)
    return time.monotonic(), total - time.process_time(), len(cores)
