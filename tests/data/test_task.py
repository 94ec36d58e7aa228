"""Tests of the two tasks. Expected values are computed by hand or by numpy."""

import copy
import pickle

import numpy as np
import pytest
import torch

from pixelwise.data.schema import LabelMap, ReadSpec
from pixelwise.data.task import MULTICLASS, MULTILABEL, TASKS, Task, get_task
from pixelwise.errors import ConfigError
from pixelwise.metrics.confusion import Metrics
from pixelwise.palette import default_palette

CLASSES = ("bright", "left")


def test_a_task_is_found_by_name_and_survives_pickling() -> None:
    for name, task in TASKS.items():
        assert task.name == name and get_task(name) is get_task(task) is task
        assert pickle.loads(pickle.dumps(task)) is task and copy.deepcopy(task) is task
    with pytest.raises(ConfigError, match=r"unknown task 'multilable' \(did you mean 'multilabel'\?\)"):
        get_task("multilable")


def test_the_kind_of_label_map_decides_the_task() -> None:
    assert ReadSpec(LabelMap("index")).task is ReadSpec(LabelMap("polygons")).task is MULTICLASS
    assert ReadSpec(LabelMap("multilabel")).task is MULTILABEL


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_shapes_agree(task: Task) -> None:
    """A batch of random masks: every method accepts what the others return."""
    classes, shape = 3, task.mask_shape(3, 5, 7)
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(2, (4, *shape), generator=generator, dtype=torch.uint8)
    logits = torch.randn(4, classes, 5, 7, generator=generator)
    prediction = task.logits_to_mask(logits)
    assert prediction.shape == mask.shape and prediction.dtype == torch.uint8
    assert task.activate(logits).shape == logits.shape
    confusion = task.confusion(mask, prediction, classes)
    assert confusion.shape == task.zero_matrix(classes).shape and confusion.dtype == torch.int64
    assert confusion.sum() == mask.numel()
    assert task.pixel_weights(mask, torch.full((classes,), 1 / classes)).shape == mask.shape
    one = mask[0].numpy()
    assert task.to_display(one).shape == task.class_region(one, 1).shape == (5, 7)
    images = task.index_masks(one, default_palette(classes))
    assert len(images) == len(task.mask_names(("a", "b", "c")))
    assert {image.shape for image, _ in images} == {(5, 7)}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_mask_has_the_classes_with_high_probability(task: Task) -> None:
    """The mask and the probabilities come from the same logits and must agree."""
    logits = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1))
    probability, mask = task.activate(logits), task.logits_to_mask(logits)
    if task is MULTICLASS:
        assert torch.allclose(probability.sum(1), torch.ones(2, 9, 9))
        assert torch.equal(probability.argmax(1), mask.long())
    else:
        assert torch.equal(probability > 0.5, mask.bool())


def test_masks_from_logits_by_hand() -> None:
    logits = torch.tensor([[[0.1, -0.1]], [[3.0, -9.0]]])
    assert MULTILABEL.logits_to_mask(logits).tolist() == [[[1, 0]], [[1, 0]]]
    assert MULTICLASS.logits_to_mask(logits).tolist() == [[1, 0]]


# --- confusion matrix


