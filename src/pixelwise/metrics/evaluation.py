"""The result of an evaluation: metrics with intervals, boundaries, calibration, and a score of each image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.data.task import MULTICLASS, Task
from pixelwise.errors import DataError
from pixelwise.metrics.base import mean_of_present, ratio
from pixelwise.metrics.calibration import Calibration
from pixelwise.metrics.confusion import Metrics
from pixelwise.metrics.intervals import Intervals
from pixelwise.palette import Palette

MAX_LISTED = 20
"""Maximum number of images with suspicious labels in the JSON file. The CSV file has the score of each image."""


TABLE_COLUMNS = ("file", "group", "miou", "accuracy", "label_quality", "pixels")
"""The first columns of `image_table`. One column per class follows."""


@dataclass(frozen=True, eq=False)
class ImageScore:
    """The pixel counts and scores of one image.

    Attributes:
        file: name of the image relative to the root of the data set.
        group: the group of the image, or None.
        counts: (C, 3) int64, true positives, false positives and false negatives of each class in pixels.
        pixels: number of pixels that were compared. For multilabel masks, a pixel counts once per class.
        correct: number of these pixels that are correct.
        label_quality: see `pixelwise.metrics.label_quality`, or None if all pixels are ignored.
    """

    file: str
    group: str | None
    counts: npt.NDArray[np.int64] = field(repr=False)
    pixels: int
    correct: int
    label_quality: float | None

    @property
    def ious(self) -> list[float | None]:
        """IoU of each class in [0, 1]. None if the class is neither in the mask nor in the prediction."""
        return [ratio(hits, hits + wrong + missed) for hits, wrong, missed in self.counts.tolist()]

    @property
    def mean_iou(self) -> float | None:
        """Mean of `ious` without None, in [0, 1]. None if all pixels are ignored."""
        return mean_of_present(self.ious)


@dataclass(frozen=True, eq=False)
class ImageExample:
    """A reduced image with its true and predicted mask, for display.

    Attributes:
        index: position of the image in `Evaluation.images`.
        score: the score by which the image was selected. Lower scores come first.
        image: (h, w, 3) uint8 RGB.
        truth: (h, w) uint8, the true mask by `Task.to_display`, 255 = ignore.
        prediction: (h, w) uint8, the predicted mask by `Task.to_display`.
        wrong: (h, w) bool, True for pixels whose prediction is wrong.
    """

    index: int
    score: float
    image: npt.NDArray[np.uint8] = field(repr=False)
    truth: npt.NDArray[np.uint8] = field(repr=False)
    prediction: npt.NDArray[np.uint8] = field(repr=False)
    wrong: npt.NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of `pixelwise.evaluate`.

    Attributes:
        metrics: accuracy, mean IoU, and IoU, Dice, precision and recall of each class.
        skipped: one error for each record that was skipped, in the order of the split.
        path: the JSON file, or None if this process has written none.
        extra: name → value of each additional metric. The value is None if it is not defined, for example for an absent
            class.
        split: "train", "val" or "test", or "all" for all images of a data set without splits.
        reason: the images in words, for example "the test split of the data set".
        warning: a warning that images were trained on. Empty if none were.
        note: a remark about the images and the choice of the best epoch. Empty if there is none.
        intervals: 95 % confidence intervals of the mean IoU and of the IoU of each class.
        boundary: the results of the metrics `boundary_iou` and `boundary_f` with their default parameters.
        calibration: calibration of the model's probabilities.
        uncalibrated: the same without the model's temperature.
        temperature: the model's temperature, see `ModelConfig`.
        images: the score of each image that was not skipped, in the order of the split.
        worst: the images with the lowest mean IoU, the lowest first.
        suspicious: the images with the lowest label quality, the lowest first.
        seconds_per_image: time of the prediction of one image without reading its file: resizing, the model in batches,
            and the mask at the size of the comparison.
        device: the device of the model, for example "cpu".
        task: the task of the masks.
        palette: one color per class.
        background: indices of the classes that drawings do not color.
        tta: True if the predictions are means over each image and its mirror image.
        view: "whole" if each image was resized to the model's input, "tiles" for windows of this size.
        scale: working pixels per image pixel for the view "tiles", else None.
        model: the run directory, or the exported file.
        computation: the package that computed the masks and its precision, for example "onnxruntime, int8".
    """

    metrics: Metrics
    skipped: tuple[DataError, ...]
    path: Path | None
    extra: dict[str, float | None]
    split: str
    reason: str
    warning: str
    note: str
    intervals: Intervals
    boundary: dict[str, float | None]
    calibration: Calibration
    uncalibrated: Calibration
    temperature: float
    images: tuple[ImageScore, ...]
    worst: tuple[ImageExample, ...]
    suspicious: tuple[ImageExample, ...]
    seconds_per_image: float
    device: str
    task: Task = MULTICLASS
    palette: Palette = ()
    background: tuple[int, ...] = ()
    tta: bool = False
    view: str = "whole"
    scale: float | None = None
    model: str = ""
    computation: str = ""

    @property
    def page(self) -> Path | None:
        """The HTML page, or None if this process has written none."""
        return self.path and page_path(self.path)

    @property
    def csv_path(self) -> Path | None:
        """The CSV file with a row per image, or None if this process has written none."""
        return self.path and csv_path(self.path)

    @property
    def view_text(self) -> str:
        """The view in words, such as "view tiles at scale 0.5"."""
        return f"view {self.view}" if self.scale is None else f"view {self.view} at scale {self.scale:.3g}"

    @property
    def headline(self) -> str:
        """The mean IoU with its interval, and the number of images that would halve the interval.

        For example "mIoU 0.79 ± 0.02 on 298 images; about 900 more images would halve the interval".
        """
        value, interval = self.metrics.mean_iou, self.intervals.mean_iou
        count, unit, units = self.metrics.image_count, self.intervals.unit, self.intervals.units
        images = f"{count} image{'s' * (count != 1)}"
        if unit == "group":
            images += f" in {units} group{'s' * (units != 1)}"
        elif unit == "block":
            images += " of one group"
        if value is None or interval is None:
            return f"mIoU {'–' if value is None else f'{value:.3f}'} on {images}; no interval, which needs two {unit}s"
        digits = 2 if interval.half_width >= 0.02 else 3
        text = f"mIoU {value:.{digits}f} ± {interval.half_width:.{digits}f} on {images}"
        if unit == "block":
            return f"{text}; the interval is of {units} blocks of consecutive images, and other groups can differ more"
        return (
            f"{text}; about {round_to_two_digits(self.intervals.units_to_halve)} more {unit}s would halve the interval"
        )

    def __repr__(self) -> str:
        """Return the split, the headline and the warning in one line."""
        return f"Evaluation({'; '.join(filter(None, (f'{self.split}: {self.headline}', self.warning)))})"

    def _repr_html_(self) -> str:
        """Return the mean IoU with its interval, the warning, and the metrics of each class, for a notebook."""
        from pixelwise.visualization import html

        texts = [f"<b>{html.text(self.headline, max_length=300)}</b>", html.text(self.reason, max_length=300)]
        texts += [f"<b>{html.text(self.warning, max_length=500)}</b>", html.text(self.note, max_length=500)]
        if self.skipped:
            count = f"{len(self.skipped):,} image{'s' * (len(self.skipped) != 1)}"
            texts.append(f"{count} left out, for example {html.text(self.skipped[0], max_length=300)}")
        if self.page is not None:
            texts.append(f"page: {html.text(self.page, max_length=300)}")
        lines = [html.paragraph(line) for line in texts if line not in ("", "<b></b>")]
        return html.block(*lines, self.metrics._repr_html_())

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types, with the keys of evaluation-<split>.json."""
        content = self.metrics.to_dict() | {"split": self.split, "left_out": len(self.skipped)}
        if self.extra:
            content["extra"] = self.extra
        by_quality = sorted(
            (image for image in self.images if image.label_quality is not None),
            key=lambda image: image.label_quality or 0.0,
        )
        return content | {
            "evaluated_on": self.reason,
            "warning": self.warning or None,
            "note": self.note or None,
            "intervals": self.intervals.to_dict(),
            "boundary": self.boundary,
            "calibration": self.calibration.to_dict()
            | {"temperature": self.temperature, "ece_without_temperature": self.uncalibrated.error},
            "lowest_label_quality": [
                {"file": image.file, "score": image.label_quality} for image in by_quality[:MAX_LISTED]
            ],
            "ms_per_image": 1000 * self.seconds_per_image,
            "tta": self.tta,
            "view": self.view,
            "scale": self.scale,
            "device": self.device,
            "model": self.model,
            "computation": self.computation,
        }


def page_path(path: Path) -> Path:
    """Return the path of the HTML page beside a JSON file."""
    return path.with_name(f"{path.stem}.html")


def csv_path(path: Path) -> Path:
    """Return the path of the CSV file beside a JSON file."""
    return path.with_name(f"{path.stem}.csv")


def round_to_two_digits(value: int) -> int:
    """Round a positive number to two significant digits.

    >>> round_to_two_digits(894), round_to_two_digits(6), round_to_two_digits(12345)
    (890, 6, 12000)
    """
    digits = len(str(value)) - 2
    return round(value, -digits) if digits > 0 else value


def image_table(images: Sequence[ImageScore], classes: Sequence[str]) -> list[list[object]]:
    """Return the rows of the CSV file, with the header first.

    Args:
        images: the images.
        classes: C names, in index order.

    Returns:
        The header and one row per image. None stands for an empty cell.
    """
    rows: list[list[object]] = [[*TABLE_COLUMNS, *(f"iou_{name}" for name in classes)]]
    for image in images:
        accuracy = ratio(image.correct, image.pixels)
        rows.append([image.file, image.group, image.mean_iou, accuracy, image.label_quality, image.pixels, *image.ious])
    return rows
