"""The entry point: exit codes of bugs, interrupts and lack of memory."""

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

import pixelwise as pw
from pixelwise.cli.entry import interrupt_advice
from tests.cli.helpers import RunCommand


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Replace the commands by a function."""

    def replace(function: Callable[[], object]) -> None:
        monkeypatch.setattr("pixelwise.cli.app.run", lambda tokens: function() or 0)

    return replace


Command = Callable[[Callable[[], object]], None]


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Set the handlers of a program in a terminal. A background process may have been started without some signals."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in names}
    for number in before:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_bug_has_its_own_exit_code_and_asks_for_a_report(command: Command, run_cli: RunCommand) -> None:
    def fail() -> None:
        raise KeyError("val_miou")

    command(fail)
    result = run_cli("train", "data")
    assert result.code == 3
    *trace, last = result.err.splitlines()
    assert trace[0].startswith("Traceback") and trace[-1] == "KeyError: 'val_miou'"
    assert last == (
        f"pixelwise: this is a bug in pixelwise {pw.__version__}; please report it with the lines above and the command"
    )


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …\nmore")],
    ids=["Python", "torch"],
)
def test_lack_of_memory_is_one_line(error: Exception, command: Command, run_cli: RunCommand) -> None:
    def fail() -> None:
        raise error

    command(fail)
    result = run_cli("train", "data")
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert line.startswith("pixelwise: error: not enough memory (") and "close other programs" in line


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_end_a_command_like_ctrl_c(
    name: str, command: Command, run_cli: RunCommand, default_signals: None
) -> None:
    if not hasattr(signal, name):
        pytest.skip("this system does not have the signal")
    number = getattr(signal, name)
    before = signal.getsignal(number)
    cleaned: list[str] = []

    def wait() -> None:
        with interrupt_advice("continue with --resume --out run"):
            try:
                os.kill(os.getpid(), number)
                time.sleep(5)
            finally:
                os.kill(os.getpid(), number)  # a second one at once must not interrupt the cleaning up
                cleaned.append("done")

    command(wait)
    result = run_cli("train", "data")
    assert (result.code, result.out) == (130, "")
    assert result.err == "pixelwise: stopped; continue with --resume --out run\n"
    assert cleaned == ["done"]
    assert signal.getsignal(number) == before


def test_a_signal_that_is_ignored_stays_ignored(command: Command, run_cli: RunCommand) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        command(lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert run_cli("train", "data").code == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_import_that_fails_after_a_signal_is_an_interrupt(
    command: Command, run_cli: RunCommand, default_signals: None
) -> None:
    def fail() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise ImportError("numpy failed to import") from None

    command(fail)
    result = run_cli("train", "data")
    assert (result.code, result.err) == (130, "pixelwise: stopped; run the command again to start over\n")


def test_ctrl_c_while_the_commands_are_imported() -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background process may ignore it
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cyclopts': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from pixelwise.cli import main\n"
        "main(['--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "pixelwise: stopped; run the command again to start over\n"


def test_output_to_a_full_disk() -> None:
    code = "import sys; sys.stdout = open('/dev/full', 'w'); from pixelwise.cli import main; main(['--version'])"
    if not os.path.exists("/dev/full"):  # noqa: PTH110
        pytest.skip("this system does not have /dev/full")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and "No space left on device" in done.stderr


@pytest.mark.skipif(not hasattr(select, "poll"), reason="this system does not state that a pipe is closed")
@pytest.mark.parametrize("arguments", [["encoders"], ["--version"], ["train", "--help"]], ids=" ".join)
def test_a_closed_pipe_ends_a_command_without_a_message(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does when it has its lines
    command = [sys.executable, "-m", "pixelwise", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not hasattr(select, "poll"), reason="this system does not state that a pipe is closed")
def test_a_broken_pipe_that_is_not_the_output_is_an_error(monkeypatch: pytest.MonkeyPatch, run_cli: RunCommand) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")  # such as the pipe to a worker that was killed

    monkeypatch.setattr("pixelwise.cli.app.app", fail)
    result = run_cli("encoders")
    assert (result.code, result.err) == (2, "pixelwise: error: Broken pipe\n")
