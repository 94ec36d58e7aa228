"""Stray values are ignored with a message. Rare classes stay classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.label_map.options import LabelOptions
from pixelwise.data.label_map.resolve import resolve_labels
from pixelwise.data.label_map.value_counts import count_mask_values
from pixelwise.data.schema import FormatResult, LabelMap, MultilabelMask, Record
from pixelwise.errors import DataError
from pixelwise.palette import IGNORE_INDEX
from tests.data.label_map.helpers import read, resolve_images


def masks(count: int = 12, side: int = 72) -> list[np.ndarray]:
    """Draw masks with a block of 1 and a block of 2, which is not one connected region in every mask."""
    drawn = []
    for number in range(count):
        mask = np.zeros((side, side), np.uint8)
        mask[5:30, 5 : 25 + number] = 1
        mask[40:60, 10:30] = mask[40:60, 40:50] = 2
        drawn.append(mask)
    return drawn


def images(drawn: list[np.ndarray]) -> list[Image.Image]:
    return [Image.fromarray(mask) for mask in drawn]


def test_a_value_in_few_pixels_of_one_mask_is_ignored_with_a_message(tmp_path: Path) -> None:
    drawn = masks()
    drawn[3][:5, :5] = 128
    labels = resolve_images(images(drawn), tmp_path)
    assert labels.classes == ("background", "class 1", "class 2")
    assert labels.label_map.value_to_class == {0: 0, 1: 1, 2: 2, 128: IGNORE_INDEX}
    (message,) = [line for line in labels.messages if "stray" in line]
    assert message.startswith("stray value 128 in 1 mask, 25 pixels: ignored") and "`ignore_values` 128" in message
    (issue,) = labels.issues
    assert (issue.kind, issue.severity, issue.file) == ("stray value", "warning", str(tmp_path / "3.png"))
    assert "128 in 1 mask, 25 pixels" in issue.message and "`ignore_values` 128" in issue.message
    assert (read(tmp_path, labels, 3)[:5, :5] == IGNORE_INDEX).all()


def test_the_advice_about_stray_values_works(tmp_path: Path) -> None:
    drawn = masks()
    drawn[3][:5, :5] = 128
    confirmed = resolve_images(images(drawn), tmp_path, options=LabelOptions(ignore_values=("128",)))
    assert confirmed.label_map.value_to_class[128] == IGNORE_INDEX and confirmed.issues == ()
    assert not [line for line in confirmed.messages if "stray" in line]
    names = tuple((text, name) for text, name in zip(("0", "1", "2", "128"), "abcd", strict=True))
    kept = resolve_images(images(drawn), tmp_path, options=LabelOptions(label_map=names))
    assert kept.classes == ("a", "b", "c", "d") and kept.issues == ()


def test_single_pixels_of_other_colors_are_ignored(tmp_path: Path) -> None:
    colors = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], np.uint8)
    drawn = [colors[mask] for mask in masks()]
    for number in (0, 4, 8):
        for place in range(3):
            drawn[number][place, place] = (200 + number, place, 90)
    labels = resolve_images([Image.fromarray(mask) for mask in drawn], tmp_path)
    assert labels.classes == ("background", "#00ff00", "#ff0000")
    assert len(labels.issues) == 9 and sum("stray values" in line for line in labels.messages) == 1


@pytest.mark.parametrize(
    "names",
    [
        FormatResult(class_names=("rest", "cat", "dog")),
        FormatResult(names_by_value={0: "rest", 1: "cat", 2: "dog"}),
    ],
    ids=["ordered", "listed"],
)
def test_names_fit_without_the_stray_values(names: FormatResult, tmp_path: Path) -> None:
    drawn = masks()
    drawn[3][0, 0] = 99
    labels = resolve_images(images(drawn), tmp_path, names=names)
    assert labels.classes == ("rest", "cat", "dog") and labels.label_map.value_to_class[99] == IGNORE_INDEX
    drawn[3][:30, :30] = 99  # too many pixels to be stray
    with pytest.raises(DataError, match="99"):
        resolve_images(images(drawn), tmp_path, names=names)


def test_a_label_map_need_not_name_stray_values(tmp_path: Path) -> None:
    drawn = masks()
    drawn[3][0, 0] = 99
    options = LabelOptions(label_map=(("0", "a"), ("1", "b"), ("2", "c")))
    labels = resolve_images(images(drawn), tmp_path, options=options)
    assert labels.label_map.value_to_class == {0: 0, 1: 1, 2: 2, 99: IGNORE_INDEX}
    assert [issue.kind for issue in labels.issues] == ["stray value"]


def add_tiny_objects(drawn: list[np.ndarray], numbers: range, side: int) -> None:
    for number in numbers:
        drawn[number][-side:, -side:] = 3


@pytest.mark.parametrize(
    ("count", "side", "numbers", "object_side"),
    [
        (12, 72, range(4), 3),  # 9 pixels in a third of the masks
        (12, 72, range(2), 4),  # two masks
        (3, 72, range(1), 5),  # one mask of a small data set
        (1, 72, range(1), 2),  # a single mask
        (3, 400, range(1), 6),  # rare, in one mask of a small data set
        (12, 400, range(12), 2),  # 0.0025 % of the pixels, in every mask
        (20, 300, range(5), 4),  # rare, but in a quarter of the masks
    ],
)
def test_tiny_objects_stay_a_class(count: int, side: int, numbers: range, object_side: int, tmp_path: Path) -> None:
    drawn = masks(count, side)
    add_tiny_objects(drawn, numbers, object_side)
    labels = resolve_images(images(drawn), tmp_path)
    assert labels.classes == ("background", "class 1", "class 2", "class 3")


def test_a_rare_class_is_a_warning(tmp_path: Path) -> None:
    drawn = masks(20, 300)
    add_tiny_objects(drawn, range(5), 4)
    (issue,) = resolve_images(images(drawn), tmp_path).issues
    assert (issue.kind, issue.severity) == ("rare value", "warning")
    assert issue.message.startswith("value 3 is in 5 of 20 masks, with 80 pixels in all: too few to learn a class from")


def test_a_listed_class_is_never_stray(tmp_path: Path) -> None:
    drawn = masks()
    drawn[3][0, 0] = 3
    for names in (FormatResult(class_names=("a", "b", "c", "d")), FormatResult(names_by_value=dict(enumerate("abcd")))):
        labels = resolve_images(images(drawn), tmp_path, names=names)
        assert labels.classes == ("a", "b", "c", "d") and labels.issues == ()


def test_stray_values_in_files_of_one_class_are_ignored(tmp_path: Path) -> None:
    records = []
    for number, mask in enumerate(masks()):
        pixels = np.where(mask == 1, 255, 0).astype(np.uint8)
        pixels[0, 0] = 128 if number == 3 else 0
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        records.append(Record(tmp_path / "x.jpg", MultilabelMask((tmp_path / f"{number}.png", None))))
    result = FormatResult(train=tuple(records), classes=("a", "b"), label_map=LabelMap("multilabel"))
    labels = resolve_labels(result, count_mask_values(records)[0], LabelOptions())
    assert labels.label_map.value_to_class == {0: 0, 255: 1, 128: IGNORE_INDEX}
    assert "stray value 128 in 1 mask, 1 pixel" in labels.messages[0]


def test_two_values_are_never_stray(tmp_path: Path) -> None:
    drawn = [np.zeros((200, 200), np.uint8) for _ in range(12)]
    drawn[3][0, :3] = 255
    labels = resolve_images(images(drawn), tmp_path)
    assert labels.classes == ("background", "foreground")
