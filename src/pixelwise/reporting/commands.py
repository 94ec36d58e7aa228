"""Shell commands for the reports on data sets."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.label_map.options import LabelOptions


def train_command(data: str | Path, plan: str | Path, report: DatasetReport) -> str:
    """Return the shell command that trains with the plan of a report.

    Args:
        data: the data set.
        plan: path of the plan file.
        report: the report. If it has errors, the command has the flag --skip-unreadable. If files outside the data set
            were allowed, it has the flag --allow-outside.

    Returns:
        One line, quoted for a POSIX shell.

    >>> train_command("my pets", "plan.yaml", report)  # doctest: +SKIP
    "pixelwise train 'my pets' --plan plan.yaml"
    """
    has_errors = any(issue.severity == "error" for issue in report.issues)
    command = f"pixelwise train {shlex.quote(str(data))} --plan {shlex.quote(str(plan))}"
    return command + " --skip-unreadable" * has_errors + " --allow-outside" * report.allow_outside


def inspect_commands(data: str | Path, report: DatasetReport) -> list[str]:
    """Return a shell command for each known answer to the question of a report.

    Args:
        data: the data set.
        report: the report. Its options are repeated, except those that an answer replaces.

    Returns:
        One line for each of `report.choices`, quoted for a POSIX shell.
    """
    given = {field.name: getattr(report.options, field.name) for field in fields(LabelOptions)}
    defaults = LabelOptions()
    given = {
        name: value for name, value in given.items() if name != "skip_unreadable" and value != getattr(defaults, name)
    }
    if "label_map" in given:
        given["label_map"] = dict(given["label_map"])
    return [shlex.join(["pixelwise", "inspect", str(data), *_flags(given | dict(choice))]) for choice in report.choices]


def _flags(arguments: Mapping[str, object]) -> Iterator[str]:
    """Yield the flags and the values for arguments of `inspect`."""
    for name, value in arguments.items():
        yield f"--{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            yield from (f"{key}={item}" for key, item in value.items())
        elif isinstance(value, tuple | list):
            yield from map(str, value)
        elif value is not True:
            yield str(value)
