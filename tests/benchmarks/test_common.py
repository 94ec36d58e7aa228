"""Processes that take turns, and the rendered table."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import FOLDER

SIDE = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
from _common import run_side

def count(turns, to):
    print("a message", flush=True)
    turns.wait(ready=True)
    for number in range(to):
        turns.wait(number=number)
    raise SystemExit("must not be reached")

JOBS = {{"count": count}}
if __name__ == "__main__":
    run_side(JOBS)
"""


@pytest.mark.parametrize("quick", [False, True])
def test_a_side_reports_in_turns(
    quick: bool,
    script: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = SIDE.replace('raise SystemExit("must not be reached")', "return") if quick else SIDE
    (tmp_path / f"counting_side_{quick}.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with script("_common").start(tmp_path / f"counting_side_{quick}.py", "count", quick, to=2) as side:
        assert side.result() == {"ready": True}
        assert side.turn() == {"number": 0}
        assert side.turn() == {"number": 1}
    if not quick:
        assert side.process.returncode == 0  # it ended while it waited for a turn
        assert capsys.readouterr().err == "    a message\n"


def test_a_side_that_fails_ends_the_benchmark(script: Callable[[str], Any]) -> None:
    with (
        pytest.raises(SystemExit, match="exit code 3"),
        script("_common").Child(sys.executable, "-c", "raise SystemExit(3)") as side,
    ):
        side.result()


def test_render(script: Callable[[str], Any]) -> None:
    content = {
        "date": "2026-01-31",
        "machine": {"processor": "A CPU", "cores": 2, "versions": {"Python": "3.12.1", "torch": "2.15"}},
        "table": [["what", "time"], ["a", "1 s"]],
        "note": "A note.",
    }
    assert script("_common").render(content).splitlines() == [
        "| what | time |",
        "| --- | --- |",
        "| a | 1 s |",
        "",
        "A note. Measured on 2026-01-31 with 2 cores (A CPU): Python 3.12.1, torch 2.15.",
    ]
    content["machine"] |= {"cores": 1}  # type: ignore[operator]
    assert "with 1 core (A CPU)" in script("_common").render(content)
