"""`pixelwise inspect`."""

from pathlib import Path

from pixelwise.cli.common import check_absent, data_name
from pixelwise.cli.data_flags import DataFlags
from pixelwise.data.analysis.inspection import inspect_with_options
from pixelwise.planning.rules import make_plan
from pixelwise.reporting.console import print_dataset_report, print_plan
from pixelwise.reporting.dataset_report import write_dataset_report
from pixelwise.runtime.files import next_free_path
from pixelwise.runtime.progress import ProgressBars


def inspect_command(data: str, /, *, out: Path | None = None, masks: DataFlags | None = None) -> int:
    """Inspect a data set and write a report and a plan.

    Args:
        data: Directory of the data set, a table, or a URL.
        out: Directory of the report, which must not exist. [default: NAME-inspect, NAME from DATA]
    """
    check_absent(out)
    options = (masks or DataFlags()).label_options(skip_unreadable=True)
    with ProgressBars() as bars:
        report = inspect_with_options(data, options, progress=bars.track("scanning images"))
        plan = make_plan(report, progress=bars.track("timing steps"))
        folder = out or next_free_path(Path(f"{data_name(data)}-inspect"))
        write_dataset_report(report, plan, folder, progress=bars.track("drawing classes"))
    print_dataset_report(report)
    print_plan(plan)
    print(f"report: {folder / 'report.html'}\nplan:   {folder / 'plan.yaml'}")
    print(f"train:  pixelwise train {data} --plan {folder / 'plan.yaml'}")
    return 1 if any(issue.severity == "error" for issue in report.issues) else 0
