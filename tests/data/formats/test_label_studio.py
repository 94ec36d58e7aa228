"""Label Studio: regions, annotations of a task, and damaged exports."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

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
        {"result": [], "was_cancelled": True},
    ]
    write_json(tmp_path / "a.json", [{"id": 1, "annotations": annotations, "data": {"image": "12345678-a.png"}}])
    result = read_as("label-studio", tmp_path / "a.json")
    assert [issue.kind for issue in result.issues] == ["several annotations", "region left out"]
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


def write_tasks(root: Path, *tasks: list[list[dict[str, Any]]]) -> None:
    """Write an export of images 0.png, … of 8x6 pixels. A task is a list of annotations, which are lists of values."""
    entries = []
    for number, annotations in enumerate(tasks):
        save(root / f"{number}.png", np.full((6, 8, 3), number, np.uint8))
        outer = {"original_width": 8, "original_height": 6, "image_rotation": 0}
        results = [{"result": [{**outer, "value": value} for value in values]} for values in annotations]
        entries.append({"id": number, "annotations": results, "data": {"image": f"/data/upload/{number}.png"}})
    write_json(root / "x.json", entries)


def data_url(opaque: np.ndarray, mode: str = "RGBA") -> str:
    """Return a PNG with black on transparent, as the Bitmask tool exports it."""
    pixels = np.zeros((*opaque.shape, 4), np.uint8)
    pixels[..., 3] = np.where(opaque, 255, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


INSIDE = np.pad(np.ones((2, 3), bool), ((1, 3), (2, 3)))
BOX = {"x": 50, "y": 50, "width": 50, "height": 50, "rectanglelabels": ["box"]}


def test_bitmasks_are_the_opaque_pixels_of_an_image(tmp_path: Path) -> None:
    write_tasks(tmp_path, [[{"imageDataURL": data_url(INSIDE), "bitmasklabels": ["cat"]}, BOX]])
    expected = np.where(INSIDE, 2, 0)
    expected[3:, 4:] = 1
    assert load_dataset(tmp_path).classes == ("background", "box", "cat")
    assert np.array_equal(single_mask(tmp_path), expected)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "must be an image in base64"),
        ("https://host/mask.png", "must be an image in base64"),
        ("data:image/png;base64,x", "cannot be read"),
        ("data:image/png;base64,eA==", "cannot be read"),
        (data_url(INSIDE, "RGB"), "it has no opacity"),
        (data_url(INSIDE[1:]), "has 8x5 pixels, but the image has 8x6"),
    ],
)
def test_damaged_bitmasks_raise(url: object, message: str, tmp_path: Path) -> None:
    write_tasks(tmp_path, [[{"imageDataURL": url, "bitmasklabels": ["cat"]}]], [[BOX]])
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'x.json'}, task 0: 0.png: region 0 (from 0)")
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


def test_regions_that_cannot_be_drawn_are_counted_and_block_nothing(tmp_path: Path) -> None:
    points = [{"width": 0.4, "keypointlabels": ["cat"]}, {"x": 1, "y": 1, "width": 0.4, "labels": ["cat"]}]
    others: list[dict[str, Any]] = [
        {"vertices": [{"x": 1, "y": 2}], "vectorlabels": ["cat"]},
        {"points": [[1, 1], [2, 2]], "polygonlabels": ["cat"]},
        {"points": [[1, 1], [2, 2], [3, 1]]},
    ]
    choice = {"choices": ["sunny"]}
    write_tasks(tmp_path, [[*points, *others, choice, BOX]], [[*points, BOX]])
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "box") and data.read(data.train[0])[1].sum() == 12
    texts = [str(issue).partition(", task 0: ")[2] for issue in read_as("label-studio", tmp_path).issues]
    assert texts == [
        "4 regions are left out, here and in 1 other place (key point: it encloses nothing)",
        "1 region is left out (vectorlabels: this kind of region is not supported)",
        "1 region is left out (polygonlabels: a polygon of fewer than 3 points encloses nothing)",
        "1 region is left out (points: it must have one label, and has 0)",
    ]
    write_tasks(tmp_path, [[others[0]]], [[BOX]])
    with pytest.raises(DataError, match=r"region 0 \(from 0, vectorlabels\): this kind of region is not supported"):
        load_dataset(tmp_path)


def test_images_are_found_by_the_names_that_label_studio_gives_to_uploads(tmp_path: Path) -> None:
    write_tasks(tmp_path, [[BOX]])
    (tmp_path / "0.png").rename(tmp_path / "photo 1 (copy).png")
    text = (tmp_path / "x.json").read_text()
    (tmp_path / "x.json").write_text(text.replace("/data/upload/0.png", "/data/upload/1/0123abcd-photo_1_copy.png"))
    assert [record.image.name for record in load_dataset(tmp_path).train] == ["photo 1 (copy).png"]


def test_tasks_with_several_annotations_are_one_warning(tmp_path: Path) -> None:
    small = {**BOX, "width": 25}
    write_tasks(tmp_path, [[BOX], [small]], [[small]], [[small], [BOX]])
    data = load_dataset(tmp_path)
    (message,) = data.messages
    assert message.endswith("task 0: has 2 annotations, and 1 other task has several; the last one is used")
    assert [int(data.read(record)[1].sum()) for record in data.train] == [6, 6, 12]


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
        ({"annotations": region(points=[[0, NAN], *POINTS], polygonlabels=["a"])}, "not a number"),
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
