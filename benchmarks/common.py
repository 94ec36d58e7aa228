"""What the benchmarks share: processes that take turns, the machine's description, the table, the JSON.

The standard library alone: a peer's interpreter imports this too.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

MARK = "@report "
"""Starts the lines of a child's output that are reports; all other lines are for people."""


def report(**figures: Any) -> None:
    """In a child: give the parent some figures."""
    print(MARK + json.dumps(figures), flush=True)


def rest(**figures: Any) -> None:
    """In a child: report, then do nothing until the parent gives the turn back."""
    report(**figures)
    if not sys.stdin.readline():
        sys.exit()


class Child:
    """A process that works when it has the turn and otherwise sleeps, so that nobody's threads disturb another.

    Its errors and progress bars go to this process's stderr as they are; so do its lines that are no report.
    """

    def __init__(self, *command: str | Path) -> None:
        # What is compared is two CPU cores; an accelerator that happens to be there is left alone.
        env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def result(self) -> dict[str, Any]:
        """The next report."""
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
            say(f"    {line.rstrip()}")
        sys.exit(f"a process of this benchmark ended early, with exit code {self.process.wait()}: see above")

    def finish(self) -> None:
        """Wait for the end of a process that gives no reports."""
        for line in self.process.stdout:
            say(f"    {line.rstrip()}")
        if self.process.wait():
            sys.exit(f"a process of this benchmark failed, with exit code {self.process.returncode}: see above")

    def turn(self) -> dict[str, Any]:
        """Give the turn, and wait for what was done with it."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.result()


def say(text: str) -> None:
    """Tell the person who watches what happens now."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Finding:
    """A row of the table: `meets` is None where there is no target to meet."""

    what: str
    target: str
    measured: str
    meets: bool | None = None


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that reads well as text and as Markdown."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def findings_table(findings: Sequence[Finding]) -> str:
    """What was to be shown, and whether it was."""
    verdicts = {True: "meets", False: "falls short", None: "–"}
    rows = [(each.what, each.target, each.measured, verdicts[each.meets]) for each in findings]
    return markdown_table(("what", "target", "measured", "verdict"), rows)


def use_cores(count: int) -> None:
    """Keep this process and its children to so many CPU cores; they size their thread pools by it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """What the figures hold for: the processor, how busy it was before, and the packages' versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def write_json(path: Path, figures: dict[str, Any], findings: Sequence[Finding] = ()) -> None:
    """Write everything that was measured."""
    whole = figures | ({"findings": [asdict(each) for each in findings]} if findings else {})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
