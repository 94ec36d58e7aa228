"""Write the report of an inspected data set: report.json, report.html, plan.yaml and one overlay grid per class."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

from pixelwise.data.analysis.class_stats import ClassStats, Percentiles
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import SPLITS, DataIssue, ReadSpec
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.planning.plan import Plan
from pixelwise.reporting.console import LEAKAGE, group_by_kind, values_by_class
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.visualization import overlay_grid, save_image, to_display_image

GRID_WIDTH = 1280
"""Width of a class's overlay grid in pixels."""

_ENCODING_ERRORS = "backslashreplace"
"""File names that are not valid UTF-8 become \\udce9, which JSON reads back."""


def write_dataset_report(
    report: DatasetReport, plan: Plan, folder: str | Path, progress: Progress = no_progress
) -> None:
    """Write plan.yaml, report.json, sheets/NN-CLASS.png and, last, report.html.

    report.html embeds its images and refers to no other file. Each file in sheets/ is a grid that shows a class in its
    color on example images, in descending order of the class's area.

    Args:
        report: the result of `inspect`.
        plan: the plan made from it.
        folder: the directory, which is created if it does not exist.
        progress: draws a progress bar over the classes.

    Raises:
        PixelwiseError: The directory cannot be written.
    """
    folder = Path(folder)
    plan.write(folder / "plan.yaml")
    with atomic_write(folder / "report.json") as part:
        text = json.dumps(as_json(report), indent=1, ensure_ascii=False) + "\n"
        part.write_text(text, encoding="utf-8", errors=_ENCODING_ERRORS)
    grids = {}
    for index, stats in progress(enumerate(report.classes), len(report.classes)):
        grid = class_grid(stats, index, report.data.read_spec)
        if grid is not None:
            name = re.sub(r"[^\w.-]+", "_", stats.name)[:80]
            save_image(grid, folder / "sheets" / f"{index:02d}-{name}.png")
            grids[stats.name] = _data_url(grid)
    with atomic_write(folder / "report.html") as part:
        part.write_text(_render(report, plan, grids), encoding="utf-8", errors=_ENCODING_ERRORS)


def as_json(report: DatasetReport) -> dict[str, object]:
    """Return the report as JSON types. Splits have the number of their records, not the records themselves."""
    data = report.data
    mask_values = values_by_class(data)
    # The keys are those of version 0.1: programs read them.
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
        "seconds": report.seconds,
    }


def class_grid(stats: ClassStats, index: int, read_spec: ReadSpec) -> Image.Image | None:
    """Draw a class in its color on its example images, with all other pixels dimmed or brightened.

    Args:
        stats: the class.
        index: its index.
        read_spec: how images and masks are read.

    Returns:
        A PIL image `GRID_WIDTH` pixels wide, or None if no example image can be read.
    """
    images, masks, names = [], [], []
    for record in stats.examples:
        try:
            image, mask = read_image_and_mask(record, read_spec)
        except DataError:  # the file was removed or changed after the scan
            continue
        # A full-size photo costs seconds, and its cell shows at most half the grid's width.
        step = max(1, max(mask.shape[-2:]) // GRID_WIDTH)
        image, mask = image[::step, ::step], mask[..., ::step, ::step]
        region = read_spec.task.class_region(mask, index)
        images.append(np.ascontiguousarray(to_display_image(image)))
        masks.append(np.where(region, 0, 1).astype(np.uint8))
        names.append(f"{region.mean():.1%} {record.image.name}")
    if not images:
        return None
    # The rest is dark for bright class colors and bright for dark ones: a class drawn in black must be visible too.
    rest = (0, 0, 0) if max(stats.color) > 80 else (255, 255, 255)
    title = f"{stats.name}: {stats.pixel_fraction:.2%} of pixels, in {stats.image_count} images"
    return overlay_grid(images, masks, names, (stats.name, "other pixels"), (stats.color, rest), title, 2, GRID_WIDTH)


def _class_as_json(stats: ClassStats, mask_values: str) -> dict[str, object]:
    return {
        "name": stats.name,
        "levels": mask_values,
        "colour": "#{:02x}{:02x}{:02x}".format(*stats.color),
        "pixels": stats.pixels,
        "share": stats.pixel_fraction,
        "photos": stats.image_count,
        "objects": stats.object_count,
        "side": None if stats.relative_size is None else _percentiles(stats.relative_size),
        "width": stats.mean_width,
    }


def _issue_as_json(issue: DataIssue) -> dict[str, object]:
    return {"kind": issue.kind, "file": issue.file, "what": issue.message, "usable": issue.severity == "warning"}


def _percentiles(values: Percentiles) -> dict[str, float]:
    return {
        "least": values.min,
        "low": values.p10,
        "median": values.median,
        "high": values.p90,
        "greatest": values.max,
    }


def _split_sizes(report: DatasetReport) -> dict[str, int]:
    return {split: len(getattr(report.data, split)) for split in SPLITS}


def _data_url(image: Image.Image) -> str:
    content = io.BytesIO()
    image.save(content, "WEBP", quality=75)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _render(report: DatasetReport, plan: Plan, grids: dict[str, str]) -> str:
    environment = Environment(
        loader=PackageLoader("pixelwise.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("dataset_report.html").render(
        name=Path(report.data.root).resolve().name,
        report=report,
        data=report.data,
        plan=plan,
        grids=grids,
        leakage=LEAKAGE,
        mask_values=values_by_class(report.data),
        issues=group_by_kind(report.issues),
        splits=_split_sizes(report),
        sizes={
            "width (pixels)": (report.widths, "%.0f"),
            "height (pixels)": (report.heights, "%.0f"),
            "width ÷ height": (report.aspect_ratios, "%.2f"),
        },
        max_fraction=max((stats.pixel_fraction for stats in report.classes), default=0.0) or 1.0,
        multilabel=report.data.read_spec.task is MULTILABEL,
    )
