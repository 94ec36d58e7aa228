"""Metrics of a confusion matrix that counts the pixels of all images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from pixelwise.data.task import Task
from pixelwise.metrics.base import mean_of_present, ratio

_SHOWN_CLASSES = 8
"""Maximum number of classes in the text of `Metrics`."""


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class. Ratios are in [0, 1], or None if the denominator is 0.

    Attributes:
        iou: intersection over union.
        dice: Dice coefficient (F1 score).
        precision: fraction of the pixels predicted as this class that are correct.
        recall: fraction of the true pixels of this class that are predicted as this class.
        pixels: number of true pixels of this class.
    """

    iou: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    pixels: int


@dataclass(frozen=True)
class Metrics:
    """Metrics of one confusion matrix.

    Attributes:
        accuracy: fraction of correct pixels in [0, 1], or None if there are no pixels. For multilabel masks, each pixel
            counts once per class.
        mean_iou: mean IoU over the classes whose IoU is not None, in [0, 1]. A class that is predicted but has no true
            pixels has the IoU 0.
        classes: class name → metrics.
        confusion: (C, C) pixel counts, with true classes as rows and predicted classes as columns. For multilabel masks
            (C, 2, 2): [[neither, only predicted], [only true, both]] for each class.
        image_count: number of images.
        resolution: size at which masks were compared, for example "original" or "128x128".
    """

    accuracy: float | None
    mean_iou: float | None
    classes: dict[str, ClassMetrics]
    confusion: list[list[int]] | list[list[list[int]]]
    image_count: int
    resolution: str

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """The names of the classes without an IoU, because they have no true and no predicted pixels."""
        return tuple(name for name, metrics in self.classes.items() if metrics.iou is None)

    def __repr__(self) -> str:
        """Return the mean IoU, the accuracy, the number of images, and the IoU of the first classes.

        >>> Metrics(0.93, 0.75, {"cat": ClassMetrics(0.75, 0.86, 0.8, 0.9, 7)}, [[7]], 2, "original")
        Metrics(mIoU 0.750, accuracy 0.930 on 2 images; IoU: cat 0.750)
        """

        def text(value: float | None) -> str:
            return "–" if value is None else f"{value:.3f}"

        ious = [f"{name} {text(each.iou)}" for name, each in self.classes.items()]
        shown = ious[:_SHOWN_CLASSES] + [f"{len(ious) - _SHOWN_CLASSES} more classes"] * (len(ious) > _SHOWN_CLASSES)
        images = f"{self.image_count:,} image{'s' * (self.image_count != 1)}"
        return (
            f"Metrics(mIoU {text(self.mean_iou)}, accuracy {text(self.accuracy)} on {images}; IoU: {', '.join(shown)})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all metrics as JSON types, with the keys of evaluation-<split>.json."""
        return {
            "accuracy": self.accuracy,
            "miou": self.mean_iou,
            "classes": {name: asdict(metrics) for name, metrics in self.classes.items()},
            "confusion": self.confusion,
            "images": self.image_count,
            "resolution": self.resolution,
        }

    def _repr_html_(self) -> str:
        """Return a table of the metrics of each class, for a notebook."""
        from pixelwise.visualization import html

        def percent(value: float | None) -> str:
            return "–" if value is None else f"{value:.1%}"

        rows = [
            [html.text(name), *map(percent, (each.iou, each.dice, each.precision, each.recall)), f"{each.pixels:,}"]
            for name, each in self.classes.items()
        ]
        rows.append(["<b>mean</b>", f"<b>{percent(self.mean_iou)}</b>", "", "", "", ""])
        size = "the images' own size" if self.resolution == "original" else f"{self.resolution} pixels"
        summary = f"{self.image_count:,} images at {size}; {percent(self.accuracy)} of the pixels are correct"
        table = html.table(("class", "IoU", "Dice", "precision", "recall", "pixels"), rows)
        return html.block(html.paragraph(html.text(summary)), table)

    @staticmethod
    def from_confusion(
        confusion: Tensor, classes: Sequence[str], task: Task, image_count: int, resolution: str
    ) -> "Metrics":
        """Compute all metrics from a confusion matrix.

        Args:
            confusion: int64 counts of `Task.confusion`: (C, C), or (C, 2, 2) for multilabel masks.
            classes: C names, in index order.
            task: the task of the masks.
            image_count: number of images.
            resolution: size at which masks were compared, for example "original" or "128x128".

        Returns:
            The metrics.

        >>> import torch
        >>> from pixelwise.data.task import MULTICLASS
        >>> confusion = torch.tensor([[3, 1], [0, 4]])
        >>> metrics = Metrics.from_confusion(confusion, ["cat", "rest"], MULTICLASS, 1, "original")
        >>> metrics.accuracy, metrics.classes["cat"].iou, metrics.mean_iou
        (0.875, 0.75, 0.775)
        """
        counts = task.class_counts(confusion)
        per_class = {}
        columns = (counts.true_positives.tolist(), counts.true.tolist(), counts.predicted.tolist())
        for name, hits, true, predicted in zip(classes, *columns, strict=True):
            per_class[name] = ClassMetrics(
                iou=ratio(hits, true + predicted - hits),
                dice=ratio(2 * hits, true + predicted),
                precision=ratio(hits, predicted),
                recall=ratio(hits, true),
                pixels=true,
            )
        return Metrics(
            accuracy=ratio(counts.correct, int(confusion.sum())),
            mean_iou=mean_of_present([metrics.iou for metrics in per_class.values()]),
            classes=per_class,
            confusion=confusion.tolist(),
            image_count=image_count,
            resolution=resolution,
        )
