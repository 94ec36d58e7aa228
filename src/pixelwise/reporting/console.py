"""What is told to a person: sheets of images, tables of figures, and where things are."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.schema import SPLITS, DataIssue, DatasetIndex
from pixelwise.data.spec import DatasetSpec
from pixelwise.metrics.confusion import Metrics
from pixelwise.planning.plan import Plan
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.yaml_text import yaml_line


def print_dataset(data: DatasetIndex) -> None:
    """Print a data set's format, classes and the size of each split."""
    sizes = ", ".join(f"{len(getattr(data, split))} {split}" for split in SPLITS if getattr(data, split))
    print(f"{data.root}: {data.format}, images: {sizes}\nclasses: {', '.join(data.classes)}")
    for note in data.messages:
        print(note)


def print_plan(plan: Plan) -> None:
    """Print a plan's settings with their reasons."""
    print("plan:")
    for name, value in plan.settings.items():
        print(f"  {yaml_line(name, value, plan.reasons.get(name, ''))}")


def print_metrics(metrics: Metrics, split: str) -> None:
    """Print a table of the figures, in percent, one row a class."""
    where = "the images' own size" if metrics.resolution == "original" else f"{metrics.resolution} pixels"
    table = Table(title=f"{split}: {metrics.image_count} images at {where}", title_justify="left")
    table.add_column("class")
    for heading in ("IoU", "Dice", "precision", "recall", "pixels"):
        table.add_column(heading, justify="right")
    total = max(1, sum(figures.pixels for figures in metrics.classes.values()))
    for name, figures in metrics.classes.items():
        values = (figures.iou, figures.dice, figures.precision, figures.recall)
        cells = ["absent" if figures.iou is None else "–" if value is None else f"{value:.1%}" for value in values]
        table.add_row(escape(name), *cells, f"{figures.pixels / total:.1%}")
    Console().print(table)
    accuracy, miou = ("–" if value is None else f"{value:.2%}" for value in (metrics.accuracy, metrics.mean_iou))
    absent = (
        f" (over the classes present; absent: {', '.join(metrics.absent_classes)})" if metrics.absent_classes else ""
    )
    print(f"accuracy {accuracy} · mean IoU {miou}{absent}")


def print_run(run: Run) -> None:
    """Print a training's best epoch, and where its model and images are."""
    rows = run.read_metrics()
    best = max(rows, key=lambda row: row["val_miou"] or 0.0)
    print(
        f"best: epoch {best['epoch']:.0f} of {len(rows)}, validation mIoU {best['val_miou'] or 0.0:.3f} "
        f"(trained {rows[-1]['train_seconds']:.0f} s)\n"
        f"model:    {run.path}/model.safetensors\n"
        f"images: {run.samples_animation}, {run.history_image}, {run.architecture_image}"
    )


LOUD = "leakage"
"""The kind of problem that is told before all others: it makes every figure too good."""


MAX_SHOWN = 5
"""Of each kind of problem, so many files are told on the terminal; the reports have all."""


def by_kind(problems: Iterable[DataIssue]) -> dict[str, list[DataIssue]]:
    """Problems by their kind: leakage, then what cannot be used, then the rest."""
    found: dict[str, list[DataIssue]] = {}
    for problem in problems:
        found.setdefault(problem.kind, []).append(problem)
    return dict(sorted(found.items(), key=lambda item: (item[0] != LOUD, item[1][0].severity == "warning", item[0])))


def levels(found: DatasetReport) -> dict[str, str]:
    """Class → the levels in masks that stand for it; "" where the data set's own files name classes."""
    return {name: ", ".join(each.values) for name, each in DatasetSpec.of(found.data).classes.items()}


def print_dataset_report(found: DatasetReport) -> None:
    """Print what was found: splits, sizes, classes, how masks are read, and every kind of problem."""
    data, console = found.data, Console(soft_wrap=True, highlight=False)
    sizes = ", ".join(f"{len(getattr(data, split))} {split}" for split in SPLITS if getattr(data, split))
    print(f"{data.root}: {data.format}, {found.image_count} images and {found.mask_count} masks; usable pairs: {sizes}")
    print(
        f"sizes: {found.widths.min:.0f} to {found.widths.max:.0f} wide, {found.heights.min:.0f} to "
        f"{found.heights.max:.0f} high, mostly about {found.widths.median:.0f}x{found.heights.median:.0f} "
        f"(width over height {found.aspect_ratios.p10:.2f} to {found.aspect_ratios.p90:.2f})"
    )
    for note in data.messages:
        print(note)
    if data.group_summary:
        print(f"groups: {data.group_summary}")
    table = Table(title=f"classes; {found.ignored_fraction:.2%} of pixels are ignored", title_justify="left")
    table.add_column("class")
    for heading in ("in masks", "pixels", "images", "objects", "side", "width"):
        table.add_column(heading, justify="right")
    written = levels(found)
    for each in found.classes:
        side = "–" if each.relative_size is None else f"{each.relative_size.median:.1%}"
        width = "–" if each.mean_width is None else f"{each.mean_width:.1%}"
        swatch = "[on #{:02x}{:02x}{:02x}]  [/] ".format(*each.color)
        cells = (
            written[each.name],
            f"{each.pixel_fraction:.2%}",
            f"{each.image_count}",
            f"{each.object_count}",
            side,
            width,
        )
        table.add_row(swatch + each.name.replace("[", "\\["), *cells)
    console.print(table)
    for kind, problems in by_kind(found.issues).items():
        style = "bold red" if kind == LOUD else "yellow" if problems[0].severity == "warning" else "red"
        heading = kind.upper() if kind == LOUD else kind
        console.print(f"{heading}: {len(problems)} file{'s' * (len(problems) != 1)}", style=style)
        for problem in problems[:MAX_SHOWN]:
            print(f"  {problem}")
        if len(problems) > MAX_SHOWN:
            print(f"  … and {len(problems) - MAX_SHOWN} more, all in report.html and report.json")
    if not found.issues:
        print("no problem was found")
    print(f"looked at all in {found.seconds:.1f} s")
