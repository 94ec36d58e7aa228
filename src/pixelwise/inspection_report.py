"""What `pixelwise inspect` tells: tables on the terminal; report.json, report.html and class sheets in a folder."""

import base64
import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from PIL import Image
from rich.console import Console
from rich.table import Table

from pixelwise.data.inspect import ClassFacts, Inspection
from pixelwise.data.masks import read_pair
from pixelwise.data.records import SPLITS, Problem, Reading
from pixelwise.data.streams import Progress, no_progress
from pixelwise.errors import DataError
from pixelwise.files import replacing
from pixelwise.manifest import Manifest
from pixelwise.plan import Plan
from pixelwise.visualize import photo_as_shown, photo_sheet, save_picture

LOUD = "leakage"
"""The kind of problem that is told before all others: it makes every figure too good."""

MOST_SHOWN = 5
"""Of each kind of problem, so many files are told on the terminal; the reports have all."""

SHEET_WIDTH = 1280

_NO_TEXT = "backslashreplace"
"""What becomes of names with bytes that are no text: \\udce9, which JSON reads back."""


def by_kind(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Problems by their kind: leakage, then what cannot be used, then the rest."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.kind, []).append(problem)
    return dict(sorted(found.items(), key=lambda item: (item[0] != LOUD, item[1][0].usable, item[0])))


def levels(found: Inspection) -> dict[str, str]:
    """Class → the levels in masks that stand for it; "" where the data set's own files name classes."""
    return {name: ", ".join(each.levels) for name, each in Manifest.of(found.data).classes.items()}


def print_inspection(found: Inspection) -> None:
    """Print what was found: splits, sizes, classes, how masks are read, and every kind of problem."""
    data, console = found.data, Console(soft_wrap=True, highlight=False)
    sizes = ", ".join(f"{len(getattr(data, split))} {split}" for split in SPLITS if getattr(data, split))
    print(f"{data.root}: {data.format}, {found.photos} photos and {found.masks} masks; usable pairs: {sizes}")
    print(
        f"sizes: {found.widths.least:.0f} to {found.widths.greatest:.0f} wide, {found.heights.least:.0f} to "
        f"{found.heights.greatest:.0f} high, mostly about {found.widths.median:.0f}x{found.heights.median:.0f} "
        f"(width over height {found.ratios.low:.2f} to {found.ratios.high:.2f})"
    )
    for note in data.notes:
        print(note)
    if data.grouped:
        print(f"groups: {data.grouped}")
    table = Table(title=f"classes; {found.ignored:.2%} of pixels are ignored", title_justify="left")
    table.add_column("class")
    for heading in ("in masks", "pixels", "photos", "objects", "side", "width"):
        table.add_column(heading, justify="right")
    written = levels(found)
    for each in found.classes:
        side = "–" if each.side is None else f"{each.side.median:.1%}"
        width = "–" if each.width is None else f"{each.width:.1%}"
        swatch = "[on #{:02x}{:02x}{:02x}]  [/] ".format(*each.colour)
        cells = written[each.name], f"{each.share:.2%}", f"{each.photos}", f"{each.objects}", side, width
        table.add_row(swatch + each.name.replace("[", "\\["), *cells)
    console.print(table)
    for kind, problems in by_kind(found.problems).items():
        style = "bold red" if kind == LOUD else "yellow" if problems[0].usable else "red"
        heading = kind.upper() if kind == LOUD else kind
        console.print(f"{heading}: {len(problems)} file{'s' * (len(problems) != 1)}", style=style)
        for problem in problems[:MOST_SHOWN]:
            print(f"  {problem}")
        if len(problems) > MOST_SHOWN:
            print(f"  … and {len(problems) - MOST_SHOWN} more, all in report.html and report.json")
    if not found.problems:
        print("no problem was found")
    print(f"looked at all in {found.seconds:.1f} s")


def write_inspection(found: Inspection, plan: Plan, folder: Path, progress: Progress = no_progress) -> None:
    """Write report.json, plan.yaml, sheets/CLASS.png and, last, report.html, which needs no other file.

    A sheet has the class in its colour on photos that show it, from the most of it to the least. Raises
    PixelwiseError where the folder cannot be written.
    """
    plan.write(folder / "plan.yaml")
    with replacing(folder / "report.json") as part:
        text = json.dumps(as_json(found), indent=1, ensure_ascii=False) + "\n"
        part.write_text(text, encoding="utf-8", errors=_NO_TEXT)
    sheets = {}
    for index, facts in progress(enumerate(found.classes), len(found.classes)):
        sheet = class_sheet(facts, index, found.data.reading)
        if sheet is not None:
            name = re.sub(r"[^\w.-]+", "_", facts.name)[:80]
            save_picture(sheet, folder / "sheets" / f"{index:02d}-{name}.png")
            sheets[facts.name] = _embedded(sheet)
    with replacing(folder / "report.html") as part:
        part.write_text(_page(found, plan, sheets), encoding="utf-8", errors=_NO_TEXT)


def as_json(found: Inspection) -> dict[str, object]:
    """An inspection as JSON holds it: paths as text, without the records of each split but with their number."""
    data, written = found.data, levels(found)
    return {
        "root": str(data.root),
        "format": data.format,
        "photos": found.photos,
        "masks": found.masks,
        "splits": {split: len(getattr(data, split)) for split in SPLITS},
        "groups": data.grouped or None,
        "notes": list(data.notes),
        "widths": asdict(found.widths),
        "heights": asdict(found.heights),
        "aspect_ratios": asdict(found.ratios),
        "modes": dict(found.modes),
        "channel_means": list(found.means),
        "channel_stds": list(found.stds),
        "multilabel": data.reading.multilabel,
        "ignored": found.ignored,
        "classes": [
            {
                "name": each.name, "levels": written[each.name], "colour": "#{:02x}{:02x}{:02x}".format(*each.colour),
                "pixels": each.pixels, "share": each.share, "photos": each.photos, "objects": each.objects,
                "side": None if each.side is None else asdict(each.side), "width": each.width,
            }
            for each in found.classes
        ],
        "problems": [asdict(problem) for problem in found.problems],
        "seconds": found.seconds,
    }  # fmt: skip


def class_sheet(facts: ClassFacts, index: int, reading: Reading) -> Image.Image | None:
    """A class in its colour on its example photos, everything else dimmed; None where no photo shows it."""
    photos, masks, names = [], [], []
    for record in facts.examples:
        try:
            photo, mask = read_pair(record, reading)
        except DataError:  # gone since it was looked at
            continue
        # Half of a large photo is more than its cell shows.
        step = max(1, max(mask.shape[-2:]) // SHEET_WIDTH)
        photo, mask = photo[::step, ::step], mask[..., ::step, ::step]
        present = mask[index] == 1 if mask.ndim == 3 else mask == index
        photos.append(np.ascontiguousarray(photo_as_shown(photo)))
        masks.append(np.where(present, 0, 1).astype(np.uint8))
        names.append(f"{present.mean():.1%} {record.image.name}")
    if not photos:
        return None
    # Dark beside bright, bright beside dark: a class that its data set draws in black must be seen too.
    other = (0, 0, 0) if max(facts.colour) > 80 else (255, 255, 255)
    title = f"{facts.name}: {facts.share:.2%} of pixels, on {facts.photos} photos"
    return photo_sheet(photos, masks, names, (facts.name, "all else"), (facts.colour, other), title, 2, SHEET_WIDTH)


def _embedded(picture: Image.Image) -> str:
    """A picture as the address of an <img>."""
    content = io.BytesIO()
    picture.save(content, "WEBP", quality=75)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _page(found: Inspection, plan: Plan, sheets: dict[str, str]) -> str:
    environment = Environment(loader=PackageLoader("pixelwise"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("inspection.html")
    return page.render(
        found=found, data=found.data, plan=plan, sheets=sheets, loud=LOUD, levels=levels(found),
        problems=by_kind(found.problems),
        splits={split: len(getattr(found.data, split)) for split in SPLITS},
        spreads={
            "width": (found.widths, "%.0f"),
            "height": (found.heights, "%.0f"),
            "width ÷ height": (found.ratios, "%.2f"),
        },
        greatest=max((each.share for each in found.classes), default=0.0) or 1.0,
    )  # fmt: skip
