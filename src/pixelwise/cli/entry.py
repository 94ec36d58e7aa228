"""`main`: the entry point of the command line, and its exit codes.

The imports of a command take seconds. This module imports the standard library only, so that Ctrl-C ends the program
without a traceback during these imports too.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

DONE, SOME_FILES_FAILED, WRONG_INPUT, BUG, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 3, 130, 141
"""Exit codes."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a command like Ctrl-C. Windows has no SIGHUP."""

_MIN_SECONDS = 1.0
"""Minimum time in seconds between two signals that interrupt. Signals in between are ignored."""


def main(tokens: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    The exit codes are:

    - 0: success.
    - 1: some files were skipped or cannot be used.
    - 2: an error that the user can correct, such as wrong input or too little memory. One line on stderr names it.
    - 3: a bug. The traceback is printed.
    - 130: the command was stopped by Ctrl-C, SIGTERM or SIGHUP.
    - 141: the program that reads the output ended first, as `head` does. Nothing is printed. A shell reports the same
      code for a command that SIGPIPE ends.

    Args:
        tokens: the command-line arguments. None takes those of the process.
    """
    with _Interrupts() as interrupts:
        try:
            from pixelwise.cli.app import run

            code = _flush_output(run(sys.argv[1:] if tokens is None else tokens))
        except KeyboardInterrupt as error:
            code = interrupts.report(str(error))
        except BrokenPipeError as error:
            code = _close_output() if is_output_closed() else _report_bug(error)
        except SystemExit as error:
            if not isinstance(error.__context__, BrokenPipeError):
                raise
            code = _close_output()  # rich ends the program if the output is closed while it prints
        except Exception as error:
            # An interrupted import can raise another exception than KeyboardInterrupt.
            code = interrupts.report() if interrupts.received else _report_bug(error)
    sys.exit(code)


class _Interrupts:
    """A context manager that raises KeyboardInterrupt for the signals of `_SIGNALS` within its block.

    Signals that the parent process chose to ignore, as nohup does with SIGHUP, stay ignored.

    Attributes:
        received: True after the first signal.
    """

    def __init__(self) -> None:
        self.received, self._time = False, 0.0
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "_Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    self._previous[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        # A terminal that is closed can send a signal, and its shell a second one. Only the first must interrupt.
        if not self.received or now - self._time > _MIN_SECONDS:
            self.received, self._time = True, now
            raise KeyboardInterrupt

    def report(self, advice: str = "") -> int:
        """Print that the command was stopped, and return the exit code. Later signals are ignored.

        Args:
            advice: the text that explains how to continue. "" prints the advice to run the command again.
        """
        for number in self._previous:
            signal.signal(number, signal.SIG_IGN)
        from pixelwise.errors import printable

        with suppress(OSError):  # the terminal was closed
            text = printable(advice) or "run the command again to start over"
            print(f"pixelwise: stopped; {text}", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def interrupt_advice(advice: str) -> Iterator[None]:
    """Set the advice that is printed if the block is interrupted.

    Args:
        advice: how to continue, such as "continue with --resume".
    """
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(advice) from None


def _flush_output(code: int) -> int:
    """Write buffered output. Return the exit code, or 2 if the disk is full.

    Raises:
        BrokenPipeError: The program that reads the output has ended.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard(sys.stdout)
        return code if code == WRONG_INPUT else _fail(f"standard output: {error.strerror}")
    return code


def is_output_closed() -> bool:
    """Return True if the program that reads the output has ended. Other pipes, such as those of workers, can break too.

    Windows does not state it, so the result is True there.
    """
    if not hasattr(select, "poll"):
        return True
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a stream that is not a file
            poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _close_output() -> int:
    """Discard the output that nobody reads. Return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _discard(stream)
    return CLOSED_PIPE


def _discard(stream: TextIO) -> None:
    """Discard the buffered output of a stream. Python flushes it again at exit, and would print a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _report_bug(error: Exception) -> int:
    """Print an unexpected exception with its traceback and a request to report it. Return the exit code.

    If memory ran out, print one line with advice instead.
    """
    import traceback

    import pixelwise
    from pixelwise.errors import first_line, is_out_of_memory

    if is_out_of_memory(error):
        return _fail(f"not enough memory ({first_line(error)}); use smaller images or batches, or close other programs")
    traceback.print_exception(error)
    print(
        f"pixelwise: this is a bug in pixelwise {pixelwise.__version__}; please report it with the lines above and the "
        "command",
        file=sys.stderr,
    )
    return BUG


def _fail(message: str) -> int:
    with suppress(OSError):
        print(f"pixelwise: error: {message}", file=sys.stderr)
    return WRONG_INPUT
