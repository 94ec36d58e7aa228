"""YOLO segmentation: overlaps, settings, and damaged files."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats import FORMATS, detect_format
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import single_mask
from tests.data.formats.writers.folders import lines, save

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def test_smaller_objects_cover_larger_ones(tmp_path: Path) -> None:
    rows = ["1 .25 .25 .5 .25 .5 .5 .25 .5", "0 0 0 1 0 1 1 0 1", ""]
    for order in (rows, rows[::-1]):
        save(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
        lines(tmp_path / "labels" / "a.txt", order)
        lines(tmp_path / "data.yaml", ["names: [cat, dog]", "train: images"])
        assert single_mask(tmp_path / "data.yaml").tolist() == [[1] * 4, [1, 2, 1, 1], [1] * 4, [1] * 4]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 .1 .1 .2 .2", "boxes, not masks"),
        ("0 .1 .1 .5 .5 .2 .2\n0 .1 .1 .2 .2", "has boxes"),
        ("2 .1 .1 .5 .5 .2 .2", "line 1: 2 is not a class number"),
        ("-1 .1 .1 .5 .5 .2 .2", "not a class number"),
        ("nan .1 .1 .5 .5 .2 .2", "not a class number"),
        ("cat .1 .1 .5 .5 .2 .2", "something other than numbers"),
        ("0 .1 .1 .5 .5 .2 1.2", "far outside"),
        ("0 .1 .1 .5 .5 .2 -.2", "outside the image"),
        ("0 .1 .1 .5 .5 .2 nan", "not a number"),
        ("0 .1 .1 .5 .5 .2 .2 .3", "an x and a y"),
        ("0 .1 .1", "fewer than 3 points"),
        ("0", "fewer than 3 points"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_damaged_label_files_raise(row: str, message: str, tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    lines(tmp_path / "data.yaml", ["names: [cat, dog]", "train: images"])
    path = tmp_path / "labels" / "a.txt"
    path.parent.mkdir()
    path.write_bytes(row.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(path))
    lines(tmp_path / "labels" / "b.txt", ["0 0 0 1.0005 0 1 1 -0.0005 1"])
    data = load_dataset(tmp_path, skip_unreadable=True)
    assert [record.image.name for record in data.train] == ["b.png"]
    assert read_image_and_mask(data.train[0], data.read_spec)[1].all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["names: ["], "not valid YAML"),
        (["nc: 3", "names: [a, b]"], "nc is 3, but there are 2 names"),
        (["names: [yes, no]"], "put yes, no, on, off and null in quotes"),
        (["names: {a: 1}"], "must be text"),
        (["names: 3"], "must be a list of names"),
        (["names: [a]", "train: 3"], '"train" must be'),
        (["names: [a]", "train: gone"], "no such folder or list: gone"),
        (["names: [a]", "train: ../../etc"], "no such folder or list"),
    ],
)
def test_damaged_settings_raise(rows: list[str], message: str, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
    lines(tmp_path / "labels" / "a.txt", ["0 0 0 1 0 1 1 0 1"])
    lines(tmp_path / "data.yaml", rows)
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "data.yaml"))


def test_a_yaml_file_next_to_mask_images_is_not_yolo(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        save(tmp_path / name / "a.png", np.zeros((4, 4), np.uint8))
    lines(tmp_path / "data.yaml", ["names: 3", "train: ["])
    assert FORMATS["yolo-seg"].component(tmp_path) is None
    assert detect_format(tmp_path)[0] == "folders"
