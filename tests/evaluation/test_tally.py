"""Sums over images: counts against scikit-learn, scores of images, examples, and the memory they need."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torch import Tensor

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.evaluation import tally as module
from pixelwise.evaluation.comparison import Comparison
from pixelwise.evaluation.tally import EXAMPLES, Tally
from pixelwise.metrics.confusion import Metrics

CLASSES = ("cat", "dog", "rest")


def make_comparison(task: Task, index: int, side: int = 40) -> Comparison:
    """Draw an image with ignored pixels. The higher the index, the more of its predictions are wrong."""
    generator = torch.Generator().manual_seed(index)
    shape = task.mask_shape(3, side, side + index)
    mask = torch.randint(3 if task is MULTICLASS else 2, shape, generator=generator, dtype=torch.uint8)
    wrong = torch.rand(shape, generator=generator) < index / 40
    prediction = torch.where(wrong, (mask + 1) % (3 if task is MULTICLASS else 2), mask)
    mask[..., :2, :] = 255
    logits = torch.randn(3, 16, 16, generator=generator)
    model_mask = torch.randint(2, task.mask_shape(3, 16, 16), generator=generator, dtype=torch.uint8)
    image = np.full((side, side + index, 3), index, np.uint8)
    return Comparison(image, mask, prediction, logits, model_mask)


def flat(comparisons: list[Comparison]) -> Iterator[tuple[Tensor, Tensor]]:
    for each in comparisons:
        counted = each.mask != 255
        yield each.mask[counted], each.prediction[counted]


@pytest.fixture
def comparisons() -> list[Comparison]:
    return [make_comparison(MULTICLASS, index) for index in range(20)]


def tally_of(comparisons: list[Comparison], task: Task = MULTICLASS, temperature: float = 1.0) -> Tally:
    sums = Tally(task, CLASSES, (), temperature)
    for position, compared in enumerate(comparisons):
        sums.add(position, compared)
    return sums


def test_counts_and_scores_equal_those_of_scikit_learn(comparisons: list[Comparison]) -> None:
    sums = tally_of(comparisons)
    true, predicted = (torch.cat(parts).numpy() for parts in zip(*flat(comparisons), strict=True))
    assert sums.confusion.tolist() == confusion_matrix(true, predicted, labels=range(3)).tolist()
    metrics = Metrics.from_confusion(sums.confusion, CLASSES, MULTICLASS, 20, "original")
    ious = [values.iou for values in metrics.classes.values()]
    assert ious == pytest.approx(jaccard_score(true, predicted, average=None))
    assert metrics.mean_iou == pytest.approx(jaccard_score(true, predicted, average="macro"))
    dice = [values.dice for values in metrics.classes.values()]
    assert dice == pytest.approx(f1_score(true, predicted, average=None))


def test_counts_of_one_image_equal_those_of_scikit_learn(comparisons: list[Comparison]) -> None:
    sums = tally_of(comparisons)
    for image, (true, predicted) in zip(sums.images, flat(comparisons), strict=True):
        matrix = confusion_matrix(true.numpy(), predicted.numpy(), labels=range(3))
        hits = matrix.diagonal()
        assert image.counts.tolist() == np.stack([hits, matrix.sum(0) - hits, matrix.sum(1) - hits], 1).tolist()
        assert (image.pixels, image.correct) == (matrix.sum(), hits.sum())
    assert (
        np.stack([image.counts for image in sums.images]).sum((0, 2)).tolist()
        == (sums.confusion.sum(0) + sums.confusion.sum(1) - sums.confusion.diagonal()).tolist()
    )


def test_multilabel_counts_equal_those_of_scikit_learn() -> None:
    comparisons = [make_comparison(MULTILABEL, index) for index in range(5)]
    sums = tally_of(comparisons, MULTILABEL)
    for channel in range(3):
        pairs = [(each.mask[channel], each.prediction[channel]) for each in comparisons]
        true = torch.cat([mask[mask != 255] for mask, _ in pairs]).numpy()
        predicted = torch.cat([prediction[mask != 255] for mask, prediction in pairs]).numpy()
        assert sums.confusion[channel].tolist() == confusion_matrix(true, predicted, labels=[0, 1]).tolist()


def test_the_images_with_the_lowest_scores_are_kept(comparisons: list[Comparison]) -> None:
    sums = tally_of(comparisons[::-1])
    scores = [example.score for example in sums.worst]
    assert len(scores) == EXAMPLES and scores == sorted(scores)
    assert {example.index for example in sums.worst} == set(range(EXAMPLES)), "the last images have the most errors"
    qualities = sorted(image.label_quality or 0 for image in sums.images)
    assert [example.score for example in sums.suspicious] == pytest.approx(qualities[:EXAMPLES])


def test_an_example_is_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXAMPLE_SIDE", 20)
    compared = make_comparison(MULTICLASS, 0, side=50)
    compared.prediction[10:20] = (compared.mask[10:20] + 1) % 3
    (example,) = tally_of([compared]).worst
    assert example.image.shape == (17, 17, 3)
    assert example.truth.shape == example.prediction.shape == example.wrong.shape == (17, 17)
    assert example.wrong[4:6].all() and not example.wrong[8:].any() and not example.wrong[0].any()
    assert (example.truth[0] == 255).all()


def test_wrong_pixels_of_any_class_are_shown_for_multilabel_masks() -> None:
    compared = make_comparison(MULTILABEL, 0)
    compared.prediction[2, 20:30] ^= 1
    (example,) = tally_of([compared], MULTILABEL).worst
    assert example.wrong[20:30].all() and example.wrong.sum() == example.wrong[20:30].size


def test_an_image_that_is_ignored_has_no_score() -> None:
    compared = make_comparison(MULTICLASS, 3)
    compared.mask.fill_(255)
    compared.model_mask.fill_(255)
    sums = tally_of([compared])
    assert (sums.images[0].pixels, sums.images[0].label_quality) == (0, None)
    assert not sums.worst and not sums.suspicious and sums.calibration.compute().error is None


def test_the_temperature_changes_confidences_and_not_decisions(comparisons: list[Comparison]) -> None:
    plain, hot = tally_of(comparisons), tally_of(comparisons, temperature=4.0)
    assert torch.equal(hot.uncalibrated.sums, plain.calibration.sums)
    assert torch.equal(hot.calibration.sums.sum(0)[[0, 2]], plain.calibration.sums.sum(0)[[0, 2]])
    assert hot.calibration.sums[:, 1].sum() < 0.8 * plain.calibration.sums[:, 1].sum()


def test_probabilities_are_taken_on_a_grid(comparisons: list[Comparison], monkeypatch: pytest.MonkeyPatch) -> None:
    assert tally_of(comparisons[:1]).calibration.sums[:, 0].sum() == 256
    monkeypatch.setattr(module, "_PROBABILITY_PIXELS", 64)
    assert tally_of(comparisons[:1]).calibration.sums[:, 0].sum() == 64
