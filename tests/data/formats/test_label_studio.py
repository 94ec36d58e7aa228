"""Label Studio: regions, annotations of a task, and damaged exports."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import read_as, single_mask
from tests.data.formats.writers.annotations import (
    write_json,
)
from tests.data.formats.writers.folders import save

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def test_rotation_is_in_pixels_and_one_annotation_is_used(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((40, 80, 3), np.uint8))
    outer = {"original_width": 80, "original_height": 40}
    rotated = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 90, "rectanglelabels": ["cat"]}
    ellipse = {"x": 75, "y": 50, "radiusX": 10, "radiusY": 20, "ellipselabels": ["dog"]}
    results = [{**outer, "value": value} for value in (rotated, ellipse)]
    point = {**outer, "value": {"x": 1, "y": 1, "keypointlabels": ["nose"]}}
    annotations = [
        {"result": [], "was_canceled": False},
        {"result": [*results, point], "ground_truth": True},
        {"result": [], "was_canceled": False},
        {"result": [], "was_canceled": True},
    ]
    write_json(tmp_path / "a.json", [{"id": 1, "annotations": annotations, "data": {"image": "12345678-a.png"}}])
    result = read_as("label-studio", tmp_path / "a.json")
    assert [issue.kind for issue in result.issues] == ["several annotations", "shape without area"]
    assert "has 3 annotations; the ground truth is used" in str(result.issues[0])
    mask = single_mask(tmp_path)
    assert (mask[21:39, 31:39] == 1).all() and (mask == 1).sum() == 200, "20 wide and 10 high, rotated about (40, 20)"
    assert mask[20, 60] == mask[20, 66] == mask[13, 60] == 2 and abs((mask == 2).sum() - np.pi * 64) < 12
    content = [{"id": 1, "annotations": annotations[:1] + annotations[2:], "data": {"image": "a.png"}}]
    write_json(tmp_path / "a.json", content)
    assert "the last one is used" in str(read_as("label-studio", tmp_path).issues[0])
    write_json(
        tmp_path / "a.json", [{**content[0], "annotations": [annotations[0], {"result": results}, annotations[3]]}]
    )
    assert single_mask(tmp_path).any()
    for annotations in ([], [{"result": results, "was_canceled": True}]):
        write_json(tmp_path / "a.json", [{**content[0], "annotations": annotations}])
        (issue,) = read_as("label-studio", tmp_path).issues
        assert (issue.kind, issue.severity) == ("missing mask", "error")


POINTS = [[0, 0], [2, 0], [2, 2]]


NAN = float("nan")


def region(**value: Any) -> list[dict[str, Any]]:
    """Return the annotations of a task: one annotation with one region, on an image of 8x6 pixels."""
    outer = {key: value.pop(key) for key in ("image_rotation", "original_width") if key in value}
    return [{"result": [{"original_width": 8, "original_height": 6, **outer, "value": value}]}]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"annotations": 3}, 'list of "annotations"'),
        ({"annotations": [{}]}, 'without a list "result"'),
        ({"data": {}}, "names no image"),
        ({"data": {"image": "gone.png"}}, "no such image here: gone.png"),
        ({"id": 2}, "two tasks have the id 2"),
        ({"data": {"image": "00000000-b.png"}}, "may both be of b.png"),
        ({"annotations": region(points=POINTS)}, "must have one label, and has 0"),
        ({"annotations": region(points=POINTS, polygonlabels=["a", "b"])}, "must have one label, and has 2"),
        ({"annotations": region(points=POINTS, polygonlabels=[3])}, "must be names"),
        ({"annotations": region(points=POINTS[:2], polygonlabels=["a"])}, "fewer than 3 points"),
        ({"annotations": region(points=[[0, NAN]], polygonlabels=["a"])}, "not a number"),
        ({"annotations": region(x=0, y=0, width="1", height=1, rectanglelabels=["a"])}, "must be numbers"),
        ({"annotations": region(x=0, y=0, width=1, rectanglelabels=["a"])}, "must be numbers"),
        ({"annotations": region(rle=[1, 2], brushlabels=["a"])}, "cut off"),
        ({"annotations": region(rle=[1, 2], brushlabels=["a"], original_width=0)}, "must be positive"),
        ({"annotations": region(points=POINTS, polygonlabels=["a"], image_rotation=90)}, "was rotated"),
    ],
)
def test_damaged_tasks_raise(task: dict[str, Any], message: str, tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png", np.full((6, 8, 3), ord(name), np.uint8))
    good = {"id": 2, "annotations": region(points=POINTS, polygonlabels=["a"]), "data": {"image": "b.png"}}
    write_json(tmp_path / "x.json", [good, {**good, "id": 1, "data": {"image": "a.png"}, **task}])
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "x.json"))
