"""`pixelwise inspect`.

This module does not import torch, so that `pixelwise inspect --help` starts quickly.
"""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pixelwise.cli.common import check_absent, data_name, report_with_flags
from pixelwise.cli.components import DataPath, check_data_exists
from pixelwise.cli.data_flags import DataFlags
from pixelwise.errors import ConfigError, PixelwiseError, printable
from pixelwise.runtime.files import next_free_path
from pixelwise.runtime.progress import Progress, ProgressBars

if TYPE_CHECKING:
    from pixelwise.data.analysis.inspection import DatasetReport
    from pixelwise.planning.plan import Plan


def inspect_command(
    data: DataPath,
    /,
    *others: Annotated[DataPath, Parameter(show=False)],
    out: Path | None = None,
    masks: DataFlags | None = None,
) -> int:
    """Inspect a data set and write a report and a plan.

    Args:
        data: Directory of the data set, a table, or a URL.
        out: Directory of the report, which must not exist. [default: NAME-inspect, NAME from DATA]
    """
    if others:
        raise ConfigError(
            f"{others[0]}: inspect reports on one data set; inspect each by itself, then train on all of them: "
            f"pixelwise train {shlex.join(map(str, (data, *others)))}"
        )
    check_data_exists([data])
    check_absent(out or _free_folder(data))
    from pixelwise.data.analysis.inspection import inspect_with_options
    from pixelwise.reporting.commands import inspect_commands, train_command
    from pixelwise.reporting.console import print_dataset_report, print_plan
    from pixelwise.reporting.dataset_report import write_dataset_report

    options = (masks or DataFlags()).label_options(skip_unreadable=True)
    with ProgressBars() as bars:
        report = inspect_with_options(data, options, progress=bars.track("scanning images"))
        report, plan = _plan(report, bars.track("timing steps"))
    report = report_with_flags(report)
    print_dataset_report(report)
    if plan is not None:
        print_plan(plan)
    folder = out or _free_folder(data)
    with ProgressBars() as bars:
        write_dataset_report(report, plan, folder, progress=bars.track("drawing classes"))
    print(printable(f"report: {folder / 'report.html'}"))
    if plan is None:
        print(f"no plan: {printable(report.obstacle)}")
        for command in inspect_commands(data, report):
            print(printable(f"answer:  {command}"))
    else:
        print(printable(f"plan:   {folder / 'plan.yaml'}"))
        print(printable(f"train:  {train_command(data, folder / 'plan.yaml', report)}"))
    has_errors = any(issue.severity == "error" for issue in report.issues)
    return 1 if has_errors or not report.is_decided else 0


def _free_folder(data: str) -> Path:
    return next_free_path(Path(f"{data_name(data)}-inspect"))


def _plan(report: "DatasetReport", progress: Progress) -> tuple["DatasetReport", "Plan | None"]:
    """Make the plan of an inspected data set.

    Returns:
        The report with the issues of the plan added, and the plan. The plan is None if no model can be trained.
    """
    from pixelwise.planning.checks import find_plan_issues
    from pixelwise.planning.rules import make_plan

    if report.obstacle:
        return report, None
    try:
        plan = make_plan(report, progress=progress)
    except PixelwiseError as error:  # for example, the machine has too little memory
        return replace(report, obstacle=str(error)), None
    return replace(report, issues=(*report.issues, *find_plan_issues(report, plan))), plan
