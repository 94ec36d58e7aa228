"""Masks with the values class × 1000 + number of the object."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.label_map.options import LabelOptions
from pixelwise.errors import AmbiguousDataError
from tests.data.label_map.helpers import read, resolve_images


def masks(*values: int, count: int = 5) -> list[Image.Image]:
    """Return masks in which each of the values has a rectangle on the value 7."""
    pixels = np.full((count, 24, 24), 7, np.uint16)
    for number, value in enumerate(values):
        pixels[:, 2:20, 2 * number : 2 * number + 2] = value
    return [Image.fromarray(each) for each in pixels]


def test_they_are_a_question_whose_answer_works(tmp_path: Path) -> None:
    images = masks(24000, 24001, 24002, 26000)
    with pytest.raises(
        AmbiguousDataError, match=r"4 values such as 24000 are probably class × 1000 .* classes 24, 26"
    ) as e:
        resolve_images(images, tmp_path)
    (choice,) = e.value.choices
    pairs = choice["label_map"]
    assert pairs == {"7": "class_7", **{str(24000 + n): "class_24" for n in range(3)}, "26000": "class_26"}
    assert isinstance(pairs, dict)
    labels = resolve_images(images, tmp_path, options=LabelOptions(label_map=tuple(pairs.items())))
    assert labels.classes == ("class_7", "class_24", "class_26")
    assert set(np.unique(read(tmp_path, labels))) == {0, 1, 2}


@pytest.mark.parametrize("values", [(1000, 2000), (1000, 3000, 5000), (300, 900), (24000, 24500)])
def test_other_large_values_are_classes(values: tuple[int, ...], tmp_path: Path) -> None:
    assert len(resolve_images(masks(*values), tmp_path).classes) == len(values) + 1
