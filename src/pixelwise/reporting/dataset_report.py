"""Write the report of an inspected data set: report.json, report.html and plan.yaml."""

import json
from dataclasses import asdict
from pathlib import Path

from jinja2 import Environment, PackageLoader

from pixelwise.data.analysis.class_stats import ClassStats, Percentiles
from pixelwise.data.analysis.file_survey import EXAMPLES_PER_FOLDER
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.analysis.symmetry import ImageSymmetry
from pixelwise.data.schema import SPLITS, DataIssue
from pixelwise.data.task import MULTILABEL
from pixelwise.palette import to_hex
from pixelwise.planning.plan import Plan
from pixelwise.reporting.class_examples import Example, class_examples
from pixelwise.reporting.commands import inspect_commands, train_command
from pixelwise.reporting.console import (
    CLASS_COLUMNS,
    LEAKAGE,
    describe_files,
    group_by_kind,
    issue_heading,
    values_by_class,
)
from pixelwise.reporting.folder_examples import folder_examples
from pixelwise.runtime.atomic import atomic_directory
from pixelwise.runtime.files import write_errors
from pixelwise.runtime.progress import Progress, no_progress

_ENCODING_ERRORS = "backslashreplace"
"""Error handler for file names that are not valid UTF-8. A byte becomes an escape (\\udce9) that JSON parsers read."""


def write_dataset_report(
    report: DatasetReport, plan: Plan | None, folder: str | Path, progress: Progress = no_progress
) -> None:
    """Write a new directory with plan.yaml, report.json and report.html.

    report.html embeds its images and refers to no other file. If writing fails, there is no directory.

    Args:
        report: the result of `inspect`.
        plan: the plan made from the report, or None if no model can be trained on the data set.
        folder: the directory to write, which must be absent or empty.
        progress: draws a progress bar over the classes, see `Progress`.

    Raises:
        OutputError: The directory cannot be written.
    """
    folder = Path(folder)
    with write_errors(folder), atomic_directory(folder) as part:
        if plan is not None:
            plan.write(part / "plan.yaml")
        text = json.dumps(as_json(report), indent=1, ensure_ascii=False) + "\n"
        (part / "report.json").write_text(text, encoding="utf-8", errors=_ENCODING_ERRORS)
        examples = {
            stats.name: class_examples(stats, index, report.data.read_spec, len(report.classes))
            for index, stats in progress(enumerate(report.classes), len(report.classes))
        }
        page = _render(report, plan, examples, folder)
        (part / "report.html").write_text(page, encoding="utf-8", errors=_ENCODING_ERRORS)


def as_json(report: DatasetReport) -> dict[str, object]:
    """Convert the report to JSON types. Splits are given by their number of records."""
    data = report.data
    mask_values = values_by_class(data)
    # The keys are those of version 0.1, because other programs read them.
    return {
        "root": str(data.root),
        "format": data.format,
        "photos": report.image_count,
        "masks": report.mask_count,
        "splits": _split_sizes(report),
        "groups": data.group_summary or None,
        "notes": list(data.messages),
        "widths": _percentiles(report.widths),
        "heights": _percentiles(report.heights),
        "aspect_ratios": _percentiles(report.aspect_ratios),
        "modes": dict(report.modes),
        "channel_means": list(report.channel_means),
        "channel_stds": list(report.channel_stds),
        "multilabel": data.read_spec.task is MULTILABEL,
        "ignored": report.ignored_fraction,
        "classes": [_class_as_json(stats, mask_values[stats.name]) for stats in report.classes],
        "problems": [_issue_as_json(issue) for issue in report.issues],
        "obstacle": report.obstacle or None,
        "choices": [dict(choice) for choice in report.choices],
        "folders": [
            {"folder": each.folder, "files": dict(each.suffixes), "role": each.role or None} for each in report.folders
        ],
        "symmetry": _symmetry_as_json(report.symmetry),
        "seconds": report.seconds,
    }


def _symmetry_as_json(symmetry: ImageSymmetry | None) -> dict[str, object] | None:
    """Return the result of the test of whether images have an up. The keys are the attributes of `ImageSymmetry`."""
    if symmetry is None:
        return None
    return {"has_up": symmetry.has_up, "allows_quarter_turns": symmetry.allows_quarter_turns, **asdict(symmetry)}


def _class_as_json(stats: ClassStats, mask_values: str) -> dict[str, object]:
    return {
        "name": stats.name,
        "levels": mask_values,
        "colour": to_hex(stats.color),
        "pixels": stats.pixels,
        "share": stats.pixel_fraction,
        "photos": stats.image_count,
        "objects": stats.object_count,
        "side": _percentiles(stats.relative_size),
        "width": stats.mean_width,
        "width_px": stats.width,
    }


def _issue_as_json(issue: DataIssue) -> dict[str, object]:
    return {"kind": issue.kind, "file": issue.file, "what": issue.message, "usable": issue.severity == "warning"}


def _percentiles(values: Percentiles | None) -> dict[str, float] | None:
    if values is None:
        return None
    return {
        "least": values.min,
        "low": values.p10,
        "median": values.median,
        "high": values.p90,
        "greatest": values.max,
    }


def _split_sizes(report: DatasetReport) -> dict[str, int]:
    return {split: len(getattr(report.data, split)) for split in SPLITS}


def _render(report: DatasetReport, plan: Plan | None, examples: dict[str, list[Example]], folder: Path) -> str:
    environment = Environment(
        loader=PackageLoader("pixelwise.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    root, issues = report.data.root, group_by_kind(report.issues)
    return environment.get_template("dataset_report.html").render(
        name=Path(root).resolve().name,
        report=report,
        data=report.data,
        plan=plan,
        train_command=train_command(root, folder / "plan.yaml", report),
        answers=inspect_commands(root, report),
        folder_examples={content.folder: folder_examples(content) for content in report.folders},
        examples=examples,
        leakage=LEAKAGE,
        mask_values=values_by_class(report.data),
        colors={stats.name: stats.color for stats in report.classes},
        columns=CLASS_COLUMNS,
        issues=issues,
        headings={kind: issue_heading(kind, group, root) for kind, group in issues.items()},
        splits=_split_sizes(report),
        sizes={
            "width (pixels)": (report.widths, "%.0f"),
            "height (pixels)": (report.heights, "%.0f"),
            "width ÷ height": (report.aspect_ratios, "%.2f"),
        },
        max_fraction=max((stats.pixel_fraction for stats in report.classes), default=0.0) or 1.0,
        multilabel=report.data.read_spec.task is MULTILABEL,
        max_examples=EXAMPLES_PER_FOLDER,
        describe_files=describe_files,
    )
