"""Helpers of the command line's tests."""

from pathlib import Path
from typing import NamedTuple, Protocol

FAST = ["--encoder", "test_efficientnet", "--encoder-weights", "none", "--size", "32", "--epochs", "1"]
"""Flags of a training of about a second."""


class CommandResult(NamedTuple):
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


class RunCommand(Protocol):
    """The fixture `run_cli`: run the command line with these tokens."""

    def __call__(self, *tokens: str | Path) -> CommandResult: ...


def read_files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return modification time and content of every file in a folder."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def assert_one_line_error(result: CommandResult, *parts: str | Path) -> None:
    """Assert exit code 2 and one line on stderr that has these parts."""
    assert result.code == 2
    assert result.out == ""
    lines = result.err.splitlines()
    assert len(lines) == 1 and result.err.endswith("\n"), result.err
    assert lines[0].startswith("pixelwise: error: ")
    assert "Traceback" not in result.err and "`" not in result.err
    for part in parts:
        assert str(part) in lines[0]
