"""Shared by the benchmarks: arguments, processes that take turns, tables, JSON files.

It needs only the standard library, because the interpreter of a peer imports it too.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

MARK = "@report "
"""Prefix of a child's output lines that are reports. All other lines are messages."""

# --- arguments


def existing(text: str) -> Path:
    """Return the absolute path of a file or directory. It is an argument's `type`."""
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: no such file or directory")
    return Path(text).resolve()


def new_file(text: str) -> Path:
    """Return the path of a file that does not exist yet. It is an argument's `type`."""
    if Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text}: exists already")
    return Path(text)


def make_parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=new_file, required=True, help="JSON file to write")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores for each side")
    parser.add_argument("--quick", action="store_true", help="a few small steps: check that the script runs")
    return parser


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments. Unless --quick is given, restrict this process and its children to --cores CPU cores.

    The number of cores also sets the size of thread pools.
    """
    arguments = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity") and not arguments.quick:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    return arguments


# --- processes that take turns


class Turns:
    """Functions of a measured side: send measurements to the benchmark, and wait for the next turn."""

    def report(self, **figures: Any) -> None:
        """Send measurements."""
        print(MARK + json.dumps(figures), flush=True)

    def wait(self, **figures: Any) -> None:
        """Send measurements, then wait for the next turn. End the process if there is none."""
        self.report(**figures)
        if not sys.stdin.readline():
            sys.exit()


Job = Callable[..., None]
"""A side's work: it takes `Turns` and the arguments of the side."""


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
        self.process.communicate()  # closes stdin: a process that waits for its turn ends

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


class Local(Turns):
    """A side that has run in this process, without waiting. Its methods return its reports as those of `Child` do."""

    def __init__(self, job: Job, arguments: Mapping[str, Any]) -> None:
        self.reports: deque[dict[str, Any]] = deque()
        job(self, **arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def report(self, **figures: Any) -> None:
        self.reports.append(json.loads(json.dumps(figures)))  # as through a pipe

    wait = report

    def result(self) -> dict[str, Any]:
        """Return the next report."""
        return self.reports.popleft()

    turn = result


def start(script: str | Path, job: str, quick: bool, **arguments: Any) -> Child | Local:
    """Start a side.

    Args:
        script: a file with a dictionary JOBS of its sides, which calls `run_side`.
        job: a key of JOBS.
        quick: run the side in this process.
        arguments: those of the side, of types that JSON has.
    """
    if quick:
        return Local(importlib.import_module(Path(script).stem).JOBS[job], arguments)
    return Child(sys.executable, script, "--side", json.dumps([job, arguments]))


def run_side(jobs: Mapping[str, Job]) -> bool:
    """Run the side that `start` requested. Return False if this process is no side."""
    if sys.argv[1:2] != ["--side"]:
        return False
    job, arguments = json.loads(sys.argv[2])
    jobs[job](Turns(), **arguments)
    return True


# --- results


def say(text: str) -> None:
    """Print a progress message on stderr."""
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Finding:
    """A row of the result table."""

    what: str
    measured: str


def findings_table(findings: Sequence[Finding]) -> list[Sequence[str]]:
    """Return the rows of the table of measurements, headings first."""
    return [("measurement", "measured"), *((finding.what, finding.measured) for finding in findings)]


VECTOR_INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""Flag in /proc/cpuinfo → instructions that decide the speed of a network, the fastest first."""


def machine(packages: Sequence[str]) -> dict[str, Any]:
    """Return the processor, its load average, and the versions of Python and of packages."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    vectors = [name for flag, name in VECTOR_INSTRUCTIONS.items() if flag in flags][:1]
    return {
        "processor": ", ".join([names[0] if names else platform.processor(), *vectors]),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 2),
        "versions": {"Python": platform.python_version()} | installed_versions(packages),
    }


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def describe(arguments: argparse.Namespace, packages: Sequence[str]) -> dict[str, Any]:
    """Return the first part of the JSON file: the date, the machine and the options. Call it before measuring."""
    options = {name: value for name, value in vars(arguments).items() if isinstance(value, int | list)}
    return {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(packages), "options": options}


def finish(path: Path, content: Mapping[str, Any]) -> None:
    """Write the JSON file and print the table.

    Args:
        path: the file.
        content: `describe(…)`, the measurements, "table" (rows of text, headings first) and perhaps "note", a sentence
            for below the table.
    """
    write_json(path, content)
    print(render(content))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write all measurements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def render(content: Mapping[str, Any]) -> str:
    """Return the content of a benchmark's JSON file as Markdown: the table, the note, the machine."""
    headings, *rows = content["table"]
    lines = [" | ".join(cells) for cells in (headings, ["---"] * len(headings), *rows)]
    about = content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    cores = f"{about['cores']} core{'s' * (about['cores'] != 1)}"
    measured = f"Measured on {content['date']} with {cores} ({about['processor']}): {versions}."
    note = content.get("note", "")
    return "\n".join([*(f"| {line} |" for line in lines), "", f"{note} {measured}".strip()])