def test_ignored_pixels_are_left_out() -> None:
    mask = torch.tensor([[0, 0, 1], [255, 255, 2]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 1, 1], [0, 2, 2]])
    confusion = MULTICLASS.confusion(mask, prediction, 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert confusion.dtype == torch.int64
    ignored = torch.full((4, 4), 255, dtype=torch.uint8)
    assert MULTICLASS.confusion(ignored, torch.ones(4, 4), 3).tolist() == [[0] * 3] * 3
    assert MULTILABEL.confusion(ignored.expand(3, 4, 4), torch.ones(3, 4, 4), 3).tolist() == [[[0] * 2] * 2] * 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("classes", [2, 3, 21, 255])
def test_multiclass_counts_equal_those_of_numpy(classes: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(classes)
    mask = rng.integers(0, classes, (3, 40, 50), dtype=np.uint8)
    mask[rng.random(mask.shape) < 0.1] = 255
    prediction = rng.integers(0, classes, mask.shape)
    expected = np.zeros((classes, classes), np.int64)
    np.add.at(expected, (mask[mask != 255], prediction[mask != 255]), 1)
    confusion = MULTICLASS.confusion(torch.from_numpy(mask), torch.from_numpy(prediction).to(dtype), classes)
    assert (confusion.numpy() == expected).all()


def test_multilabel_counts_equal_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    mask, prediction = rng.integers(0, 2, (2, 5, 3, 20, 30), dtype=np.uint8)
    mask[rng.random(mask.shape) < 0.1] = 255
    expected = np.zeros((3, 2, 2), np.int64)
    for index in range(3):
        true, predicted = mask[:, index], prediction[:, index]
        np.add.at(expected[index], (true[true != 255], predicted[true != 255]), 1)
    confusion = MULTILABEL.confusion(torch.from_numpy(mask), torch.from_numpy(prediction), 3)
    assert (confusion.numpy() == expected).all()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_counts_of_images_add_up_to_those_of_the_batch(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    masks, predictions = torch.randint(2, (2, 5, *task.mask_shape(2, 8, 9)), generator=generator, dtype=torch.uint8)
    parts = [task.confusion(mask, prediction, 2) for mask, prediction in zip(masks, predictions, strict=True)]
    assert torch.equal(task.confusion(masks, predictions, 2), torch.stack(parts).sum(0))


def test_multilabel_metrics_by_hand() -> None:
    mask = torch.tensor([[[[1, 1, 0, 255]], [[0, 0, 0, 1]]]], dtype=torch.uint8)
    predicted = torch.tensor([[[[1, 0, 1, 1]], [[0, 0, 1, 1]]]], dtype=torch.uint8)
    counts = MULTILABEL.confusion(mask, predicted, 2)
    assert counts.tolist() == [[[0, 1], [1, 1]], [[2, 1], [0, 1]]]
    metrics = Metrics.from_confusion(counts, CLASSES, MULTILABEL, 1, "original")
    assert metrics.classes["bright"].iou == 1 / 3 and metrics.classes["left"].iou == 1 / 2
    assert metrics.mean_iou == pytest.approx(5 / 12) and metrics.accuracy == 4 / 7
    assert metrics.classes["left"].recall == 1 and metrics.classes["left"].precision == 1 / 2


# --- pixels, weights, display


def test_pixel_weights_by_hand() -> None:
    mask = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    assert MULTICLASS.pixel_weights(mask, torch.tensor([0.75, 0.25])).tolist() == [[[0.75, 0.25, 0.0]]]
    channels = torch.tensor([[[[1, 0]], [[255, 1]]]], dtype=torch.uint8)
    weights = MULTILABEL.pixel_weights(channels, torch.tensor([0.75, 0.25]))
    assert weights.tolist() == [[[[1.5, 1.5]], [[0.0, 0.5]]]]


def test_class_pixels_regions_and_fractions_by_hand() -> None:
    mask = np.array([[0, 1, 1, 255]], np.uint8)
    assert MULTICLASS.class_pixels(mask)[:3].tolist() == [1, 2, 0] and MULTICLASS.class_pixels(mask)[255] == 1
    assert MULTICLASS.class_region(mask, 1).tolist() == [[False, True, True, False]]
    assert MULTICLASS.fractions(mask, CLASSES) == {"bright": 0.25, "left": 0.5}
    channels = np.array([[[1, 1, 0, 255]], [[0, 0, 0, 1]]], np.uint8)
    assert MULTILABEL.class_pixels(channels).tolist() == [2, 1]
    assert MULTILABEL.class_region(channels, 0).tolist() == [[True, True, False, False]]
    assert MULTILABEL.fractions(channels, CLASSES) == {"bright": 0.5, "left": 0.25}


def test_pixels_of_a_large_mask_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).integers(0, 256, (33, 21), dtype=np.uint8)
    monkeypatch.setattr("pixelwise.data.task._COUNTED_PIXELS", 50)
    np.testing.assert_array_equal(MULTICLASS.class_pixels(mask), np.bincount(mask.ravel(), minlength=256))
    np.testing.assert_array_equal(
        MULTICLASS.class_pixels(mask[::-1, ::2]), np.bincount(mask[:, ::2].ravel(), None, 256)
    )


def test_classes_with_few_pixels_are_displayed_on_top() -> None:
    mask = np.zeros((2, 2, 3), np.uint8)
    mask[0, 0, 0] = mask[1, 0] = 1
    mask[:, 1, 2] = 255
    assert MULTILABEL.to_display(mask).tolist() == [[0, 1, 1], [2, 2, 255]]
    classes, palette = MULTILABEL.display_classes(CLASSES, default_palette(2))
    assert classes == (*CLASSES, "none") and palette == (*default_palette(2), (0, 0, 0))
    flat = np.array([[0, 1, 255]], np.uint8)
    assert MULTICLASS.to_display(flat) is flat
    assert MULTICLASS.display_classes(CLASSES, default_palette(2)) == (CLASSES, default_palette(2))


def test_index_masks_by_hand() -> None:
    palette = default_palette(2)
    channels = np.array([[[1, 0]], [[0, 1]]], np.uint8)
    images = MULTILABEL.index_masks(channels, palette)
    assert [image.tolist() for image, _ in images] == [[[1, 0]], [[0, 1]]]
    assert [colors for _, colors in images] == [((0, 0, 0), palette[0]), ((0, 0, 0), palette[1])]
    assert MULTILABEL.mask_names(CLASSES) == CLASSES and MULTICLASS.mask_names(CLASSES) == ("",)


def test_confidence_by_hand() -> None:
    probabilities = np.array([[[0.5, 0.1]], [[0.3, 0.7]], [[0.2, 0.2]]], np.float32)
    np.testing.assert_allclose(MULTICLASS.confidence(probabilities), [[0.5, 0.7]])
    # Present or absent: 0.5 and 0.9, 0.7 and 0.7, 0.8 and 0.8. The smallest of each pixel counts.
    np.testing.assert_allclose(MULTILABEL.confidence(probabilities), [[0.5, 0.7]])


def test_label_probability_by_hand() -> None:
    probabilities = torch.tensor([[[0.5, 0.1]], [[0.3, 0.7]], [[0.2, 0.2]]])
    mask = torch.tensor([[2, 1]], dtype=torch.uint8)
    assert MULTICLASS.label_probability(probabilities, mask).tolist() == [pytest.approx([0.2, 0.7])]
    masks, batch = torch.stack([mask, 2 - mask]), probabilities.expand(2, 3, 1, 2)
    assert MULTICLASS.label_probability(batch, masks).flatten().tolist() == pytest.approx([0.2, 0.7, 0.5, 0.7])
    channels = torch.tensor([[[1, 0]], [[1, 0]], [[0, 255]]], dtype=torch.uint8)
    found = MULTILABEL.label_probability(probabilities, channels).flatten()[:5]
    assert found.tolist() == pytest.approx([0.5, 0.9, 0.3, 0.3, 0.8])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_predicted_label_has_the_confidence_as_its_probability(task: Task) -> None:
    logits = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(0))
    probabilities = task.activate(logits)
    chosen = task.label_probability(probabilities, task.logits_to_mask(logits))
    lowest = chosen if task is MULTICLASS else chosen.amin(0)
    np.testing.assert_allclose(lowest.numpy(), task.confidence(probabilities.numpy()), rtol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 9), (301, 333)], ids=str)
def test_the_pixels_of_each_value_are_counted(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    expected = [int((mask == value).sum()) for value in range(256)]
    for pairs in (1 << 22, 500):
        monkeypatch.setattr("pixelwise.data.task._COUNTED_PIXELS", pairs)
        assert MULTICLASS.class_pixels(mask).tolist() == expected
        assert MULTICLASS.class_pixels(mask.T).tolist() == expected


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_confidence_of_a_class_is_the_mean_probability_of_its_pixels(layout: torch.memory_format) -> None:
    logits = torch.randn(1, 4, 9, 7, generator=torch.Generator().manual_seed(0))
    logits[:, 2] -= 100  # a class without pixels
    highest, labels = logits[0].softmax(0).max(0)
    expected = [float(highest[labels == index].mean()) if index != 2 else None for index in range(4)]
    assert MULTICLASS.class_confidence(logits.contiguous(memory_format=layout)[0]) == pytest.approx(expected)
