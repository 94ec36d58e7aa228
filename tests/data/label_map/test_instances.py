"""Masks whose values are the numbers of objects."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.label_map.options import LabelOptions, ResolvedLabels
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import count_mask_values
from pixelwise.data.schema import FormatResult, LabelMap, MultilabelMask, Record
from pixelwise.errors import ConfigError, DataError
from tests.data.label_map.helpers import gray, read, resolve_images

COUNTS = (1, 2, 3, 4, 2, 3, 5, 1)


def numbered(count: int, first: int = 1, dtype: type = np.uint8) -> Image.Image:
    """Draw a mask with objects of 6x6 pixels that have the values first, first + 1, …"""
    mask: np.ndarray = np.zeros((48, 64), dtype)
    for number in range(count):
        row, column = 8 * (number // 8), 8 * (number % 8)
        mask[row + 1 : row + 7, column + 1 : column + 7] = first + number
    return Image.fromarray(mask)


def assert_instances(labels: ResolvedLabels, folder: Path, count: int, first: int = 1) -> None:
    assert labels.classes == ("background", "foreground") and labels.label_map.other_class == 1
    for number in range(count):
        with Image.open(folder / f"{number}.png") as image:
            np.testing.assert_array_equal(read(folder, labels, number), np.asarray(image) >= first)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbers_of_objects_are_one_class(dtype: type, tmp_path: Path) -> None:
    labels = resolve_images([numbered(count, dtype=dtype) for count in COUNTS], tmp_path)
    assert_instances(labels, tmp_path, len(COUNTS))
    (message,) = labels.messages
    assert "values are the numbers of objects: 0 → background, all others → foreground" in message
    assert "each mask has the values 1..n with n from 1 to 5" in message and "`classes` or `label_map`" in message


def test_hundreds_of_objects_in_16_bits_are_one_class(tmp_path: Path) -> None:
    masks = []
    for rows in (10, 20, 18, 12, 15, 17):
        mask = np.zeros((120, 120), np.uint16)
        mask[: rows * 6, :] = np.kron(np.arange(1, rows * 20 + 1).reshape(rows, 20), np.ones((6, 6)))
        masks.append(Image.fromarray(mask))
    assert_instances(resolve_images(masks, tmp_path), tmp_path, len(masks))


def test_names_make_numbers_classes(tmp_path: Path) -> None:
    """The message says how to read them as classes."""
    images = [numbered(count) for count in COUNTS]
    names = ("rest", "a", "b", "c", "d", "e")
    assert resolve_images(images, tmp_path, options=LabelOptions(classes=names)).classes == names
    assert resolve_images(images, tmp_path, names=FormatResult(class_names=names)).classes == names
    pairs = tuple((str(value), name) for value, name in enumerate(names))
    assert resolve_images(images, tmp_path, options=LabelOptions(label_map=pairs)).classes == names


@pytest.mark.parametrize("counts", [(1, 2, 3, 2), (1, 2, 1, 2, 2, 1, 2, 1)], ids=["few masks", "at most two"])
def test_weak_evidence_is_a_question_whose_advice_works(counts: tuple[int, ...], tmp_path: Path) -> None:
    images = [numbered(count) for count in counts]
    with pytest.raises(DataError, match=r"png: values can be classes or the numbers of objects .*`instances`"):
        resolve_images(images, tmp_path)
    labels = resolve_images(images, tmp_path, options=LabelOptions(instances=True))
    assert_instances(labels, tmp_path, len(counts))
    names = ("background", "a", "b", "c")[: max(counts) + 1]
    assert resolve_images(images, tmp_path, options=LabelOptions(classes=names)).classes == names


def test_unique_numbers_are_a_question(tmp_path: Path) -> None:
    images = [numbered(3, first=10 * number + 10) for number in range(4)]
    with pytest.raises(DataError, match=r"12 of 12 values are in a single mask each.*`instances`"):
        resolve_images(images, tmp_path)
    labels = resolve_images(images, tmp_path, options=LabelOptions(instances=True))
    assert_instances(labels, tmp_path, len(images))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_sequence_of_other_values_is_a_question(mode: str, tmp_path: Path) -> None:
    """Objects have the values 40, 80, 120, …, or the colors of a table."""
    colors = np.random.default_rng(0).permutation(256 * 3).reshape(256, 3).astype(np.uint8)
    colors[0] = 0
    masks = [np.asarray(numbered(count)) for count in COUNTS]
    images = [Image.fromarray(mask * 40 if mode == "L" else colors[mask]) for mask in masks]
    with pytest.raises(DataError, match=r"nearly the first n values of one sequence with n from 1 to 5.*`instances`"):
        resolve_images(images, tmp_path)
    labels = resolve_images(images, tmp_path, options=LabelOptions(instances=True))
    np.testing.assert_array_equal(read(tmp_path, labels, 3), masks[3] > 0)


def test_numbers_with_gaps_are_a_question(tmp_path: Path) -> None:
    """Objects that lie behind others have no pixel."""
    images = []
    for number, count in enumerate((12, 20, 16, 9, 14, 24)):
        mask = np.array(numbered(count))
        mask[mask == number + 2] = 0
        images.append(Image.fromarray(mask))
    with pytest.raises(DataError, match=r"nearly the first n values.*`instances`"):
        resolve_images(images, tmp_path)
    assert_instances(resolve_images(images, tmp_path, options=LabelOptions(instances=True)), tmp_path, 6)


def test_random_colors_of_objects_are_a_question(tmp_path: Path) -> None:
    images = []
    for number in range(4):
        colors = np.random.default_rng(number).integers(1, 256, (4, 3), dtype=np.uint8)
        colors[0] = 0
        images.append(Image.fromarray(colors[np.asarray(numbered(3))]))
    with pytest.raises(DataError, match="`instances`"):
        resolve_images(images, tmp_path)
    labels = resolve_images(images, tmp_path, options=LabelOptions(instances=True))
    assert labels.classes == ("background", "foreground") and labels.label_map.kind == "rgb"
    np.testing.assert_array_equal(read(tmp_path, labels, 2), np.asarray(numbered(3)) > 0)


def scattered(count: int) -> Image.Image:
    """Draw a mask with the values 1..count, each in two regions."""
    half = np.asarray(numbered(count))
    return Image.fromarray(np.concatenate([half, half[::-1]]))


@pytest.mark.parametrize(
    "images",
    [
        [scattered(count) for count in COUNTS],
        [numbered(4) for _ in COUNTS],
        [numbered(count) for count in (1, 2, 3)],
        [*(numbered(count) for count in COUNTS), numbered(1, first=4)],
        [numbered(count) for count in (3, 3, 3, 2, 3, 3, 1, 3)],
    ],
    ids=["several regions", "always the same n", "few masks", "gaps", "seldom another n"],
)
def test_classes_are_not_taken_for_numbers(images: list[Image.Image], tmp_path: Path) -> None:
    labels = resolve_images(images, tmp_path)
    assert labels.label_map.other_class is None and len(labels.classes) > 2


def test_classes_rename_the_two_classes_and_255_is_ignored(tmp_path: Path) -> None:
    border = np.array(numbered(3))
    border[20:30] = 255
    options = LabelOptions(instances=True, classes=("street", "person"))
    labels = resolve_images([Image.fromarray(border), numbered(2)], tmp_path, options=options)
    assert labels.classes == ("street", "person")
    assert labels.label_map == LabelMap("index", {0: 0, 255: 255}, other_class=1)
    assert set(np.unique(read(tmp_path, labels))) == {0, 1, 255}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LabelOptions(instances=True, classes=("a", "b", "c")), "has 3 names"),
        (LabelOptions(instances=True, label_map=(("0", "a"),)), "exclude each other"),
        (LabelOptions(instances=True, unlabeled="ignore"), "needs the background"),
    ],
)
def test_options_that_do_not_fit(options: LabelOptions, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_images([numbered(3)], tmp_path, options=options)


def test_masks_without_objects_and_lossy_masks_are_refused(tmp_path: Path) -> None:
    options = LabelOptions(instances=True)
    with pytest.raises(DataError, match="have no object"):
        resolve_images([gray([[0, 0]])], tmp_path, options=options)
    with pytest.raises(DataError, match="saved as JPEG"):
        resolve_images([numbered(3)], tmp_path, ".jpg", options=options)


def test_a_format_with_classes_refuses_instances() -> None:
    result = FormatResult(classes=("a", "b"), label_map=LabelMap("index", {0: 0, 1: 1}))
    with pytest.raises(ConfigError, match="`instances` is for masks whose values are the numbers of objects"):
        resolve_labels(result, count_mask_values([])[0], LabelOptions(instances=True))


def test_one_file_per_class_can_have_numbers(tmp_path: Path) -> None:
    numbered(3).save(tmp_path / "cat.png")
    record = Record(tmp_path / "x.jpg", MultilabelMask((tmp_path / "cat.png", None)))
    result = FormatResult(train=(record,), classes=("cat", "dog"), label_map=LabelMap("multilabel"))
    counts = count_mask_values([record])[0]
    with pytest.raises(DataError, match="`instances` if values are the numbers of objects"):
        resolve_labels(result, counts, LabelOptions())
    labels = resolve_labels(result, counts, LabelOptions(instances=True))
    assert labels.label_map == LabelMap("multilabel", {0: 0}, other_class=1)
    Image.new("RGB", (8, 8), (9, 0, 0)).save(tmp_path / "cat.png")
    with pytest.raises(DataError, match="must be gray"):
        resolve_labels(result, count_mask_values([record])[0], LabelOptions(instances=True))
