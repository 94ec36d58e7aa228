"""What is told to a person: sheets of photos, tables of figures, and where things are."""

from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pixelwise.data.masks import read_pair
from pixelwise.data.records import SPLITS, Dataset, Split
from pixelwise.errors import DataError
from pixelwise.manifest import yaml_line
from pixelwise.metrics import Metrics
from pixelwise.plan import Plan
from pixelwise.run import Run
from pixelwise.visualize import all_as_shown, photo_as_shown, photo_sheet


def show(data: Dataset, split: Split = "train", count: int = 12) -> Image.Image:
    """A sheet of a split's photos with their masks over them; `count` of them, spread evenly over the split.

    Raises DataError for a split without photos, a count below 1, or a photo or mask that cannot be read.

    >>> show(load_dataset("oxford-iiit-pet/")).save("sheet.png")  # doctest: +SKIP
    """
    if count < 1:
        raise DataError(f"a sheet of {count} photos: ask for 1 or more")
    records = data.records(split)
    count = min(count, len(records))
    chosen = [records[index * len(records) // count] for index in range(count)]
    photos, masks = zip(*(read_pair(record, data.reading) for record in chosen), strict=True)
    names = [record.image.name for record in chosen]
    title = f"{data.root.resolve().name} · {split} · {count} of {len(records)} photos"
    (shown,), classes, palette = all_as_shown([masks], data.classes, data.palette)
    return photo_sheet([photo_as_shown(photo) for photo in photos], shown, names, classes, palette, title)


def print_dataset(data: Dataset) -> None:
    """Print a data set's format, classes and the size of each split."""
    sizes = ", ".join(f"{len(getattr(data, split))} {split}" for split in SPLITS if getattr(data, split))
    print(f"{data.root}: {data.format}, photos: {sizes}\nclasses: {', '.join(data.classes)}")
    for note in data.notes:
        print(note)


def print_plan(plan: Plan) -> None:
    """Print a plan's settings with their reasons."""
    print("plan:")
    for name, value in plan.settings.items():
        print(f"  {yaml_line(name, value, plan.reasons.get(name, ''))}")


def print_metrics(metrics: Metrics, split: str) -> None:
    """Print a table of the figures, in percent, one row a class."""
    where = "the photos' own size" if metrics.resolution == "photo" else f"{metrics.resolution} pixels"
    table = Table(title=f"{split}: {metrics.images} photos at {where}", title_justify="left")
    table.add_column("class")
    for heading in ("IoU", "Dice", "precision", "recall", "pixels"):
        table.add_column(heading, justify="right")
    total = max(1, sum(figures.pixels for figures in metrics.classes.values()))
    for name, figures in metrics.classes.items():
        values = (figures.iou, figures.dice, figures.precision, figures.recall)
        cells = ["absent" if figures.iou is None else "–" if value is None else f"{value:.1%}" for value in values]
        table.add_row(escape(name), *cells, f"{figures.pixels / total:.1%}")
    Console().print(table)
    accuracy, miou = ("–" if value is None else f"{value:.2%}" for value in (metrics.accuracy, metrics.miou))
    absent = f" (over the classes present; absent: {', '.join(metrics.absent)})" if metrics.absent else ""
    print(f"accuracy {accuracy} · mean IoU {miou}{absent}")


def print_run(run: Run) -> None:
    """Print a training's best epoch, and where its model and pictures are."""
    rows = run.read_metrics()
    best = max(rows, key=lambda row: row["val_miou"] or 0.0)
    print(
        f"best: epoch {best['epoch']:.0f} of {len(rows)}, validation mIoU {best['val_miou'] or 0.0:.3f} "
        f"(trained {rows[-1]['train_seconds']:.0f} s)\n"
        f"model:    {run.folder}/model.safetensors\n"
        f"pictures: {run.samples_animation}, {run.history_picture}, {run.architecture_picture}"
    )
