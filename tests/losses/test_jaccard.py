"""The Jaccard metric loss: the formula of the paper on one-hot maps, and its minimum for soft labels."""

import pytest
import torch
from torch import Tensor

from pixelwise.data.task import MULTICLASS, MULTILABEL
from pixelwise.losses.jaccard import jaccard, jaccard_sigmoid
from tests.losses.helpers import make_batch


def formula(probability: Tensor, label: Tensor, weights: Tensor, present: Tensor) -> Tensor:
    """Return the mean over present classes of JML1 of Wang et al. 2023. Tensors are (P, C), weights (P, C)."""
    total, difference = ((probability + label) * weights).sum(0), ((probability - label).abs() * weights).sum(0)
    return (1 - (total - difference) / (total + difference))[present].mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_formula_of_the_paper(smoothing: float, weighted: bool) -> None:
    logits, mask = make_batch(classes=4)
    mask[mask == 2] = 1
    weights = torch.rand(mask.shape) if weighted else torch.ones(mask.shape)
    counted = mask != 255
    one_hot = torch.nn.functional.one_hot(mask[counted].long(), 4).float()
    probability = logits.softmax(1).movedim(1, -1)[counted]
    label = one_hot * (1 - smoothing) + smoothing / 4
    expected = formula(probability, label, weights[counted][:, None], one_hot.sum(0) > 0)
    actual = jaccard(logits, mask, weights if weighted else None, smoothing=smoothing)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_sigmoid_version_is_the_formula_for_each_class(smoothing: float) -> None:
    logits, mask = make_batch(MULTILABEL)
    mask[:, 1] *= mask[:, 1] == 255  # a class without pixels
    kept = (mask != 255).movedim(1, -1).flatten(0, -2).float()
    truth = (mask == 1).movedim(1, -1).flatten(0, -2).float()
    probability = logits.sigmoid().movedim(1, -1).flatten(0, -2)
    label = truth * (1 - smoothing) + smoothing / 2
    expected = formula(probability, label, kept, (truth * kept).sum(0) > 0)
    torch.testing.assert_close(jaccard_sigmoid(logits, mask, smoothing=smoothing), expected)


def test_soft_labels_are_the_minimum() -> None:
    for task, function in ((MULTICLASS, jaccard), (MULTILABEL, jaccard_sigmoid)):
        _, mask = make_batch(task)
        classes = 3 if task is MULTICLASS else 2
        true = mask[:, None] == torch.arange(3)[:, None, None] if task is MULTICLASS else mask == 1
        label = true * 0.7 + 0.3 / classes
        logits = label.log() if task is MULTICLASS else label.logit()
        assert function(logits, mask, smoothing=0.3).item() == pytest.approx(0, abs=1e-6)
        assert function(logits * 3, mask, smoothing=0.3) > 0.1
        assert function(logits * 3, mask) < function(logits, mask)
