"""Every figure comes from one confusion matrix, summed over all pixels of all images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pixelwise.palette import IGNORE_INDEX


def confusion_matrix(mask: Tensor, prediction: Tensor, classes: int, multilabel: bool = False) -> Tensor:
    """Count pixels by (true class, predicted class): (C, C) int64, ignored pixels left out.

    Args:
        mask: (...) uint8 class indices 0..C-1, or 255 to ignore.
        prediction: (...) integer class indices 0..C-1, of the mask's shape.
        classes: C.
        multilabel: mask and prediction are (..., C, H, W) of 0 and 1 instead (255 in the mask to ignore); then the
            counts are (C, 2, 2) int64: of each class by (truly there, predicted there).

    >>> import torch
    >>> confusion_matrix(torch.tensor([0, 0, 1, 255]), torch.tensor([0, 1, 1, 0]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    if multilabel:
        counted = mask != IGNORE_INDEX
        cell = (2 * (mask == 1).long() + prediction.long()).movedim(-3, 0).flatten(1)
        kept = counted.movedim(-3, 0).flatten(1)
        rows = [torch.bincount(each[known], minlength=4) for each, known in zip(cell, kept, strict=True)]
        return torch.stack(rows).view(-1, 2, 2)
    # Imported here: torchmetrics takes a second and predicting does without it.
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    return multiclass_confusion_matrix(
        prediction, mask.long(), num_classes=classes, ignore_index=IGNORE_INDEX, validate_args=False
    )


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
    def from_confusion(confusion: Tensor, classes: Sequence[str], images: int, resolution: str) -> "Metrics":
        """Work out every figure from a (C, C) integer confusion matrix, or (C, 2, 2) of multi-label data.

        >>> import torch
        >>> metrics = Metrics.from_confusion(torch.tensor([[3, 1], [0, 4]]), ["cat", "rest"], 1, "original")
        >>> metrics.accuracy, metrics.classes["cat"].iou, metrics.miou
        (0.875, 0.75, 0.775)
        """
        if confusion.ndim == 3:
            hits, trues, predicteds = confusion[:, 1, 1], confusion[:, 1].sum(1), confusion[:, :, 1].sum(1)
            right = int(hits.sum() + confusion[:, 0, 0].sum())
        else:
            hits, trues, predicteds = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
            right = int(hits.sum())
        figures = {}
        for name, hit, true, predicted in zip(classes, hits.tolist(), trues.tolist(), predicteds.tolist(), strict=True):
            figures[name] = ClassMetrics(
                iou=_ratio(hit, true + predicted - hit),
                dice=_ratio(2 * hit, true + predicted),
                precision=_ratio(hit, predicted),
                recall=_ratio(hit, true),
                pixels=true,
            )
        ious = [each.iou for each in figures.values() if each.iou is not None]
        return Metrics(
            accuracy=_ratio(right, int(confusion.sum())),
            mean_iou=sum(ious) / len(ious) if ious else None,
            classes=figures,
            confusion=confusion.tolist(),
            image_count=images,
            resolution=resolution,
        )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
