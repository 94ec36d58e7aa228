"""What is told in words: tables of figures, and where things are."""

from rich.console import Console
from rich.table import Table

from pixelwise.metrics import Metrics
from pixelwise.run import Run


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
        cells = [
            "absent" if figures.iou is None else "–" if value is None else f"{value:.1%}" for value in values
        ]
        table.add_row(name, *cells, f"{figures.pixels / total:.1%}")
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
