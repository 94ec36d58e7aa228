"""Ordered parallel map in processes: order, bound, errors and processes that end."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pixelwise.errors import DataError, WorkerCrashedError
from pixelwise.runtime.process_pool import process_map


def double(batch: list[int]) -> list[int]:
    print("output of a worker must not disturb its answers")
    return [2 * number for number in batch]


def fail_at_five(batch: list[int]) -> int:
    if 5 in batch:
        raise DataError("five.png: cannot be read")
    return len(batch)


def kill_at_five(batch: list[int]) -> int:
    if 5 in batch:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(batch)


def exit_at_five(batch: list[int]) -> int:
    if 5 in batch:
        os._exit(3)
    return len(batch)


def running_children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def test_results_are_in_order_with_their_batches() -> None:
    batches = [[n, n + 1] for n in range(20)]
    assert list(process_map(double, batches, workers=2)) == [(batch, [2 * n for n in batch]) for batch in batches]
    assert not running_children()


def test_batches_are_taken_as_results_are() -> None:
    taken = itertools.count()
    source = ([number] for number in itertools.count() if next(taken) >= 0)
    results = process_map(double, source, workers=2)
    assert next(results) == ([0], [0])
    assert next(taken) <= 6
    results.close()  # type: ignore[attr-defined]
    assert not running_children(), "an abandoned map stops its workers"


def test_an_error_of_the_function_is_raised() -> None:
    results = process_map(fail_at_five, [[n] for n in range(10)], workers=2)
    assert [next(results)[1] for _ in range(5)] == [1] * 5
    with pytest.raises(DataError, match=r"^five\.png: cannot be read$"):
        next(results)
    assert not running_children()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (kill_at_five, r"^a worker process was killed \(SIGKILL; perhaps memory ran out\)$"),
        (exit_at_five, r"^a worker process ended with exit code 3$"),
    ],
    ids=["killed", "exit"],
)
def test_a_process_that_ends_is_an_error(function: Callable[[list[int]], int], message: str) -> None:
    results = process_map(function, [[n] for n in range(10)], workers=2)
    assert [next(results)[1] for _ in range(5)] == [1] * 5
    with pytest.raises(WorkerCrashedError, match=message):
        next(results)
    assert not running_children()


def test_a_program_without_a_main_guard(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import builtins\n"
        "print('started')\n"
        "from pixelwise.runtime.process_pool import process_map\n"
        "print(sum(result for _, result in process_map(sum, [[1, 2], [3]], workers=2)))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["started", "6"]
