"""Ordered parallel map in worker processes that share no state with this process.

The workers are plain `python -c` processes, not those of multiprocessing. Spawned workers of multiprocessing import the
main module again. That can import torch, and it runs the whole program again if the module has no `__main__` guard.
Forked workers can hang if the parent process has threads.
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

from pixelwise.errors import WorkerCrashedError
from pixelwise.runtime.process import silence_libtiff

T = TypeVar("T")
Item = TypeVar("Item")

_MAX_PENDING = 2
"""Maximum number of pending batches per worker. If there are more, the result of the oldest one is awaited."""


def process_map(
    function: Callable[[list[Item]], T], batches: Iterable[list[Item]], workers: int
) -> Iterator[tuple[list[Item], T]]:
    """Apply a function to batches in worker processes.

    Args:
        function: a module-level function (not a lambda), because the workers import it.
        batches: lists of objects that can be pickled. They are taken from the iterable a few at a time, as the results
            are consumed.
        workers: number of processes.

    Yields:
        (batch, result), in the order of the batches.

    Raises:
        WorkerCrashedError: A process ended before it returned its result.
        Exception: Any exception of the function.
    """
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    # One thread per worker, so that a thread always finds an idle worker.
    pool = ThreadPoolExecutor(workers)
    started: list[_Worker] = []
    pending: deque[tuple[list[Item], Future[T]]] = deque()

    def run(batch: list[Item]) -> T:
        worker = idle.get()
        try:
            return worker.call(function, batch)
        finally:
            idle.put(worker)

    try:
        for _ in range(workers):
            started.append(_Worker())
            idle.put(started[-1])
        for batch in batches:
            pending.append((batch, pool.submit(run, batch)))
            if len(pending) > _MAX_PENDING * workers:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in started:
            worker.stop()


class _Worker:
    """A process that receives function calls and returns their results over pipes, one call at a time."""

    def __init__(self) -> None:
        env = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
        # One thread per worker, because the workers together already use all cores.
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
            succeeded, answer = pickle.load(self.process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.process.kill()
            raise WorkerCrashedError(_describe_exit(self.process.wait())) from None
        if not succeeded:
            raise answer
        return answer

    def stop(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # close() flushes unsent data, but the process has ended
                continue
        self.process.wait()


def _describe_exit(code: int) -> str:
    if code < 0:
        return f"a worker process was killed ({signal.Signals(-code).name}; perhaps memory ran out)"
    return f"a worker process ended with exit code {code}"


def serve() -> None:
    """Run the main loop of a worker: execute calls from stdin until the parent process closes the pipe."""
    # Ctrl-C and a closed terminal reach the whole process group. The parent process stops its workers itself.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    warnings.simplefilter("ignore")
    silence_libtiff()
    # Redirect stdout to stderr, so that no printed text gets between the answers.
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
        try:
            pickle.dump(answer, answers)
            answers.flush()
        except BrokenPipeError:  # the parent process was killed
            os._exit(1)
