"""Compare `pixelwise.runtime.process_pool` with joblib's loky: start, throughput, bound, crash, memory, processes left.

usage: python benchmarks/process_pool.py --out process_pool.json [--workers 2] [--quick]

Each measurement runs in a new process that has imported torch and has no `if __name__` guard around the pool, as a
user's script or notebook.
"""

import importlib.util
import itertools
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from _common import Turns, describe, finish, make_parser, parse, run_side, say, start

MEASUREMENTS = ("start", "throughput", "bound", "crash", "memory")
ITEMS = 64
LETHAL = 4
"""Index of the batch in which the process ends."""


def count(batch: list[int]) -> int:
    """Return the number of items, without any work."""
    return len(batch)


def work(batch: list[int]) -> bytes:
    """Compute for about 5 ms and return 6 KB, as a scan of a batch does."""
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        sum(batch)
    return bytes(100 * len(batch))


def crash(batch: list[int]) -> int:
    """End the process in one of the batches, as the kernel does if memory runs out."""
    if batch[0] == LETHAL * ITEMS:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(batch)


def pool_map(
    pool: str, function: Callable[[list[int]], Any], batches: Iterable[list[int]], workers: int
) -> Iterator[Any]:
    """Yield the results of a function in order, computed by one of the two pools."""
    if pool == "pixelwise":
        from pixelwise.runtime.process_pool import process_map

        for _, result in process_map(function, batches, workers):
            yield result
    else:
        import warnings

        from joblib import Parallel, delayed

        warnings.filterwarnings("ignore", module="joblib")  # results are left on purpose
        parallel = Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch=2 * workers)
        yield from parallel(delayed(function)(batch) for batch in batches)


def make_batches(number: int) -> Iterator[list[int]]:
    """Yield batches of consecutive numbers."""
    for index in range(number):
        yield list(range(index * ITEMS, (index + 1) * ITEMS))


def measure(turns: Turns, pool: str, measurement: str, workers: int, batches: int, pause: float) -> None:
    """Take one measurement.

    Args:
        turns: receives the measurement.
        pool: "pixelwise" or "joblib".
        measurement: one of MEASUREMENTS.
        workers: number of processes.
        batches: number of batches.
        pause: seconds without a result being taken, for "bound".
    """
    # Imported by name, because workers cannot import functions of the main module.
    import process_pool as functions
    import psutil
    import torch  # noqa: F401 - the process that starts the workers has it

    started = time.perf_counter()
    if measurement == "start":
        next(pool_map(pool, functions.count, make_batches(batches), workers))
        turns.report(**{"seconds to the first result": time.perf_counter() - started})
    elif measurement == "throughput":
        results = list(pool_map(pool, functions.work, make_batches(batches), workers))
        assert len(results) == batches
        seconds = time.perf_counter() - started
        ordered = list(pool_map(pool, sum, make_batches(batches), workers)) == list(map(sum, make_batches(batches)))
        turns.report(**{f"seconds for {batches} batches of 5 ms": seconds, "results in order": ordered})
    elif measurement == "bound":
        taken = itertools.count()
        generator = pool_map(
            pool, functions.count, (batch for batch in make_batches(50 * batches) if next(taken) >= 0), workers
        )
        next(generator)
        time.sleep(pause)
        computed = next(taken)
        generator.close()
        turns.report(**{f"batches computed in {pause:g} s without a result taken": computed})
    elif measurement == "crash":
        try:
            error = f"none; {len(list(pool_map(pool, functions.crash, make_batches(batches), workers)))} results"
        except Exception as raised:
            error = type(raised).__name__
        turns.report(**{"error after a worker is killed": error})
    else:
        generator = pool_map(pool, functions.work, make_batches(batches), workers)
        next(generator)
        time.sleep(pause)
        used = sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))
        generator.close()
        time.sleep(pause / 4)
        left = len(psutil.Process().children(recursive=True))
        turns.report(**{"MiB of all worker processes": used / 2**20, "processes left after the last result": left})


JOBS = {"measure": measure}


def cell(values: Sequence[Any]) -> str:
    """Return the median of a measurement's repeats as text."""
    if isinstance(values[0], bool | str):
        return ", ".join(sorted({{True: "yes", False: "no"}.get(value, str(value)) for value in values}))
    median = statistics.median(values)
    return f"{median:.1f}" if isinstance(values[0], float) else f"{median:,.0f}"


def main(argv: Sequence[str] | None = None) -> None:
    """Take all measurements, three times each in turns, and print the medians."""
    parser = make_parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parse(parser, argv)
    content = describe(arguments, ("joblib", "torch", "pixelwise"))
    pools = ["pixelwise"]
    if arguments.quick:
        say("joblib is left out, because its processes stay after the last result")
    elif importlib.util.find_spec("joblib"):
        pools.append("joblib")
    else:
        say("joblib is not installed and is left out: pip install joblib")
    workers, batches, pause, repeats = (1, 8, 0.1, 1) if arguments.quick else (arguments.workers, 400, 2.0, 3)
    measured: dict[str, dict[str, list[Any]]] = {}
    for measurement, _, pool in itertools.product(MEASUREMENTS, range(repeats), pools):
        options = {"workers": workers, "batches": batches, "pause": pause}
        with start(__file__, "measure", arguments.quick, pool=pool, measurement=measurement, **options) as side:
            for name, value in side.result().items():
                measured.setdefault(name, {}).setdefault(pool, []).append(value)
                say(f"{pool:10} {name}: {value}")
    rows = [(name, *map(cell, values.values())) for name, values in measured.items()]
    finish(arguments.out, content | {"measured": measured, "table": [("measurement", *pools), *rows]})


if __name__ == "__main__" and not run_side(JOBS):
    main()
