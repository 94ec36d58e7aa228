"""The thread count: limited in a prediction, and the number of idle cores if `configure` asks for it."""

import os
from types import SimpleNamespace

import pytest
import torch

from pixelwise.runtime import cpu, process
from pixelwise.runtime.cpu import (
    ThreadTuner,
    apply_thread_policy,
    constant_threads,
    follow_idle_cores,
    leave_one_core,
    limit_threads_to_idle_cores,
    single_thread,
)


class Machine:
    """Eight cores and a clock; other programs keep `busy` cores busy."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: process.ThreadPolicy = "idle") -> None:
        self.clock, self.others, self.own, self.threads, self.busy = 100.0, 0.0, 5.0, 4, 0.0
        self.slept = 0.0
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(process, "_thread_policy", policy)
        monkeypatch.setattr(cpu, "_tuner", None)
        monkeypatch.setattr(cpu, "_call_meter", None)
        monkeypatch.setattr("time.monotonic", lambda: self.clock)
        monkeypatch.setattr("time.sleep", self.sleep)
        monkeypatch.setattr("time.process_time", lambda: self.own)
        monkeypatch.setattr("psutil.cpu_times", self.cpu_times)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(torch, "set_num_threads", lambda count: setattr(self, "threads", count))

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.advance(seconds)

    def cpu_times(self, percpu: bool) -> list[SimpleNamespace]:
        assert percpu
        # The work is counted on the first core: only the sum over the cores matters.
        return [SimpleNamespace(user=(self.others + self.own) * (core == 0), idle=self.clock) for core in range(8)]

    def advance(self, seconds: float, own: float = 0.0) -> None:
        """Advance the clock, while this process keeps `own` cores busy."""
        self.clock += seconds
        self.others += self.busy * seconds
        self.own += own * seconds


@pytest.mark.parametrize(
    ("busy", "threads"), [(0, 4), (4, 4), (4.29, 4), (4.31, 3), (5, 3), (6.6, 1), (7.9, 1), (8, 1)]
)
def test_a_measurement_finds_the_idle_cores(busy: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = busy
    apply_thread_policy()
    assert machine.threads == threads and machine.slept == pytest.approx(0.4)


def test_other_work_is_done_during_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = 7
    apply_thread_policy(wait=False)
    assert machine.threads == 4 and machine.slept == 0
    machine.advance(0.3, 1)
    follow_idle_cores()
    assert machine.threads == 1 and machine.slept == pytest.approx(0.1)
    machine.busy = 0
    machine.advance(5, 1)
    follow_idle_cores()
    assert machine.threads == 1, "the next measurement is ten seconds later"


def test_a_training_follows_the_load_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = 7
    apply_thread_policy()
    counts = [machine.threads]
    # The work of this process does not count: without other programs it has four cores.
    for busy, own, seconds in ((7, 1, 12), (0, 1, 12), (0, 4, 12), (6, 2, 12), (0, 2, 5), (0, 2, 7)):
        machine.busy = busy
        machine.advance(seconds, own)
        follow_idle_cores()
        counts.append(machine.threads)
    assert counts == [1, 1, 4, 4, 2, 2, 4], "within ten seconds of an update nothing changes"


def test_a_second_measurement_can_raise_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = 8
    apply_thread_policy()
    assert machine.threads == 1
    machine.busy = 0
    apply_thread_policy()
    assert machine.threads == 4


def test_omp_num_threads_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine.busy = 8
    apply_thread_policy()
    machine.advance(60)
    follow_idle_cores()
    ThreadTuner(4).update(min_seconds=0.0)
    assert machine.threads == 4 and machine.slept == 0, "the count is unchanged"


def test_a_fixed_count(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, policy=3)
    apply_thread_policy()
    machine.busy = 8
    machine.advance(60)
    follow_idle_cores()
    assert machine.threads == 3 and machine.slept == 0


def test_without_a_policy_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, policy=None)
    machine.busy = 8
    apply_thread_policy()
    machine.advance(60)
    follow_idle_cores()
    with single_thread():
        assert machine.threads == 4
    assert machine.threads == 4 and machine.slept == 0


def test_one_thread_less_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    with leave_one_core():
        assert machine.threads == 3
        with single_thread(), leave_one_core():
            assert machine.threads == 1
    assert machine.threads == 4
    monkeypatch.setattr(process, "_thread_policy", None)
    with leave_one_core():
        assert machine.threads == 4, "nothing changes in the program of a user"


def test_a_single_thread_for_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    with pytest.raises(ValueError, match="in the block"), single_thread():
        assert machine.threads == 1
        raise ValueError("in the block")
    assert machine.threads == 4


def test_a_call_uses_the_cores_that_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, policy=None)
    counts = []
    # (busy cores, seconds before the call): a new measurement takes at least 0.1 seconds.
    for busy, seconds in ((7, 0.0), (7, 0.05), (7, 0.06), (7.2, 0.05), (0, 0.06), (0, 0.15), (9, 0.2)):
        machine.busy = busy
        machine.advance(seconds, own=1)
        with limit_threads_to_idle_cores():
            counts.append(machine.threads)
        assert machine.threads == 4, "the count is restored after the call"
    assert counts == [4, 4, 1, 1, 4, 4, 1]
    assert machine.slept == 0, "a call does not wait"


def test_a_call_that_fails_restores_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, policy="idle")
    with limit_threads_to_idle_cores():
        machine.busy = 7
    machine.advance(1)
    with pytest.raises(ValueError, match="in the call"), limit_threads_to_idle_cores():
        assert machine.threads == 1
        raise ValueError("in the call")
    assert machine.threads == 4


@pytest.mark.parametrize("choice", ["policy", "environment"])
def test_a_number_that_the_user_chose_is_not_limited(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, policy=4 if choice == "policy" else None)
    if choice == "environment":
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
    machine.busy = 8
    for _ in range(3):
        machine.advance(1)
        with limit_threads_to_idle_cores():
            assert machine.threads == 4


def test_only_cores_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, policy=None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {6, 7}, raising=False)
    with limit_threads_to_idle_cores():
        machine.busy = 8  # on the first core, which the process may not use
    machine.advance(1)
    monkeypatch.setattr("time.process_time", lambda: 5.0)
    with limit_threads_to_idle_cores():
        assert machine.threads == 2, "of eight cores, the process may use two"


def test_the_count_is_constant_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = 7
    apply_thread_policy()
    with constant_threads():
        assert machine.threads == 4, "the count before the first change"
        machine.advance(60)
        follow_idle_cores()
        assert machine.threads == 4
    assert machine.threads == 1
    machine.busy = 0
    machine.advance(60)
    follow_idle_cores()
    assert machine.threads == 4, "after the block, the count follows the idle cores again"


def test_a_constant_count_keeps_omp_num_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine.threads = 3
    apply_thread_policy()
    with constant_threads():
        assert machine.threads == 3
