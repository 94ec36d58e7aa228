"""Classes whose objects are too small for the planned size are a problem, and the advice settles it."""

import re
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.analysis.inspection import DatasetReport, inspect
from pixelwise.planning.checks import find_plan_issues
from pixelwise.planning.rules import make_plan
from tests.data.analysis.helpers import noise, save_pair


def inspect_squares(folder: Path, side: int, image_side: int, count: int = 6) -> DatasetReport:
    """Inspect 4 images with `count` squares of class 1, and a large region of class 2."""
    for number in range(4):
        mask = np.zeros((image_side, image_side), np.uint8)
        mask[image_side // 2 :] = 2
        for place in range(count):
            top, left = 4 + number, 4 + place * (side + 7)
            mask[top : top + side, left : left + side] = 1
        save_pair(folder, f"p{number}", noise(number, (image_side, image_side)), mask)
    return inspect(folder)


def test_objects_of_a_few_pixels_are_measured_at_full_size(tmp_path: Path) -> None:
    report = inspect_squares(tmp_path, side=4, image_side=640)
    small = report.classes[1]
    assert small.object_count == 0, "below 5 pixels in a mask reduced to 256 pixels"
    assert small.typical_size == pytest.approx(4 / 640)


def test_the_advice_for_small_objects_settles_it(tmp_path: Path) -> None:
    report = inspect_squares(tmp_path, side=4, image_side=640)
    plan = make_plan(report, {"image_size": 192}, timed=False)
    (issue,) = find_plan_issues(report, plan)
    assert (issue.kind, issue.severity, issue.file) == ("small objects", "warning", str(tmp_path))
    assert "'class 1'" in issue.message and "image size of 192 px" in issue.message
    advice = re.search(r"set `image_size` to (\d+)", issue.message)
    assert advice is not None
    larger = make_plan(report, {"image_size": int(advice[1])}, timed=False)
    assert find_plan_issues(report, larger) == ()


def test_objects_that_the_images_show_no_larger(tmp_path: Path) -> None:
    report = inspect_squares(tmp_path, side=1, image_side=128)
    (issue,) = find_plan_issues(report, make_plan(report, timed=False))
    assert "merge the class with another" in issue.message and "`image_size`" not in issue.message


def test_objects_that_are_large_enough_are_none(tmp_path: Path) -> None:
    report = inspect_squares(tmp_path, side=20, image_side=256)
    assert find_plan_issues(report, make_plan(report, timed=False)) == ()
