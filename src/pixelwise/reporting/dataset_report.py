"""What `pixelwise inspect` tells: tables on the terminal; report.json, report.html and class sheets in a folder."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image

from pixelwise.data.analysis.inspection import ClassStats, DatasetReport, Percentiles
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import SPLITS, ReadSpec
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import DataError
from pixelwise.planning.plan import Plan
from pixelwise.reporting.console import LOUD, by_kind, levels
from pixelwise.runtime.files import atomic_write
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.visualization import overlay_grid, save_image, to_display_image

SHEET_WIDTH = 1280


_NO_TEXT = "backslashreplace"
"""What becomes of names with bytes that are no text: \\udce9, which JSON reads back."""


def write_dataset_report(found: DatasetReport, plan: Plan, folder: Path, progress: Progress = no_progress) -> None:
    """Write report.json, plan.yaml, sheets/CLASS.png and, last, report.html, which needs no other file.

    A sheet has the class in its color on images that show it, from the most of it to the least. Raises
    PixelwiseError where the folder cannot be written.
    """
    plan.write(folder / "plan.yaml")
    with atomic_write(folder / "report.json") as part:
        text = json.dumps(as_json(found), indent=1, ensure_ascii=False) + "\n"
        part.write_text(text, encoding="utf-8", errors=_NO_TEXT)
    sheets = {}
    for index, facts in progress(enumerate(found.classes), len(found.classes)):
        sheet = class_sheet(facts, index, found.data.read_spec)
        if sheet is not None:
            name = re.sub(r"[^\w.-]+", "_", facts.name)[:80]
            save_image(sheet, folder / "sheets" / f"{index:02d}-{name}.png")
            sheets[facts.name] = _embedded(sheet)
    with atomic_write(folder / "report.html") as part:
        part.write_text(_page(found, plan, sheets), encoding="utf-8", errors=_NO_TEXT)


def as_json(found: DatasetReport) -> dict[str, object]:
    """An inspection as JSON holds it: paths as text, without the records of each split but with their number."""
    data, written = found.data, levels(found)
    return {
        "root": str(data.root),
        "format": data.format,
        "photos": found.image_count,
        "masks": found.mask_count,
        "splits": {split: len(getattr(data, split)) for split in SPLITS},
        "groups": data.group_summary or None,
        "notes": list(data.messages),
        "widths": _spread(found.widths),
        "heights": _spread(found.heights),
        "aspect_ratios": _spread(found.aspect_ratios),
        "modes": dict(found.modes),
        "channel_means": list(found.channel_means),
        "channel_stds": list(found.channel_stds),
        "multilabel": data.read_spec.task is MULTILABEL,
        "ignored": found.ignored_fraction,
        "classes": [
            {
                "name": each.name, "levels": written[each.name], "colour": "#{:02x}{:02x}{:02x}".format(*each.color),
                "pixels": each.pixels, "share": each.pixel_fraction, "photos": each.image_count, "objects": each.object_count,
                "side": None if each.relative_size is None else _spread(each.relative_size), "width": each.mean_width,
            }
            for each in found.classes
        ],
        "problems": [
            {"kind": each.kind, "file": each.file, "what": each.message, "usable": each.severity == "warning"} for each in found.issues
        ],
        "seconds": found.seconds,
    }  # fmt: skip


def _spread(values: Percentiles) -> dict[str, float]:
    return {
        "least": values.min, "low": values.p10, "median": values.median, "high": values.p90, "greatest": values.max
    }  # fmt: skip


def class_sheet(facts: ClassStats, index: int, reading: ReadSpec) -> Image.Image | None:
    """A class in its color on its example images, everything else dimmed; None where no image shows it."""
    images, masks, names = [], [], []
    for record in facts.examples:
        try:
            image, mask = read_image_and_mask(record, reading)
        except DataError:  # gone since it was looked at
            continue
        # Half of a large image is more than its cell shows.
        step = max(1, max(mask.shape[-2:]) // SHEET_WIDTH)
        image, mask = image[::step, ::step], mask[..., ::step, ::step]
        present = reading.task.class_region(mask, index)
        images.append(np.ascontiguousarray(to_display_image(image)))
        masks.append(np.where(present, 0, 1).astype(np.uint8))
        names.append(f"{present.mean():.1%} {record.image.name}")
    if not images:
        return None
    # Dark beside bright, bright beside dark: a class that its data set draws in black must be seen too.
    other = (0, 0, 0) if max(facts.color) > 80 else (255, 255, 255)
    title = f"{facts.name}: {facts.pixel_fraction:.2%} of pixels, on {facts.image_count} images"
    return overlay_grid(images, masks, names, (facts.name, "all else"), (facts.color, other), title, 2, SHEET_WIDTH)


def _embedded(image: Image.Image) -> str:
    """An image as the address of an <img>."""
    content = io.BytesIO()
    image.save(content, "WEBP", quality=75)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _page(found: DatasetReport, plan: Plan, sheets: dict[str, str]) -> str:
    environment = Environment(
        loader=PackageLoader("pixelwise.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("dataset_report.html")
    return page.render(
        found=found, data=found.data, plan=plan, sheets=sheets, loud=LOUD, values=levels(found),
        problems=by_kind(found.issues),
        splits={split: len(getattr(found.data, split)) for split in SPLITS},
        spreads={
            "width": (found.widths, "%.0f"),
            "height": (found.heights, "%.0f"),
            "width ÷ height": (found.aspect_ratios, "%.2f"),
        },
        greatest=max((each.pixel_fraction for each in found.classes), default=0.0) or 1.0,
    )  # fmt: skip
