"""A function over many items, in worker processes that know nothing of this one.

Not multiprocessing: its workers import the main module again, which may import torch (`pixelwise` itself does) or start
the whole work once more where it has no guard, and forks of a process with threads may hang.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pixelwise.errors import PixelwiseError

T = TypeVar("T")


Item = TypeVar("Item")


_AHEAD = 2
"""Batches a worker that are under way or wait to be taken."""


class WorkerCrashedError(PixelwiseError):
    """A worker process ended in the middle of its work."""


def process_map(
    function: Callable[[list[Item]], T], batches: Iterable[list[Item]], workers: int
) -> Iterator[tuple[list[Item], T]]:
    """Each batch with what `function` makes of it, in order; few batches are under way at a time.

    Args:
        function: of a module (not a lambda), for workers import it.
        batches: lists of what pickles.
        workers: how many processes.

    Raises WorkerCrashedError where a process ends before its work is done, and what `function` raises.
    """
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    # As many threads as workers, so that one that takes a worker always finds one.
    pool = ThreadPoolExecutor(workers)
    hired = []
    waiting: deque[tuple[list[Item], Future[T]]] = deque()

    def work(batch: list[Item]) -> T:
        worker = idle.get()
        try:
            return worker.call(function, batch)
        finally:
            idle.put(worker)

    try:
        for _ in range(workers):
            hired.append(_Worker())
            idle.put(hired[-1])
        for batch in batches:
            waiting.append((batch, pool.submit(work, batch)))
            if len(waiting) > _AHEAD * workers:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in hired:
            worker.end()


class _Worker:
    """A process that answers calls, one at a time, over its pipes."""

    def __init__(self) -> None:
        # Each keeps to one core: numpy's threads would only be in each other's way.
        env = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        env |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env,
        )  # fmt: skip

    def call(self, function: Callable[[list[Item]], T], batch: list[Item]) -> T:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(pickle.dumps((function, batch)))
            self.process.stdin.flush()
            well, answer = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.process.kill()
            raise WorkerCrashedError(_how_it_ended(self.process.wait())) from None
        if not well:
            raise answer
        return answer

    def end(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was not yet sent cannot be any more
                continue
        self.process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"a worker process was killed ({signal.Signals(-code).name}; perhaps memory ran out)"
    return f"a worker process ended with exit code {code}"


def serve() -> None:
    """In a worker: answer calls until the other end goes away."""
    # Ctrl-C reaches the whole group; the process that hired this one tells it to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    # Whatever prints must not print between answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            function, batch = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer: tuple[bool, Any] = (True, function(batch))
        except Exception as error:
            answer = (False, error)
        pickle.dump(answer, answers)
        answers.flush()
