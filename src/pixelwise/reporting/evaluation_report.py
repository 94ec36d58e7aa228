"""The page of an evaluation: one HTML file with the metrics, and the images with the lowest scores."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader
from PIL import Image

from pixelwise.data.task import MULTILABEL
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import ClassMetrics
from pixelwise.metrics.evaluation import Evaluation, ImageExample
from pixelwise.metrics.intervals import Interval
from pixelwise.palette import IGNORE_INDEX, Color, Palette
from pixelwise.visualization import html, overlay

PAGE_MARK = "– pixelwise evaluate</title>"
"""A text near the start of each page."""

MAX_MATRIX_CLASSES = 30
"""Maximum number of classes of a confusion matrix on the page. With more, the most frequent confusions are listed."""

MAX_CONFUSIONS = 30
"""Maximum number of confusions that are shown instead of a matrix."""

WRONG_COLOR: Color = (220, 20, 60)
"""Color of wrong pixels in a difference, as in the legend of the template."""

_JPEG_QUALITY = 80

_PLOT_SIDE = 240
"""Side of the reliability plot in SVG units."""


@dataclass(frozen=True)
class ClassRow:
    """A row of the table of classes.

    Attributes:
        name: name of the class.
        color: color of the class.
        metrics: IoU, Dice, precision and recall of the class.
        interval: 95 % confidence interval of the IoU, or None.
        boundary_iou: boundary IoU in [0, 1], or None if it is not defined.
        boundary_f: boundary F-score in [0, 1], or None if it is not defined.
        pixel_fraction: number of pixels of the class divided by the sum over all classes, in [0, 1].
    """

    name: str
    color: Color
    metrics: ClassMetrics
    interval: Interval | None
    boundary_iou: float | None
    boundary_f: float | None
    pixel_fraction: float


@dataclass(frozen=True)
class Confusion:
    """Pixels of one class that are predicted as another.

    Attributes:
        true: name of the true class.
        predicted: name of the predicted class.
        fraction: number of these pixels as a fraction of the pixels of the true class, in (0, 1].
    """

    true: str
    predicted: str
    fraction: float


@dataclass(frozen=True)
class Figure:
    """An image of the evaluation.

    Attributes:
        file: name of the image relative to the root of the data set.
        score: the score by which the image was selected.
        mean_iou: mean IoU of the classes in the image, in [0, 1]. None if all pixels are ignored.
        panels: caption → data URL of a drawing.
        size: (width, height) of each panel in pixels.
    """

    file: str
    score: float
    mean_iou: float | None
    panels: dict[str, str]
    size: tuple[int, int]


def render_evaluation(evaluation: Evaluation, model: Path, json_name: str, csv_name: str) -> str:
    """Return the page of an evaluation. It embeds its images and needs no other file.

    Args:
        evaluation: the result.
        model: the run directory or the exported file, for the title.
        json_name: name of the JSON file beside the page.
        csv_name: name of the CSV file beside the page.

    Returns:
        The HTML.
    """
    environment = Environment(
        loader=PackageLoader("pixelwise.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    classes = tuple(evaluation.metrics.classes)
    multilabel = evaluation.task is MULTILABEL
    return environment.get_template("evaluation_report.html").render(
        model=model,
        evaluation=evaluation,
        metrics=evaluation.metrics,
        rows=class_rows(evaluation),
        matrix=[] if multilabel or len(classes) > MAX_MATRIX_CLASSES else confusion_fractions(evaluation),
        confusions=[] if multilabel or len(classes) <= MAX_MATRIX_CLASSES else most_confused(evaluation),
        classes=classes,
        plot_side=_PLOT_SIDE,
        lines=({} if evaluation.temperature == 1 else {"plain": plot_points(evaluation.uncalibrated)})
        | {"model": plot_points(evaluation.calibration)},
        worst=[figure(evaluation, example) for example in evaluation.worst],
        suspicious=[figure(evaluation, example) for example in evaluation.suspicious],
        json_name=json_name,
        csv_name=csv_name,
        percent=_percent,
        multilabel=multilabel,
    )


def class_rows(evaluation: Evaluation) -> list[ClassRow]:
    """Return the rows of the table of classes."""
    metrics, boundary = evaluation.metrics, evaluation.boundary
    total = max(1, sum(values.pixels for values in metrics.classes.values()))
    return [
        ClassRow(
            name,
            color,
            values,
            evaluation.intervals.classes[name],
            boundary[f"boundary_iou_{name}"],
            boundary[f"boundary_f_{name}"],
            values.pixels / total,
        )
        for (name, values), color in zip(metrics.classes.items(), evaluation.palette, strict=True)
    ]


def confusion_fractions(evaluation: Evaluation) -> list[list[float | None]]:
    """Return the confusion matrix as fractions of the pixels of each true class. The row of an absent class is None."""
    matrix = np.array(evaluation.metrics.confusion, np.float64)
    return [list(row / row.sum()) if row.sum() else [None] * len(row) for row in matrix]


def most_confused(evaluation: Evaluation) -> list[Confusion]:
    """Return the pairs of different classes with the most confused pixels, at most `MAX_CONFUSIONS`."""
    matrix = np.array(evaluation.metrics.confusion, np.float64)
    names = tuple(evaluation.metrics.classes)
    errors = matrix - np.diag(np.diag(matrix))
    order = np.argsort(errors, axis=None, kind="stable")[::-1][:MAX_CONFUSIONS]
    pairs = [divmod(int(cell), len(names)) for cell in order]
    return [
        Confusion(names[true], names[predicted], float(matrix[true, predicted] / matrix[true].sum()))
        for true, predicted in pairs
        if errors[true, predicted]
    ]


def plot_points(calibration: Calibration) -> list[tuple[float, float]]:
    """Return the points of the reliability plot in SVG units: x is the confidence, y is the accuracy from the top."""
    pairs = zip(calibration.confidence, calibration.accuracy, strict=True)
    return [
        (round(_PLOT_SIDE * confidence, 1), round(_PLOT_SIDE * (1 - accuracy), 1))
        for confidence, accuracy in pairs
        if confidence is not None and accuracy is not None
    ]


def figure(evaluation: Evaluation, example: ImageExample) -> Figure:
    """Draw an image, its true mask, its prediction, and the difference between the masks.

    Args:
        evaluation: the result.
        example: the image.
    """
    scores = evaluation.images[example.index]
    classes = tuple(evaluation.metrics.classes)
    _, palette = evaluation.task.display_classes(classes, evaluation.palette)
    uncolored = evaluation.task.display_background(len(classes), evaluation.background)
    panels = {
        "image": example.image,
        "true mask": _overlay(example.image, example.truth, palette, uncolored),
        "prediction": _overlay(example.image, example.prediction, palette, uncolored),
        "difference": draw_difference(example),
    }
    height, width = example.image.shape[:2]
    urls = {
        caption: html.data_url(Image.fromarray(pixels), "jpeg", _JPEG_QUALITY) for caption, pixels in panels.items()
    }
    return Figure(scores.file, example.score, scores.mean_iou, urls, (width, height))


def draw_difference(example: ImageExample) -> npt.NDArray[np.uint8]:
    """Return the image in gray with wrong pixels in `WRONG_COLOR` and ignored pixels in black, (h, w, 3) uint8."""
    gray = example.image.mean(2, keepdims=True) * 0.6 + 80
    drawn = np.repeat(gray, 3, axis=2).astype(np.uint8)
    drawn[example.truth == IGNORE_INDEX] = 0
    drawn[example.wrong] = WRONG_COLOR
    return drawn


def _overlay(
    image: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8], palette: Palette, uncolored: Collection[int]
) -> npt.NDArray[np.uint8]:
    return np.asarray(overlay(np.ascontiguousarray(image), mask, palette, uncolored=uncolored))


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}%"
