"""Compare `pixelwise.runtime.process_pool` with joblib's loky: start, throughput, bound, crash, memory, processes left.

usage: python benchmarks/process_pool.py [--workers 2] [--out process_pool.json]

Each measurement runs in a new process that has imported torch and has no `if __name__` guard around the pool, as a
user's script or notebook.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

POOLS = ("pixelwise", "joblib")
MEASUREMENTS = ("start", "throughput", "bound", "crash", "memory")
BATCHES, ITEMS = 400, 64


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
    """End the process in the 21st batch, as the kernel does if memory runs out."""
    if batch[0] == 20 * ITEMS:
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
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=workers, return_as="generator", batch_size=1, pre_dispatch=2 * workers)
        yield from parallel(delayed(function)(batch) for batch in batches)


def make_batches(number: int | None = BATCHES) -> Iterator[list[int]]:
    """Yield batches of consecutive numbers."""
    for index in itertools.count() if number is None else range(number):
        yield list(range(index * ITEMS, (index + 1) * ITEMS))


def measure(pool: str, measurement: str, workers: int) -> dict[str, Any]:
    """Take one measurement in this process."""
    # Imported by name, because workers cannot import functions of the main module.
    import process_pool as functions
    import psutil
    import torch  # noqa: F401 - the process that starts the workers has it

    started = time.perf_counter()
    if measurement == "start":
        next(pool_map(pool, functions.count, make_batches(), workers))
        return {"seconds to the first result": time.perf_counter() - started}
    if measurement == "throughput":
        results = list(pool_map(pool, functions.work, make_batches(), workers))
        seconds = time.perf_counter() - started
        ordered = list(pool_map(pool, sum, make_batches(), workers)) == [sum(batch) for batch in make_batches()]
        return {"seconds for 400 batches of 5 ms": seconds, "in order": ordered, "results": len(results)}
    if measurement == "bound":
        taken = itertools.count()
        source = (batch for batch in make_batches(20_000) if next(taken) >= 0)
        generator = pool_map(pool, functions.count, source, workers)
        next(generator)
        time.sleep(2)
        computed = next(taken)
        generator.close()  # type: ignore[attr-defined]
        return {"batches computed while no result is taken": computed}
    if measurement == "crash":
        received = 0
        try:
            for _ in pool_map(pool, functions.crash, make_batches(), workers):
                received += 1
        except Exception as error:
            return {"results before the crash": received, "error": f"{type(error).__name__}: {error}"}
        return {"error": None}
    generator = pool_map(pool, functions.work, make_batches(), workers)
    for _ in range(50):
        next(generator)
    children = psutil.Process().children(recursive=True)
    used = sum(child.memory_info().rss for child in children)
    generator.close()  # type: ignore[attr-defined]
    time.sleep(0.5)
    left = len(psutil.Process().children(recursive=True))
    return {"MB of all worker processes": used / 2**20, "processes": len(children), "left after the last result": left}


def main() -> None:
    """Take all measurements, three times each, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*arguments.child, arguments.workers)))
        return
    medians: dict[str, dict[str, Any]] = {pool: {} for pool in POOLS}
    for measurement in MEASUREMENTS:
        repeats: dict[str, list[dict[str, Any]]] = {pool: [] for pool in POOLS}
        for _, pool in itertools.product(range(3), POOLS):
            command = [sys.executable, __file__, "--workers", str(arguments.workers), "--child", pool, measurement]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            repeats[pool].append(json.loads(output.splitlines()[-1]))
        for pool, results in repeats.items():
            for name, value in results[0].items():
                values = sorted(result[name] for result in results)
                medians[pool][name] = values[1] if isinstance(value, int | float) else value
                print(f"{pool:10} {name}: {medians[pool][name]}", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(medians, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
