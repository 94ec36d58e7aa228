"""Shared by the benchmarks: processes that take turns, the description of the machine, tables and JSON files.

It needs only the standard library, because the interpreter of a peer imports it too.
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
"""Prefix of a child's output lines that are reports. All other lines are messages."""


def report(**figures: Any) -> None:
    """Send measurements from a child to the parent."""
    print(MARK + json.dumps(figures), flush=True)


def wait_for_turn(**figures: Any) -> None:
    """Send measurements from a child to the parent, then wait until the parent gives the next turn."""
    report(**figures)
    if not sys.stdin.readline():
        sys.exit()


class Child:
    """A process that works during its turns and sleeps otherwise, so that the measured processes do not compete.

    Its stderr goes to this process's stderr, and so do its output lines that are not reports.
    """

    def __init__(self, *command: str | Path) -> None:
        # The comparison is on CPU cores. An accelerator is hidden.
        env = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def result(self) -> dict[str, Any]:
        """Wait for the next report and return it."""
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
            say(f"    {line.rstrip()}")
        sys.exit(f"a process of this benchmark ended early, with exit code {self.process.wait()}: see above")

    def finish(self) -> None:
        """Wait for the end of a process that sends no reports."""
        for line in self.process.stdout:
            say(f"    {line.rstrip()}")
        if self.process.wait():
            sys.exit(f"a process of this benchmark failed, with exit code {self.process.returncode}: see above")

    def turn(self) -> dict[str, Any]:
        """Give the child a turn, and return its report."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.result()


def say(text: str) -> None:
    """Print a progress message on stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Finding:
    """A row of the result table. `meets` is None if there is no target."""

    what: str
    target: str
    measured: str
    meets: bool | None = None


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def findings_table(findings: Sequence[Finding]) -> str:
    """Return the table of measurements, targets and verdicts."""
    verdicts = {True: "meets", False: "misses", None: "–"}
    rows = [(finding.what, finding.target, finding.measured, verdicts[finding.meets]) for finding in findings]
    return markdown_table(("measurement", "target", "measured", "verdict"), rows)


def use_cores(count: int) -> None:
    """Restrict this process and its children to a number of CPU cores, which also sets the size of thread pools."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Return the processor, its load average, and the versions of Python and of packages."""
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
    """Write all measurements and the rows of the table."""
    content = figures | ({"findings": [asdict(finding) for finding in findings]} if findings else {})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
