"""The headline of an evaluation and the rows of its CSV file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.metrics.evaluation import Evaluation, ImageScore, image_table
from pixelwise.metrics.intervals import Interval, Intervals
from tests.reporting.test_evaluation_report import make_evaluation


def with_interval(half_width: float | None, units: int, unit: str) -> Evaluation:
    evaluation = make_evaluation()
    metrics = replace(evaluation.metrics, mean_iou=0.7912, image_count=298)
    interval = None if half_width is None else Interval(0.79 - half_width, 0.79 + half_width)
    return replace(evaluation, metrics=metrics, intervals=Intervals(interval, {}, units, unit))


@pytest.mark.parametrize(
    ("half_width", "units", "unit", "text"),
    [
        (0.02, 298, "image", "mIoU 0.79 ± 0.02 on 298 images; about 890 more images would halve the interval"),
        (0.0081, 298, "image", "mIoU 0.791 ± 0.008 on 298 images; about 890 more images would halve the interval"),
        (0.05, 7, "group", "mIoU 0.79 ± 0.05 on 298 images in 7 groups; about 21 more groups would halve the interval"),
        (None, 1, "group", "mIoU 0.791 on 298 images in 1 group; no interval, which needs two groups"),
    ],
)
def test_the_headline(half_width: float | None, units: int, unit: str, text: str) -> None:
    assert with_interval(half_width, units, unit).headline == text


def test_the_headline_of_one_group_states_its_limit() -> None:
    assert with_interval(0.03, 12, "block").headline == (
        "mIoU 0.79 ± 0.03 on 298 images of one group; the interval is of 12 blocks of consecutive images, "
        "and other groups can differ more"
    )


def test_rows_of_the_table() -> None:
    counts = np.array([[6, 1, 3], [0, 0, 0]])
    image = ImageScore("a, b.jpg", "video", counts, pixels=20, correct=15, label_quality=None)
    assert image_table([image], ("cat", "dog")) == [
        ["file", "group", "miou", "accuracy", "label_quality", "pixels", "iou_cat", "iou_dog"],
        ["a, b.jpg", "video", 0.6, 0.75, None, 20, 0.6, None],
    ]


def test_files_have_the_name_of_the_json_file() -> None:
    evaluation = replace(make_evaluation(), path=Path("runs/a.b/evaluation-test-2.json"))
    assert evaluation.page == Path("runs/a.b/evaluation-test-2.html")
    assert evaluation.csv_path == Path("runs/a.b/evaluation-test-2.csv")
    assert make_evaluation().page is None and make_evaluation().csv_path is None
