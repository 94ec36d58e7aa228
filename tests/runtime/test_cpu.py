"""How many threads torch gets: as many as other programs leave cores idle."""

from types import SimpleNamespace

import pytest
import torch

from pixelwise.runtime import cpu
from pixelwise.runtime.cpu import ThreadTuner, set_threads_to_idle_cores


class Machine:
    """Eight cores, a clock, and what other programs and this one have worked on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.others, self.own, self.threads = 100.0, 0.0, 5.0, 4
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(cpu, "_MAX_THREADS", 4)
        monkeypatch.setattr("time.monotonic", lambda: self.clock)
        monkeypatch.setattr("time.sleep", lambda seconds: self.passes(seconds))
        monkeypatch.setattr("psutil.cpu_count", lambda: 8)
        monkeypatch.setattr("psutil.cpu_times", lambda: SimpleNamespace(user=self.others + self.own, idle=self.clock))
        monkeypatch.setattr("psutil.Process", lambda: self)
        monkeypatch.setattr(torch, "set_num_threads", lambda count: setattr(self, "threads", count))
        self.busy = 0.0

    def cpu_times(self) -> SimpleNamespace:
        return SimpleNamespace(user=self.own, system=0.0)

    def passes(self, seconds: float, own: float = 0.0) -> None:
        """Time, in which others keep `busy` cores busy and this process `own`."""
        self.clock += seconds
        self.others += self.busy * seconds
        self.own += own * seconds


@pytest.mark.parametrize(("busy", "threads"), [(0, 4), (4, 4), (5, 3), (6.6, 1), (7.9, 1), (8, 1)])
def test_a_look_takes_what_is_idle(busy: float, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = busy
    set_threads_to_idle_cores()
    assert machine.threads == threads


def test_a_training_follows_what_other_programs_do(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.busy = 7
    set_threads_to_idle_cores()
    cores, counts = ThreadTuner(), [machine.threads]
    # Its own work is none of theirs: with all others gone it has four cores to itself.
    for busy, own, seconds in ((7, 1, 12), (0, 1, 12), (0, 4, 12), (6, 2, 12), (0, 2, 5), (0, 2, 7)):
        machine.busy = busy
        machine.passes(seconds, own)
        cores.follow()
        counts.append(machine.threads)
    assert counts == [1, 1, 4, 4, 2, 2, 4], "within ten seconds of a change it looks at nothing"


def test_omp_num_threads_has_the_say(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    machine.busy = 8
    set_threads_to_idle_cores()
    machine.passes(60)
    ThreadTuner().follow(after=0.0)
    assert machine.threads == 4, "as it was"
