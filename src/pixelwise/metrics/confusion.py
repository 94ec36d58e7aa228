"""Every figure comes from one confusion matrix, summed over all pixels of all images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from pixelwise.data.task import Task


@dataclass(frozen=True)
class ClassMetrics:
    """One class's figures, each in [0, 1]; None where the class is absent and there is nothing to measure.

    `pixels` counts the true pixels of the class.
    """

    iou: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    pixels: int


@dataclass(frozen=True)
class Metrics:
    """What one confusion matrix says: rows are true classes, columns predicted ones.

    Of multi-label data there is a matrix of [[neither, only predicted], [only true, both]] for each class.

    `mean_iou` is the mean IoU over the classes that are present: a class with no true and no predicted pixel has no IoU
    and stands in `absent_classes`. `resolution` says at what size pixels were compared: "original" or "128x128".
    """

    accuracy: float | None
    mean_iou: float | None
    classes: dict[str, ClassMetrics]
    confusion: list[list[int]] | list[list[list[int]]]
    image_count: int
    resolution: str

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """The names of the classes that have no IoU."""
        return tuple(name for name, figures in self.classes.items() if figures.iou is None)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON types, by the keys of evaluation-<split>.json."""
        return {
            "accuracy": self.accuracy,
            "miou": self.mean_iou,
            "classes": {name: asdict(figures) for name, figures in self.classes.items()},
            "confusion": self.confusion,
            "images": self.image_count,
            "resolution": self.resolution,
        }

    @staticmethod
    def from_confusion(
        confusion: Tensor, classes: Sequence[str], task: Task, image_count: int, resolution: str
    ) -> "Metrics":
        """Compute all metrics from a confusion matrix.

        Args:
            confusion: int64 counts of `Task.confusion`: (C, C), or (C, 2, 2) for multilabel masks.
            classes: C names, in index order.
            task: the task of the masks.
            image_count: the number of images that were counted.
            resolution: the size at which masks were compared: "original" or "128x128".

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
                iou=_ratio(hits, true + predicted - hits),
                dice=_ratio(2 * hits, true + predicted),
                precision=_ratio(hits, predicted),
                recall=_ratio(hits, true),
                pixels=true,
            )
        ious = [metrics.iou for metrics in per_class.values() if metrics.iou is not None]
        return Metrics(
            accuracy=_ratio(counts.correct, int(confusion.sum())),
            mean_iou=sum(ious) / len(ious) if ious else None,
            classes=per_class,
            confusion=confusion.tolist(),
            image_count=image_count,
            resolution=resolution,
        )


def _ratio(part: int, total: int) -> float | None:
    return part / total if total else None
