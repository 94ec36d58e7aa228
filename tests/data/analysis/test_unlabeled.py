"""Masks of scribbles, in which most pixels were never labeled."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.inspection import DatasetReport, inspect
from tests.data.analysis.helpers import save_pair, scene

SIZE = (120, 160)


def write_strokes(folder: Path, classes: int, width: int = 2, per_image: int = 3, count: int = 8) -> DatasetReport:
    """Write masks with strokes of `per_image` of the classes, and inspect them."""
    for number in range(count):
        mask = np.zeros(SIZE, np.uint8)
        for place in range(per_image):
            left = 10 + 50 * place + number
            mask[10 + 9 * place : 100, left : left + width] = 1 + (place + number) % classes
        save_pair(folder, f"p{number}", scene(number, SIZE), mask)
    return inspect(folder)


@pytest.mark.parametrize(("classes", "width"), [(2, 2), (3, 1), (3, 4)])
def test_thin_strokes_of_several_classes_are_a_conditional_warning(classes: int, width: int, tmp_path: Path) -> None:
    report = write_strokes(tmp_path, classes, width)
    (issue,) = report.issues
    assert (issue.kind, issue.severity) == ("partly labeled", "warning") and not report.obstacle
    assert "If 0 means 'not labeled', as in masks of scribbles, set `unlabeled` to ignore" in issue.message
    answered = inspect(tmp_path, unlabeled="ignore")
    assert answered.issues == () and len(answered.data.classes) == classes


def test_vessels_of_one_class_are_none(tmp_path: Path) -> None:
    assert write_strokes(tmp_path, 1).issues == ()


def test_wide_objects_are_none(tmp_path: Path) -> None:
    assert write_strokes(tmp_path, 3, width=12).issues == ()


def test_images_with_one_class_each_are_none(tmp_path: Path) -> None:
    assert write_strokes(tmp_path, 3, per_image=1).issues == ()
