"""COCO: overlaps, categories, splits, and damaged files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import box, read_as, single_mask
from tests.data.formats.writers.annotations import (
    write_json,
)
from tests.data.formats.writers.folders import save

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def coco_file(path: Path, *annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    """Write a COCO file with two categories and one image of 8x6 pixels, a.png next to it. Return its content."""
    save(path.parent / "a.png", np.zeros((6, 8, 3), np.uint8))
    categories = [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}]
    images = [{"id": 1, "file_name": "a.png", "width": 8, "height": 6, **image}]
    items = [{"id": index, "image_id": 1, "category_id": 2, **item} for index, item in enumerate(annotations)]
    content = {"images": images, "annotations": items, "categories": categories}
    write_json(path, content)
    return content


def test_smaller_objects_cover_larger_ones_and_crowds(tmp_path: Path) -> None:
    crowd: dict[str, Any] = {
        "segmentation": {"size": [6, 8], "counts": [0, 12, 36]},
        "iscrowd": 1,
    }  # the two columns on the left
    small: dict[str, Any] = {"segmentation": [box(1, 1, 3, 3)], "category_id": 5}
    large: dict[str, Any] = {"segmentation": [box(0, 0, 4, 4)]}
    for order in ([small, large, crowd], [crowd, large, small], [large, crowd, small]):
        coco_file(tmp_path / "a.json", *order)
        mask = single_mask(tmp_path / "a.json")
        expected = np.zeros((6, 8), np.uint8)
        expected[:, :2] = 255
        expected[:4, :4] = 1
        expected[1:3, 1:3] = 2
        assert np.array_equal(mask, expected)
    coco_file(tmp_path / "a.json", {**large, "id": 9, "category_id": 5}, {**large, "id": 3})
    assert single_mask(tmp_path)[0, 0] == 2, "of two equal objects, the one with the higher id is on top"


def crowd(category: int = 2, **more: Any) -> dict[str, Any]:
    """Return an annotation with iscrowd: the left column."""
    return {"segmentation": {"size": [6, 8], "counts": [0, 6, 42]}, "iscrowd": 1, "category_id": category, **more}


@pytest.mark.parametrize(
    ("annotations", "value"),
    [
        ([crowd(), {"segmentation": [box(4, 0, 6, 2)]}], 255),  # a crowd, as in COCO
        ([crowd(), crowd(5), {"segmentation": [box(4, 0, 6, 2)], "category_id": 2}], 2),  # all annotations of dog
        ([*[crowd()] * 9, {"segmentation": [box(4, 0, 6, 2)], "category_id": 5}], 1),  # nearly all annotations
        ([crowd(attributes={"occluded": False}), {"segmentation": [box(4, 0, 6, 2)]}], 1),  # CVAT
        ([crowd(attributes={"a": 1}), {"segmentation": [box(4, 0, 6, 2)]}], 255),
        ([crowd()], 1),
        ([crowd(9), {"segmentation": [box(4, 0, 6, 2)]}], 255),  # a crowd of the background
    ],
)
def test_iscrowd_in_nearly_all_annotations_does_not_mean_crowds(
    annotations: list[dict[str, Any]], value: int, tmp_path: Path
) -> None:
    content = coco_file(tmp_path / "a.json", *annotations)
    content["categories"].append({"id": 9, "name": "background"})
    write_json(tmp_path / "a.json", content)
    data = load_dataset(tmp_path)
    assert data.read(data.train[0])[1][0, 0] == value
    message = "iscrowd is 1 in nearly all annotations of a class, or in masks from CVAT"
    assert [message in line for line in data.messages] == [True] * (value != 255)


def test_the_advice_about_iscrowd_works(tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", crowd(5), {"segmentation": [box(4, 0, 6, 2)]})
    (message,) = load_dataset(tmp_path).messages
    assert "(dog 1); they are read as objects and not as crowds; to ignore a class, name it in" in message
    data = load_dataset(tmp_path, ignore_values=["dog"])
    assert data.read(data.train[0])[1][0].tolist() == [255, 0, 0, 0, 1, 1, 0, 0]


def test_annotations_without_an_outline_are_counted_and_block_nothing(tmp_path: Path) -> None:
    two_points = {"segmentation": [[0, 0, 1, 1]]}
    coco_file(tmp_path / "a.json", SQUARE, {"segmentation": []}, {"bbox": [0, 0, 1, 1]}, two_points)
    issues = [str(issue).partition("image 1: ")[2] for issue in read_as("coco", tmp_path).issues]
    assert issues == [
        "2 regions are left out (annotation: has no outline (an empty segmentation), only a box or points)",
        "1 region is left out (annotation: a polygon of fewer than 3 points encloses nothing)",
    ]
    assert single_mask(tmp_path).sum() == 4
    pairs = {"segmentation": [[[0, 0], [2, 0], [2, 2], [0, 2]]]}
    coco_file(tmp_path / "a.json", pairs)
    assert single_mask(tmp_path).sum() == 4


@pytest.mark.parametrize("name", ["A.PNG", "photos\\a.Png"])
def test_images_are_found_in_any_case(name: str, tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", SQUARE, file_name=name)
    assert load_dataset(tmp_path).train[0].image == tmp_path / "a.png"


@pytest.mark.parametrize("name", ["_background_", "__background__", "BACKGROUND"])
def test_other_names_of_the_background_are_class_0_too(name: str, tmp_path: Path) -> None:
    content = coco_file(tmp_path / "a.json", SQUARE)
    content["categories"] = [{"id": 0, "name": name}, {"id": 2, "name": "cat"}]
    write_json(tmp_path / "a.json", content)
    assert read_as("coco", tmp_path).classes == ("background", "cat")


def test_only_a_val_split_is_read(tmp_path: Path) -> None:
    content = coco_file(tmp_path / "val2017" / "x.json", SQUARE)
    (tmp_path / "val2017" / "x.json").unlink()
    write_json(tmp_path / "annotations" / "instances_val2017.json", content)
    data = load_dataset(tmp_path)
    assert not data.train and len(data.val) == 1
    with pytest.raises(DataError, match="no 'train' split; splits with images: val"):
        data.records("train")


def test_a_polygon_far_outside_the_image_is_drawn(tmp_path: Path) -> None:
    far = [value for index in range(5000) for value in (99999 if index % 2 else -99999, index % 7)]
    coco_file(tmp_path / "a.json", {"segmentation": [far]}, {"segmentation": [box(20, 1, 25, 3)]}, SQUARE)
    assert single_mask(tmp_path).shape == (6, 8)
    assert [str(issue).partition("image 1: ")[2] for issue in read_as("coco", tmp_path).issues] == [
        "outlines reach far outside the image and are clipped (2 regions); check the annotations"
    ]
    coco_file(tmp_path / "a.json", {"segmentation": [box(9, 1, 12, 3)]}, SQUARE)
    assert "outlines are outside the image (1 region); check" in load_dataset(tmp_path).messages[0]


def test_a_category_named_background_is_class_0(tmp_path: Path) -> None:
    content = coco_file(tmp_path / "a.json", {"segmentation": [box(0, 0, 2, 2)], "category_id": 5})
    content["categories"] = [{"id": 2, "name": "cat"}, {"id": 5, "name": "Background"}, {"id": 4, "name": "ape"}]
    write_json(tmp_path / "a.json", content)
    assert read_as("coco", tmp_path).classes == ("background", "cat", "ape")
    assert not single_mask(tmp_path).any()


def test_some_of_several_hundred_classes_can_be_selected(tmp_path: Path) -> None:
    items = [{"segmentation": [box(x, 0, x + 1, 6)], "category_id": 250 + x} for x in range(8)]
    content = coco_file(tmp_path / "a.json", *items)
    content["categories"] = [{"id": number, "name": f"kind {number}"} for number in range(1, 400)]
    write_json(tmp_path / "a.json", content)
    data = load_dataset(tmp_path, classes=["kind 256", "kind 254", "kind 255"])
    assert data.classes == ("background", "kind 256", "kind 254", "kind 255")
    assert read_image_and_mask(data.train[0], data.read_spec)[1][0].tolist() == [0, 0, 0, 0, 2, 3, 1, 0]


def test_trainval_replaces_a_missing_train_file(tmp_path: Path) -> None:
    save(tmp_path / "images" / "b.png", np.ones((6, 8, 3), np.uint8))
    content = coco_file(tmp_path / "images" / "x.json", {"segmentation": [box(0, 0, 2, 2)]})
    (tmp_path / "images" / "x.json").unlink()
    write_json(tmp_path / "annotations" / "trainval.json", content)
    assert len(read_as("coco", tmp_path).train) == 1
    other = {**content, "images": [{**content["images"][0], "file_name": "b.png"}]}
    write_json(tmp_path / "annotations" / "train.json", other)
    assert [record.image.name for record in read_as("coco", tmp_path).records] == ["b.png"]
    write_json(
        tmp_path / "annotations" / "val.json", {**other, "images": [{**other["images"][0], "file_name": "c.png"}]}
    )
    result = read_as("coco", tmp_path)
    assert len(result.records) == 1 and all(issue.severity == "warning" for issue in result.issues)
    assert "none of its 1 images is here" in str(result.issues[0])


def test_paths_never_leave_the_root(tmp_path: Path) -> None:
    save(tmp_path / "secret.png", np.zeros((6, 8, 3), np.uint8))
    for name in ("../secret.png", str(tmp_path / "secret.png"), "..\\secret.png", "images/../../secret.png"):
        coco_file(tmp_path / "data" / "a.json", {"segmentation": [box(0, 0, 2, 2)]}, file_name=name)
        with pytest.raises(DataError, match=r"a\.json, image 1: no such image here"):
            load_dataset(tmp_path / "data")
        write_json(tmp_path / "me" / "a.json", {"version": "5", "shapes": [], "imagePath": name})
        with pytest.raises(DataError, match=r"a\.json: no such image here"):
            load_dataset(tmp_path / "me")


SQUARE = {"segmentation": [box(0, 0, 2, 2)]}


NAN = float("nan")


DAMAGED: list[tuple[list[dict[str, Any]], str]] = [
    ([{"segmentation": [[0, 0, 1, 1]]}], "fewer than 3 points"),
    ([{"segmentation": [[0, 0, 1, 1, 2]]}], "an x and a y"),
    ([{"segmentation": [[]]}], "fewer than 3 points"),
    ([{"segmentation": []}, {"segmentation": {"size": [6, 8], "counts": [47]}}], "add up"),
    ([{"segmentation": "abc"}], "no outline"),
    ([{"segmentation": [["0", "0", "1", "1", "2", "2"]]}], "a list of numbers"),
    ([{"segmentation": [[0, 0, 1, None, 2, 2]]}], "a list of numbers"),
    ([{"segmentation": [[0, 0, 1, 1, 2, NAN]]}], "not a number"),
    ([{"segmentation": [[0, 0, 1, 1, 2, 1e9]]}], "far outside"),
    ([{"segmentation": [0, 0, 1, 1, 2, 2]}], "a list of numbers"),
    ([{**SQUARE, "category_id": -2}], "category_id"),
    ([{**SQUARE, "category_id": "cat"}], "category_id"),
    ([{**SQUARE, "category_id": 3}], "category_id"),
    ([{**SQUARE, "image_id": -1}], "image_id"),
    ([{**SQUARE, "image_id": None}], "image_id"),
    ([{"segmentation": {"size": [8, 6], "counts": [48]}}], "but the image is 8x6"),
    ([{"segmentation": {"size": [6, 8], "counts": [47]}}], "add up"),
    ([{"segmentation": {"size": [6, 8], "counts": [50, -2]}}], "counts"),
    ([{"segmentation": {"size": [6, 8], "counts": ["48"]}}], "counts"),
    ([{"segmentation": {"size": [6, 8], "counts": "~~"}}], "invalid characters"),
    ([{"segmentation": {"size": [6, 8], "counts": "0Po"}}], "cut off"),
    ([{"segmentation": {"size": [6, 8], "counts": "00"}}], "add up"),
    ([{"segmentation": {"size": [6, 8], "counts": "b1N"}}], "add up"),  # 50 and −2
    ([{"segmentation": {"size": "6x8", "counts": "00"}}], "size"),
    ([{"bbox": [0, 0, 1, 1]}], "only boxes"),
]


@pytest.mark.parametrize(("annotations", "message"), DAMAGED)
def test_damaged_annotations_raise(annotations: list[dict[str, Any]], message: str, tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", *annotations)
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, '"images" must be a list'),
        ({"annotations": [3]}, '"annotations" must be a list of objects'),
        ({"categories": []}, "no categories"),
        ({"categories": [{"id": -1, "name": "a"}]}, "category 0"),
        ({"categories": [{"id": 1}]}, "category 0"),
        ({"categories": [{"id": 2, "name": "a"}, {"id": 2, "name": "b"}]}, "a and also b"),
        ({"images": [{"id": 1}]}, "image 0"),
        ({"images": [{"file_name": "a.png"}]}, "image 0"),
        ({"images": [{"id": 1, "file_name": "a.png"}] * 2}, "two images have the id 1"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]}, "listed twice"),
        ({"images": [{"id": 1, "file_name": "a.png", "width": "8", "height": 6}]}, "positive integers"),
        ({"images": [{"id": 1, "file_name": "gone.png"}]}, "no such image here: gone.png"),
        ({"images": ...}, 'no "images"'),
        ({"annotations": ...}, 'no "annotations"'),
        ({"categories": ...}, 'no "categories"'),
    ],
)
def test_damaged_files_raise(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = coco_file(tmp_path / "a.json", SQUARE) | change
    write_json(tmp_path / "a.json", {key: value for key, value in content.items() if value is not ...})
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a.json"))


def test_an_image_of_another_size_than_its_annotations_raises(tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", SQUARE, width=80, height=60)
    for classes in ([], ["dog"]):
        data = load_dataset(tmp_path, classes=classes)
        with pytest.raises(DataError, match=r"a\.json, image 1: drawn on an image of 80x60, but the image is 8x6"):
            read_image_and_mask(data.train[0], data.read_spec)


def test_polygons_of_two_points_are_left_out(tmp_path: Path) -> None:
    self_crossing = [0, 0, 4, 4, 4, 0, 0, 4]
    coco_file(tmp_path / "a.json", {"segmentation": [box(0, 0, 2, 2), [3, 3, 4, 4]]}, {"segmentation": [self_crossing]})
    assert single_mask(tmp_path).max() == 1


@pytest.mark.parametrize("text", [b'{"images": [', b'{"images": "\xff"}', b'{"images":' + b"[" * 100_000])
def test_invalid_json_raises(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    for root in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(DataError, match=r"is not valid JSON|not UTF-8") as error:
            read_as("coco", root)
        assert str(error.value).startswith(str(tmp_path / "a.json"))
