"""Supervisely: objects, datasets, splits, and damaged files."""

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import read_as, single_mask
from tests.data.formats.writers.annotations import corners, write_json
from tests.data.formats.writers.folders import save
from tests.data.formats.writers.labeling import bitmap

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

Json = dict[str, Any]


def item(kind: str, exterior: list[Any] | None = None, title: str = "cat", **more: Any) -> Json:
    """Return an object."""
    points = {"points": {"exterior": exterior, "interior": more.pop("holes", [])}} if exterior else {}
    return {"classTitle": title, "geometryType": kind, **points, **more}


def write(project: Path, *objects: Json, dataset: str = "ds0", name: str = "a", **more: Any) -> Path:
    """Write an image of 20x10 pixels, its annotation and meta.json. Return the project."""
    save(project / dataset / "img" / f"{name}.png", np.zeros((10, 20, 3), np.uint8))
    content = {"description": "", "tags": [], "size": {"height": 10, "width": 20}, "objects": list(objects), **more}
    write_json(project / dataset / "ann" / f"{name}.png.json", content)
    classes = [{"title": title, "shape": "any", "color": color} for title, color in COLORS.items()]
    classes.append({"title": "nose", "shape": "point", "color": "#123456"})
    write_json(project / "meta.json", {"classes": classes, "tags": []})
    return project


COLORS = {"dog": "#00FF00", "cat": "#DC143C"}

BOX = corners((2, 2, 8, 8))


def test_later_objects_cover_earlier_ones_and_holes_stay_free(tmp_path: Path) -> None:
    frame = item("polygon", BOX, holes=[corners((4, 4, 6, 6)), [[1, 1], [2, 2]]])
    write(tmp_path, item("rectangle", [[12, 9], [0, 0]], title="dog"), frame)
    mask = single_mask(tmp_path)
    assert [mask[1, 1], mask[3, 3], mask[4, 4], mask[9, 1]] == [1, 2, 1, 0]
    assert ((mask == 2).sum(), (mask == 1).sum()) == (36 - 4, 12 * 9 - 32)


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def test_bitmaps_of_all_kinds_are_placed_at_their_origin(tmp_path: Path) -> None:
    part = np.random.default_rng(0).random((4, 5)) < 0.5
    rgba = np.dstack([np.full((4, 5, 3), 255, np.uint8), part.astype(np.uint8) * 255])
    expected = np.zeros((10, 20), bool)
    expected[3:7, 2:7] = part
    for number, data in enumerate((bitmap(part), png(part.astype(np.uint8) * 255), png(part), png(rgba))):
        project = write(tmp_path / str(number), item("bitmap", bitmap={"data": data, "origin": [2, 3]}))
        assert np.array_equal(single_mask(project) == 2, expected)
    outside = item("alpha_mask", alpha_mask={"data": bitmap(part), "origin": [18, 8]})
    assert np.array_equal(single_mask(write(tmp_path / "cut", outside))[8:, 18:] == 2, part[:2, :2])


def test_classes_and_colors_are_those_of_the_project(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, item("polygon", BOX)))
    assert data.classes == ("background", "dog", "cat")
    assert data.palette == ((0, 0, 0), (0, 255, 0), (220, 20, 60))
    (tmp_path / "meta.json").unlink()
    assert load_dataset(tmp_path).classes == ("background", "cat")


def test_objects_without_area_are_counted_and_lines_can_be_drawn(tmp_path: Path) -> None:
    line = item("line", [[2, 5], [18, 5]])
    write(tmp_path, item("point", [[1, 1]]), item("graph", nodes={}), line, item("rectangle", [[0, 0], [2, 2]]))
    warnings = "; ".join(str(issue) for issue in read_as("supervisely", tmp_path).issues)
    assert "(point: a point encloses nothing)" in warnings and "(graph: key points enclose nothing)" in warnings
    assert "set `line_width` to draw lines" in warnings
    data = load_dataset(tmp_path, line_width=2)
    assert (data.read(data.train[0])[1][4:6, 3:17] == 2).all()
    with pytest.raises(DataError, match="no region has an area"):
        load_dataset(write(tmp_path / "2", item("point", [[1, 1]])))


