"""IoU per image: values computed by hand."""

import torch

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.metrics.per_image import ImageIoU


def test_every_image_with_the_class_counts_the_same() -> None:
    metric = ImageIoU(("a", "b", "c"), MULTICLASS)
    # Ten pixels of class a, all found; then two pixels of which one is found, and one pixel of b.
    metric.update(torch.zeros(1, 10, dtype=torch.uint8), torch.zeros(1, 10, dtype=torch.uint8))
    metric.update(torch.tensor([[0, 0, 1, 255]], dtype=torch.uint8), torch.tensor([[0, 1, 1, 2]], dtype=torch.uint8))
    assert metric.compute() == {
        "image_iou": (0.75 + 0.5) / 2,
        "image_iou_a": (1.0 + 0.5) / 2,
        "image_iou_b": 0.5,
        "image_iou_c": None,
    }


def test_multilabel_masks() -> None:
    metric = ImageIoU(("a", "b"), MULTILABEL)
    mask = torch.tensor([[[1, 1, 0]], [[0, 0, 0]]], dtype=torch.uint8)
    prediction = torch.tensor([[[1, 0, 0]], [[0, 0, 1]]], dtype=torch.uint8)
    metric.update(mask, prediction)
    assert metric.compute() == {"image_iou": 0.25, "image_iou_a": 0.5, "image_iou_b": 0.0}
