"""YOLO segmentation: overlaps, settings, and damaged files."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.formats.registry import FORMATS, detect_format
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


@pytest.mark.parametrize("row", ["names: [a]", "nc: 1", "train: images"])
def test_keys_that_are_there_twice_raise(row: str, tmp_path: Path) -> None:
    write_labels(tmp_path, {"images/a": SQUARE})
    for name in ("data.yaml", "coco8-seg.yaml"):
        lines(tmp_path / name, ["names: [a, b]", "nc: 2", "train: images", row])
        with pytest.raises(DataError, match=rf"{name}: is not valid YAML \(line 4: \w+ is there twice\); fix it"):
            load_dataset(tmp_path)
        (tmp_path / name).unlink()
    lines(tmp_path / "data.yaml", ["names: {0: cat, 1: dog, 0: ape}", "train: images"])
    with pytest.raises(DataError, match="line 1: 0 is there twice"):
        load_dataset(tmp_path)
    lines(tmp_path / "data.yaml", ["names: {0: a, 1: b}", "train: images"])
    assert load_dataset(tmp_path).classes == ("background", "a", "b")


def write_labels(root: Path, label_files: dict[str, str], suffix: str = ".png") -> None:
    """Write images of 4x4 pixels and label files. A key is the image's path without its suffix."""
    for name, text in label_files.items():
        save(root / f"{name}{suffix}", np.zeros((4, 4, 3), np.uint8))
        lines(root / f"{name.replace('images', 'labels').replace('Images', 'Labels')}.txt", [text])


SQUARE = "0 0 0 .5 0 .5 .5 0 .5"


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("images/train/1", "images/val/2"),  # Ultralytics' archives
        ("train/images/1", "valid/images/2"),
        ("train/1", "val/2"),  # label files next to the images
        ("Images/Train/1", "Images/Val/2"),
    ],
)
def test_without_settings_classes_have_their_numbers_as_names(train: str, val: str, tmp_path: Path) -> None:
    write_labels(tmp_path, {train: SQUARE, val: "7 .5 .5 1 .5 1 1 .5 1"})
    lines(tmp_path / "README.md", ["# data"])
    data = load_dataset(tmp_path)
    assert (data.format, data.classes) == ("yolo-seg", ("background", "class 0", "class 7"))
    assert (len(data.train), len(data.val)) == (1, 1)
    assert data.read(data.val[0])[1].tolist() == [[0] * 4] * 2 + [[0, 0, 2, 2]] * 2
    (message,) = data.messages
    assert "no data.yaml names the classes" in message and "for example class 0=cat" in message
    assert load_dataset(tmp_path, label_map={"class 0": "cat"}).classes == ("background", "cat", "class 7")
    lines(tmp_path / "data.yaml", [f"names: {{{', '.join(f'{n}: c{n}' for n in range(8))}}}"])
    data = load_dataset(tmp_path)
    assert data.messages == () and data.classes[:3] == ("background", "c0", "c1")


@pytest.mark.parametrize("name", ["train/classes.txt", "obj.names"])
def test_a_list_of_names_is_enough_without_settings(name: str, tmp_path: Path) -> None:
    write_labels(tmp_path, {"train/1": SQUARE})
    lines(tmp_path / name, ["cat", "dog"])
    assert load_dataset(tmp_path).classes == ("background", "cat", "dog")


def test_settings_can_name_a_train_folder_that_is_not_here(tmp_path: Path) -> None:
    write_labels(tmp_path, {"images/val/1": SQUARE})
    lines(tmp_path / "data.yaml", ["names: [cat]", "train: images/train", "val: images/val"])
    data = load_dataset(tmp_path)
    assert not data.train and len(data.val) == 1
    assert "no such folder or list: images/train; left out" in data.messages[0]


@pytest.mark.parametrize(
    "text", ["a photo of a cat", "0 5 5 9 5 9 9", "0.5 0 0 1 0 1 1", "-1 0 0 1 0 1 1", "0 0 0 1 0 1"]
)
def test_other_text_files_are_not_label_files(text: str, tmp_path: Path) -> None:
    write_labels(tmp_path, {"images/1": text})
    assert FORMATS["yolo-seg"].component(tmp_path) is None


def test_label_files_beside_masks_do_not_decide_without_settings(tmp_path: Path) -> None:
    write_labels(tmp_path, {"images/1": SQUARE})
    save(tmp_path / "masks" / "1.png", np.zeros((4, 4), np.uint8))
    assert detect_format(tmp_path)[0] == "folders"


def test_boxes_alone_raise_without_settings(tmp_path: Path) -> None:
    write_labels(tmp_path, {"images/1": "0 .5 .5 .2 .2"})
    with pytest.raises(DataError, match="the labels are boxes, not masks"):
        load_dataset(tmp_path)


def test_boxes_beside_polygons_are_counted_and_block_nothing(tmp_path: Path) -> None:
    write_labels(tmp_path, {"images/1": f"0 .1 .1 .2 .2\n{SQUARE}"})
    lines(tmp_path / "data.yaml", ["names: [a, b]"])
    assert single_mask(tmp_path).sum() == 4
    (message,) = load_dataset(tmp_path).messages
    assert message.endswith("labels/1.txt: 1 region is left out (box: masks need polygons)")


def test_an_outline_to_and_fro_raises_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "labels" / "1.txt"
    save(tmp_path / "images" / "1.png", np.zeros((300, 4000, 3), np.uint8))
    lines(path, ["0 " + " ".join(f"{index % 2} {index % 97 / 97:.3f}" for index in range(2000))])
    data = load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"a polygon of 2,000 points is 8,000,000 pixels long, more than") as error:
        data.read(data.train[0])
    assert str(error.value).startswith(str(path))


def test_a_yaml_file_next_to_mask_images_is_not_yolo(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        save(tmp_path / name / "a.png", np.zeros((4, 4), np.uint8))
    lines(tmp_path / "data.yaml", ["names: 3", "train: ["])
    assert FORMATS["yolo-seg"].component(tmp_path) is None
    assert detect_format(tmp_path)[0] == "folders"