@pytest.mark.parametrize("layout", ["", "datasets/train", "train"])
def test_datasets_are_found_at_any_depth(layout: str, tmp_path: Path) -> None:
    write(tmp_path, item("polygon", BOX), dataset=layout)
    assert [record.image.name for record in load_dataset(tmp_path).train] == ["a.png"]


def test_a_single_dataset_uses_the_classes_of_its_project(tmp_path: Path) -> None:
    write(tmp_path, item("polygon", BOX))
    assert load_dataset(tmp_path / "ds0").classes == ("background", "dog", "cat")


def test_equal_names_in_two_datasets_are_two_images(tmp_path: Path) -> None:
    write(tmp_path, item("polygon", BOX), dataset="ds0")
    write(tmp_path, item("polygon", BOX, title="dog"), dataset="ds1")
    data = load_dataset(tmp_path)
    assert [int(data.read(record)[1].max()) for record in data.train] == [2, 1]


def test_splits_are_datasets_or_image_tags(tmp_path: Path) -> None:
    write(tmp_path / "1", item("polygon", BOX), dataset="train")
    write(tmp_path / "1", item("polygon", BOX), dataset="val")
    assert [len(load_dataset(tmp_path / "1").records(split)) for split in ("train", "val")] == [1, 1]
    write(tmp_path / "2", item("polygon", BOX), name="a", tags=[{"name": "sunny"}, {"name": "test"}])
    write(tmp_path / "2", item("polygon", BOX), name="b")
    assert [len(load_dataset(tmp_path / "2").records(split)) for split in ("train", "test")] == [1, 1]
    (issue,) = read_as("supervisely", tmp_path / "2").issues
    assert "splits come from image tags (test: 1)" in issue.message


def test_files_named_without_the_suffix_of_the_image(tmp_path: Path) -> None:
    write(tmp_path, item("polygon", BOX))
    (tmp_path / "ds0" / "ann" / "a.png.json").rename(tmp_path / "ds0" / "ann" / "a.json")
    assert single_mask(tmp_path).max() == 2


def test_missing_images_and_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, item("polygon", BOX))
    save(tmp_path / "ds0" / "img" / "b.png", np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(DataError, match=r"b.png: has no JSON file in ann/"):
        load_dataset(tmp_path)
    (tmp_path / "ds0" / "img" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a.png.json: no such image here: ds0/img/a.png; add it"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"objects": 3}, "must be an object with a list"),
        ({"size": None}, 'must have a "size"'),
        ({"size": {"height": -1, "width": 3}}, "must be positive integers"),
        ({"objects": [3]}, r"object 0 \(from 0\): must be an object with a classTitle"),
        ({"objects": [item("polygon", BOX[:2])]}, "has 2 points, and needs at least 3"),
        ({"objects": [item("polygon")]}, 'must have "points"'),
        ({"objects": [item("polygon", [[0, 0], [1, "x"], [2, 2]])]}, "list of numbers"),
        ({"objects": [item("bitmap", bitmap={"data": "x", "origin": [0, 0]})]}, "not a compressed PNG file"),
        ({"objects": [item("bitmap", bitmap={"data": "eJw=", "origin": [0, 0]})]}, "not a compressed PNG file"),
        ({"objects": [item("bitmap", bitmap={"data": "", "origin": [0]})]}, "data and an origin"),
    ],
)
def test_damaged_files_are_named_and_can_be_skipped(bad: Json, message: str, tmp_path: Path) -> None:
    write(tmp_path, name="a", **bad)
    write(tmp_path, item("polygon", BOX), name="b")
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'ds0' / 'ann' / 'a.png.json'}: ")
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1
