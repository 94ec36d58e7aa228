"""Print data sets, plans and results for the command line."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixelwise.data.analysis.checks import NOT_READ, NOTHING_TO_LEARN, NOTHING_USABLE, UNDECIDED
from pixelwise.data.analysis.class_stats import ClassStats
from pixelwise.data.analysis.file_survey import FolderContent
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.index import DatasetIndex
from pixelwise.data.join import class_indices
from pixelwise.data.schema import SPLITS, DataIssue
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import printable
from pixelwise.metrics.confusion import ClassMetrics, Metrics
from pixelwise.palette import to_hex
from pixelwise.planning.plan import Plan
from pixelwise.runtime.yaml_text import yaml_line

LEAKAGE = "leakage"
"""Issue kind that is listed first, because it inflates all metrics."""

CLASS_COLUMNS = {
    "mask values": "the values in the mask files that stand for the class",
    "pixels": "fraction of all pixels that are not ignored",
    "images": "number of images that show the class",
    "objects": "number of connected regions; regions below 5 pixels, in masks reduced to 256 pixels, do not count",
    "object size": "median side of an object (the square root of its area), relative to the side of the image",
    "width": "median width of the regions in image pixels: the thickness of a strip, the side of a compact region",
}
"""Column of the class table → its meaning. In it, "the side of the image" is the square root of its area in pixels."""

MAX_FILES_PER_KIND = 5
"""Maximum number of files that the command line prints for each kind of issue. The report files list all."""


def print_dataset(data: DatasetIndex) -> None:
    """Print the format, the classes, the number of images of each split, and the messages about the data set."""
    print(printable(f"{data.root}: {data.format}, images: {_split_sizes(data)}"))
    print(printable(f"classes: {', '.join(data.classes)}"))
    for message in data.messages:
        print(printable(message))


def print_plan(plan: Plan) -> None:
    """Print the settings of a plan with their reasons."""
    print("plan:")
    for name, value in plan.settings.items():
        print(printable(f"  {yaml_line(name, value, plan.reasons.get(name, ''))}"))


def print_metrics(metrics: Metrics, split: str, extra: Mapping[str, float | None] | None = None) -> None:
    """Print a table with the metrics of each class in percent, then accuracy, mean IoU and other metrics.

    Args:
        metrics: the metrics of an evaluation.
        split: the name of the split, for the title.
        extra: other metrics by name, printed as numbers, not in percent.
    """
    size = "the images' own size" if metrics.resolution == "original" else f"{metrics.resolution} pixels"
    table = Table(title=f"{split}: {metrics.image_count} images at {size}", title_justify="left")
    table.add_column("class")
    for heading in ("IoU", "Dice", "precision", "recall", "pixels"):
        table.add_column(heading, justify="right")
    total = max(1, sum(values.pixels for values in metrics.classes.values()))
    for name, values in metrics.classes.items():
        table.add_row(Text(printable(name)), *_metric_cells(values), f"{values.pixels / total:.1%}")
    Console().print(table)
    accuracy, mean_iou = ("–" if value is None else f"{value:.2%}" for value in (metrics.accuracy, metrics.mean_iou))
    names = printable(", ".join(metrics.absent_classes))
    absent = f" (mean over the classes that are present; absent: {names})" if names else ""
    print(f"accuracy {accuracy} · mean IoU {mean_iou}{absent}")
    for name, value in (extra or {}).items():
        print(f"{name}: {'–' if value is None else f'{value:.4f}'}")


def print_dataset_report(report: DatasetReport, explain_columns: bool = True) -> None:
    """Print the splits, image sizes, classes and issues of an inspected data set.

    Args:
        report: the result of `inspect`.
        explain_columns: print the meaning of each column of the class table.
    """
    data = report.data
    print(
        printable(
            f"{data.root}: {data.format or 'format not decided'}, {report.image_count} images and "
            f"{report.mask_count} masks; "
            f"usable pairs: {_split_sizes(data) or 'none'}"
        )
    )
    if report.widths and report.heights and report.aspect_ratios:
        print(
            f"sizes: {report.widths.min:.0f} to {report.widths.max:.0f} wide, {report.heights.min:.0f} to "
            f"{report.heights.max:.0f} high, median {report.widths.median:.0f}x{report.heights.median:.0f} "
            f"(width over height {report.aspect_ratios.p10:.2f} to {report.aspect_ratios.p90:.2f})"
        )
    for message in data.messages:
        print(printable(message))
    if data.group_summary:
        print(f"groups: {printable(data.group_summary)}")
    for content in report.folders:
        print(printable(f"  {content.folder}/ has {describe_files(content)}"))
    console = Console(soft_wrap=True, highlight=False)
    if report.classes:
        console.print(_class_table(report))
        if explain_columns:
            print("\n".join(f"  {column}: {text}" for column, text in CLASS_COLUMNS.items()))
    _print_issues(report, console)
    print(f"inspected in {report.seconds:.1f} s")


def describe_files(content: FolderContent) -> str:
    """Return the numbers of files of a folder and its role, for example "12 .png files (masks)"."""
    files = ", ".join(f"{count} .{suffix}" for suffix, count in content.suffixes.items())
    return f"{files} file{'s' * (sum(content.suffixes.values()) != 1)}{f' ({content.role})' if content.role else ''}"


def group_by_kind(issues: Iterable[DataIssue]) -> dict[str, list[DataIssue]]:
    """Group issues by kind.

    The order of the kinds is: problems of the whole data set that prevent a training (not read as a data set, undecided
    masks, nothing usable, nothing to learn), leakage, other errors, other warnings. Kinds of equal rank are in
    alphabetical order.
    """
    groups: dict[str, list[DataIssue]] = {}
    for issue in issues:
        groups.setdefault(issue.kind, []).append(issue)

    def rank(item: tuple[str, list[DataIssue]]) -> tuple[bool, bool, bool, str]:
        kind, (first, *_) = item
        return (
            kind not in (NOT_READ, UNDECIDED, NOTHING_USABLE, NOTHING_TO_LEARN),
            kind != LEAKAGE,
            first.severity == "warning",
            kind,
        )

    return dict(sorted(groups.items(), key=rank))


def issue_heading(kind: str, group: Sequence[DataIssue], root: Path | str) -> str:
    """Return the heading of the issues of one kind.

    Args:
        kind: the kind.
        group: its issues.
        root: the path of the data set. Issues about the whole data set have this path as their file.

    Returns:
        The kind, the number of files, and for errors ", cannot be used". If all issues are about the whole data set,
        only the kind.

    >>> issue_heading("copy", [DataIssue("copy", "a.png", "remove it", "warning")], "pets")
    'copy: 1 file'
    """
    if all(issue.file == str(root) for issue in group):
        return kind
    unusable = "" if group[0].severity == "warning" else ", cannot be used"
    return f"{kind}: {len(group)} file{'s' * (len(group) != 1)}{unusable}"


def values_by_class(data: DatasetIndex) -> dict[str, str]:
    """Return class name → the mask values that stand for the class, joined by commas.

    If the data set's files name the classes, the names in these files replace the values. "all others" stands for all
    values that no class lists. If data sets were joined, the values in different data sets are separated by semicolons.
    """
    if data.sets:
        return _values_of_sets(data)
    spec = DatasetSpec.of(data)
    others = {spec.other_class: ("all others",)} if spec.kind != "multilabel" else {}
    return {name: ", ".join((*item.values, *others.get(name, ()))) for name, item in spec.classes.items()}


def _values_of_sets(data: DatasetIndex) -> dict[str, str]:
    """Return class name → its mask values in each of the joined data sets, without repetitions."""
    values: dict[str, dict[str, None]] = {name: {} for name in data.classes}
    for part, indices in zip(data.sets, class_indices(data), strict=True):
        for index, text in zip(indices, values_by_class(part).values(), strict=True):
            values[data.classes[index]][text] = None
    return {name: "; ".join(texts) for name, texts in values.items()}


def _split_sizes(data: DatasetIndex) -> str:
    return ", ".join(f"{len(getattr(data, split))} {split}" for split in SPLITS if getattr(data, split))


def _metric_cells(values: ClassMetrics) -> list[str]:
    if values.iou is None:
        return ["absent"] * 4
    percentages = (values.iou, values.dice, values.precision, values.recall)
    return ["–" if value is None else f"{value:.1%}" for value in percentages]


def _class_table(report: DatasetReport) -> Table:
    title = f"{'classes' if report.is_decided else 'values'}; {report.ignored_fraction:.2%} of pixels are ignored"
    table = Table(title=title, title_justify="left")
    table.add_column("class" if report.is_decided else "value")
    for heading in CLASS_COLUMNS:
        table.add_column(heading, justify="right")
    mask_values = values_by_class(report.data)
    for stats in report.classes:
        # Text instead of markup, because the name of a class can be valid markup, for example "[/red]".
        name = Text.assemble(("  ", f"on {to_hex(stats.color)}"), f" {printable(stats.name)}")
        table.add_row(name, Text(printable(mask_values[stats.name])), *_stats_cells(stats))
    return table


def _stats_cells(stats: ClassStats) -> list[str]:
    """Return the cells of the columns of `CLASS_COLUMNS` from "pixels" to "width"."""
    size = "–" if stats.relative_size is None else f"{stats.relative_size.median:.1%}"
    width = "–" if stats.width is None else f"{round(stats.width, 1):g} px"
    return [f"{stats.pixel_fraction:.2%}", str(stats.image_count), str(stats.object_count), size, width]


def _print_issues(report: DatasetReport, console: Console) -> None:
    groups = group_by_kind(report.issues)
    for kind, group in groups.items():
        style = "bold red" if kind == LEAKAGE else "yellow" if group[0].severity == "warning" else "red"
        heading = issue_heading(kind.upper() if kind == LEAKAGE else kind, group, report.data.root)
        console.print(Text(heading), style=style)
        for issue in group[:MAX_FILES_PER_KIND]:
            print(f"  {issue}")
        if len(group) > MAX_FILES_PER_KIND:
            print(f"  … and {len(group) - MAX_FILES_PER_KIND} more, all in report.html and report.json")
    if not groups:
        print("no problems")
