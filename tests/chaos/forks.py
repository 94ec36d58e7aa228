"""Commands and checks in forked processes.

This process has imported everything, so a command starts in milliseconds. It must have no threads of torch that hold
locks: a fork copies only the thread that forks.
"""

import io
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from tests.chaos.verdicts import Verdict

_BROKEN = 99
"""Exit code of a child whose harness, not pixelwise, failed."""

KILLS = (-signal.SIGKILL, -signal.SIGALRM)
"""Exit codes of a process that was killed: by the parent, or by its own timer (see `kill_soon`)."""

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_WAITING = 10
"""Maximum duration of a check, divided by the maximum of its processor time."""

Check = Callable[[], tuple[Verdict, str]]


class Outcome(NamedTuple):
    """The end of a command.

    Attributes:
        code: exit code, or minus the number of the signal that killed it.
        text: stdout and stderr.
        seconds: duration.
    """

    code: int
    text: str
    seconds: float

    @property
    def last_line(self) -> str:
        """The last line of the output."""
        return (self.text.strip().splitlines() or [""])[-1]


def fork() -> int:
    """Fork this process, which can have threads that wait. Python 3.12 warns about them."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Command:
    """A command of pixelwise that runs in a forked process.

    Args:
        tokens: the arguments of `pixelwise`.
        env: changes to the environment.
        before: called in the process before the command, for example to set limits.
    """

    def __init__(
        self, tokens: Sequence[object], env: dict[str, str], before: Callable[[], object] | None = None
    ) -> None:
        self._output, writer = os.pipe()  # a limit of the size of files does not hold for it
        os.set_blocking(self._output, False)
        self._text = b""
        self._start = time.monotonic()
        # A signal between the fork and the start of the command must not raise an exception in the copy.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        self.pid = fork()
        if self.pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        else:
            _run(list(map(str, tokens)), env, before, writer)
        os.close(writer)

    def signal(self, number: int) -> None:
        """Send a signal to the process, but not to its children."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, limit: float = 300.0, stop: tuple[float, int] | None = None) -> Outcome:
        """Wait for the end.

        Args:
            limit: seconds after which the process is killed; the outcome then has code -SIGSTOP.
            stop: (seconds after the start, number of a signal) to send.
        """
        is_late = False
        while not os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            seconds = time.monotonic() - self._start
            if stop is not None and seconds >= stop[0]:
                self.signal(stop[1])
                stop = None
            if seconds > limit:
                is_late = True
                self.signal(signal.SIGKILL)
            self._read()
            time.sleep(0.001)
        seconds = time.monotonic() - self._start
        with suppress(ProcessLookupError, PermissionError):  # its children
            os.killpg(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._read()
        os.close(self._output)
        return Outcome(-signal.SIGSTOP if is_late else code, self._text.decode("utf-8", "replace"), seconds)

    def _read(self) -> None:
        """Read the output so far."""
        with suppress(BlockingIOError):
            while part := os.read(self._output, 1 << 16):
                self._text += part


def _run(tokens: list[str], env: dict[str, str], before: Callable[[], object] | None, output: int) -> NoReturn:
    """Run a command in the child and end the process."""
    code = _BROKEN
    try:
        os.setsid()
        for number in (1, 2):
            os.dup2(output, number)
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(open(number, "wb", 0, closefd=False), "utf-8", write_through=True)  # noqa: SIM115
            for number in (1, 2)
        )
        for interrupt in _INTERRUPTS:
            signal.signal(interrupt, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
        warnings.resetwarnings()
        os.environ.update(env)
        if before is not None:
            before()
        from pixelwise.cli import main

        try:
            main(tokens)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        for thread in threading.enumerate():  # Python does this at its end
            if thread is not threading.main_thread() and not thread.daemon:
                thread.join(20)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_soon(seconds: float) -> None:
    """Let the kernel kill this process after a time, in the middle of whatever it does then. Any thread may call it."""
    if threading.current_thread() is threading.main_thread():  # others may not set a handler, and nothing sets one
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def check_in_forks(
    checks: Sequence[Check], batch: int = 200, seconds: float = 30.0, memory: int = 4 << 30
) -> Iterator[tuple[int, Verdict, str]]:
    """Run checks in forked processes, so that crashes and hangs are seen.

    Args:
        checks: functions that return a verdict and a detail. An exception is a traceback.
        batch: number of checks of one process.
        seconds: limit of the processor time of one check. On a busy machine it takes longer, up to `_WAITING` times.
        memory: bytes of address space that one process may add to that of this process.

    Yields:
        The index of a check, its verdict and its detail.
    """
    start = 0
    while start < len(checks):
        end = min(start + batch, len(checks))
        for index, verdict, detail in _run_batch(checks, start, end, seconds, memory):
            yield index, verdict, detail
            start = index + 1


def _run_batch(
    checks: Sequence[Check], start: int, end: int, seconds: float, memory: int
) -> Iterator[tuple[int, Verdict, str]]:
    """Yield results until the process ends. The last one can be a crash."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(reader)
        _check_all(checks, start, end, seconds, memory, writer)
    os.close(writer)
    index = start
    with os.fdopen(reader, encoding="utf-8") as lines:
        for line in lines:
            index, name, detail = json.loads(line)
            if name:
                yield index, Verdict[name], detail
                index += 1
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if index < end:
        if status in (-signal.SIGALRM, -signal.SIGPROF):
            yield index, Verdict.HANG, f"no end after {seconds:g} s of computation, or {_WAITING * seconds:g} s"
        else:
            yield index, Verdict.CRASH, f"exit code {status}"


def _check_all(checks: Sequence[Check], start: int, end: int, seconds: float, memory: int, writer: int) -> NoReturn:
    """Run checks in the child, write their results to a pipe, and end the process."""
    code = _BROKEN
    try:
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        silent = os.open(os.devnull, os.O_RDWR)
        for number in (1, 2):
            os.dup2(silent, number)
        limit = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with os.fdopen(writer, "w", encoding="utf-8") as results:
            for index in range(start, end):
                print(json.dumps((index, "", "")), file=results, flush=True)
                signal.setitimer(signal.ITIMER_PROF, seconds)
                kill_soon(_WAITING * seconds)
                verdict, detail = _guarded(checks[index])
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.setitimer(signal.ITIMER_PROF, 0)
                print(json.dumps((index, verdict.name, detail)), file=results, flush=True)
        code = 0
    finally:
        os._exit(code)


def _guarded(check: Check) -> tuple[Verdict, str]:
    try:
        return check()
    except MemoryError:
        return Verdict.MEMORY, traceback.format_exc()[-800:]
    except Exception:
        return Verdict.TRACE, traceback.format_exc()[-800:]


def _address_space() -> int:
    """Return the size of this process's address space in bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
