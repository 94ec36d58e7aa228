"""Outlines: COCO, YOLO, labelme and Label Studio read back to what was written, and broken files are told by name."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixelwise.data.formats import FORMATS, detect_format
from pixelwise.data.formats._rle import decode_brush_rle, decode_rle_counts
from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.load import load_dataset
from pixelwise.data.schema import SPLITS, DatasetIndex, FormatResult, ReadSpec
from pixelwise.errors import DataError
from tests.data.formats.writers.annotations import (
    NO_IGNORE,
    NO_SPLITS,
    WRITERS,
    brush_codes,
    packed,
    runs_of,
    write_json,
)
from tests.data.formats.writers.folders import Sample, draw_scenes, lines, save

# pycocotools makes numpy warn of a keyword that it does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

CLASSES = ("background", "cat", "猫 dog", "ape")
NAMES = ("scene 1", "a_1", "猫 3", "b.2", "1", "10")


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Six tiny scenes: three in train, one in val, two in test; all classes and void in each but one, which is bare."""
    scenes = draw_scenes(NAMES, (0, 0, 1, 2, 3, 255))
    scenes[1] = replace(scenes[1], mask=np.zeros_like(scenes[1].mask))
    return scenes


def writable(writer: str, samples: Sequence[Sample]) -> list[Sample]:
    """The samples, without void where a format has none."""
    if writer not in NO_IGNORE:
        return list(samples)
    return [replace(each, mask=np.where(each.mask == 255, 0, each.mask).astype(np.uint8)) for each in samples]


def named(mask: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """The class of each pixel by name, "ignore" for 255."""
    return np.array([*classes, *["?"] * (255 - len(classes)), "ignore"])[mask]


def check_same(writer: str, read: dict[str, list[tuple[np.ndarray, np.ndarray]]], found: Sequence[str],
               samples: Sequence[Sample], classes: Sequence[str]) -> None:  # fmt: skip
    """Every sample is there once, in its split, with its own mask, pixel for pixel."""
    left = {sample.image.tobytes(): sample for sample in samples}
    for split, pairs in read.items():
        for image, mask in pairs:
            sample = left.pop(image.tobytes())
            assert split == ("train" if writer in NO_SPLITS else sample.split)
            assert np.array_equal(named(mask, found), named(sample.mask, classes))
    assert not left


def read_layout(layout: FormatResult) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    pairs = {}
    for split in SPLITS:
        images = [(read_image(record.image), record.mask) for record in getattr(layout, split)]
        pairs[split] = [(image, read_mask(mask, layout.label_map, image.shape[:2])) for image, mask in images]
    return pairs


# --- every writer


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_is_read_back(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    samples = writable(writer, samples)
    write(tmp_path, samples, CLASSES)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    layout = FORMATS[format].component(tmp_path)
    assert layout.issues == () and layout.classes[0] == "background" and set(layout.classes) == set(CLASSES)
    if format != "labelme" and format != "label-studio":
        assert layout.classes == CLASSES
    check_same(writer, read_layout(layout), layout.classes, samples, CLASSES)
    data = load_dataset(tmp_path)
    assert data.format == format and data.classes == layout.classes
    pairs = {
        split: [read_image_and_mask(record, data.read_spec) for record in getattr(data, split)] for split in SPLITS
    }
    check_same(writer, pairs, data.classes, samples, CLASSES)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_litter_changes_nothing(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    samples = writable(writer, samples)
    write(tmp_path, samples, CLASSES)
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "._1.png", ".hidden.json", "notes.md", "README", "1.xml", "config.json"):
            (folder / name).write_bytes(b"x")
    layout = FORMATS[format].component(tmp_path)
    assert layout.issues == ()
    check_same(writer, read_layout(layout), layout.classes, samples, CLASSES)


@pytest.mark.parametrize("writer", WRITERS)
def test_real_images_are_read_back(writer: str, real_samples: tuple[list[Sample], list[str]], tmp_path: Path) -> None:
    samples, classes = real_samples
    samples = writable(writer, samples)
    format, write = WRITERS[writer]
    write(tmp_path, samples, classes)
    name, layout = detect_format(tmp_path)
    assert name == format
    check_same(writer, read_layout(layout), layout.classes, samples, classes)


@pytest.mark.parametrize("writer", WRITERS)
def test_classes_can_be_chosen(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    samples = writable(writer, samples)
    WRITERS[writer][1](tmp_path, samples, CLASSES)
    data = load_dataset(tmp_path, classes=["ape", "cat"])
    assert data.classes == ("background", "ape", "cat")
    expected = [replace(each, mask=np.array([0, 2, 0, 1, *[255] * 252], np.uint8)[each.mask]) for each in samples]
    pairs = {
        split: [read_image_and_mask(record, data.read_spec) for record in getattr(data, split)] for split in SPLITS
    }
    check_same(writer, pairs, data.classes, expected, data.classes)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_missing_image_and_one_that_nothing_is_about(writer: str, samples: list[Sample], tmp_path: Path) -> None:
    format, write = WRITERS[writer]
    write(tmp_path, writable(writer, samples), CLASSES)
    if writer != "labelme embedded":
        images = sorted(path for path in tmp_path.rglob("*.png") if "train" in str(path.relative_to(tmp_path)))
        image = (images or sorted(tmp_path.rglob("*.png")))[-1]
        content = image.read_bytes()
        image.unlink()
        fatal = [problem for problem in FORMATS[format].component(tmp_path).issues if problem.severity == "error"]
        assert {problem.kind for problem in fatal} == {"missing image"}
        with pytest.raises(DataError, match=r"add it|add the image|put it beside"):
            load_dataset(tmp_path)
        assert len(load_dataset(tmp_path, skip_unreadable=True).train) > 0
        image.write_bytes(content)
        save(image.with_name("other.png"), samples[0].image)
        problems = FORMATS[format].component(tmp_path).issues
        bare = {"yolo": [], "yolo roboflow": [], "labelme": ["missing mask"], "labelme masks": ["missing mask"]}
        assert [problem.kind for problem in problems] == bare.get(writer, ["image not listed"])


# --- what is on top, what is ignored


def box(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def coco_file(path: Path, *annotations: dict[str, Any], **image: Any) -> dict[str, Any]:
    """A COCO file about one image of 8x6 pixels, a.png beside it, with two categories."""
    save(path.parent / "a.png", np.zeros((6, 8, 3), np.uint8))
    categories = [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}]
    images = [{"id": 1, "file_name": "a.png", "width": 8, "height": 6, **image}]
    filled = [{"id": at, "image_id": 1, "category_id": 2, **each} for at, each in enumerate(annotations)]
    content = {"images": images, "annotations": filled, "categories": categories}
    write_json(path, content)
    return content


def drawn(root: Path) -> np.ndarray:
    """The mask of the one record."""
    data = load_dataset(root)
    ((record,),) = (data.train,)
    return read_image_and_mask(record, data.read_spec)[1]


def test_the_smaller_thing_is_on_top_and_crowds_are_below(tmp_path: Path) -> None:
    crowd = {"segmentation": {"size": [6, 8], "counts": [0, 12, 36]}, "iscrowd": 1}  # the two columns on the left
    small = {"segmentation": [box(1, 1, 3, 3)], "category_id": 5}
    large = {"segmentation": [box(0, 0, 4, 4)]}
    for order in ([small, large, crowd], [crowd, large, small], [large, crowd, small]):
        coco_file(tmp_path / "a.json", *order)
        mask = drawn(tmp_path / "a.json")
        expected = np.zeros((6, 8), np.uint8)
        expected[:, :2] = 255
        expected[:4, :4] = 1
        expected[1:3, 1:3] = 2
        assert np.array_equal(mask, expected)
    coco_file(tmp_path / "a.json", {**large, "id": 9, "category_id": 5}, {**large, "id": 3})
    assert drawn(tmp_path)[0, 0] == 2, "of two alike the one with the higher id"


def test_yolo_has_the_smaller_thing_on_top(tmp_path: Path) -> None:
    rows = ["1 .25 .25 .5 .25 .5 .5 .25 .5", "0 0 0 1 0 1 1 0 1", ""]
    for order in (rows, rows[::-1]):
        save(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
        lines(tmp_path / "labels" / "a.txt", order)
        lines(tmp_path / "data.yaml", ["names: [cat, dog]", "train: images"])
        assert drawn(tmp_path / "data.yaml").tolist() == [[1] * 4, [1, 2, 1, 1], [1] * 4, [1] * 4]


def test_labelme_has_later_shapes_on_top_and_leaves_lines_out(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((40, 40, 3), np.uint8))
    shapes = [
        {"label": "dog", "points": [[20, 20], [20, 30]], "shape_type": "circle"},
        {"label": "cat", "points": [[0, 0], [20, 40]], "shape_type": "rectangle"},
        {"label": "_background_", "points": [[0, 0], [5, 0], [5, 5], [0, 5]], "shape_type": "polygon"},
        {"label": "__ignore__", "points": [[0, 35], [5, 40]], "shape_type": "rectangle"},
        {"label": "pole", "points": [[0, 35], [5, 40]], "shape_type": "line"},
    ]
    write_json(tmp_path / "a.json", {"version": "5", "shapes": shapes, "imagePath": "a.png"})
    layout = FORMATS["labelme"].component(tmp_path)
    assert layout.classes == ("background", "cat", "dog")
    assert [(problem.kind, problem.severity == "warning") for problem in layout.issues] == [("shape without area", True)]
    mask = drawn(tmp_path)
    assert [mask[2, 2], mask[38, 2], mask[10, 10], mask[20, 25], mask[29, 20], mask[32, 20]] == [0, 255, 1, 2, 2, 0]
    assert abs((mask == 2).sum() - np.pi * 50) < 12, "half a circle of radius 10"


def test_label_studio_turns_in_pixels_and_takes_one_annotation(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((40, 80, 3), np.uint8))
    outer = {"original_width": 80, "original_height": 40}
    turned = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 90, "rectanglelabels": ["cat"]}
    round_one = {"x": 75, "y": 50, "radiusX": 10, "radiusY": 20, "ellipselabels": ["dog"]}
    results = [{**outer, "value": value} for value in (turned, round_one)]
    point = {**outer, "value": {"x": 1, "y": 1, "width": 1, "keypointlabels": ["nose"]}}
    del point["value"]["width"]
    annotations = [
        {"result": [], "was_canceled": False},
        {"result": [*results, point], "ground_truth": True},
        {"result": [], "was_canceled": False},
        {"result": [], "was_canceled": True},
    ]
    write_json(tmp_path / "a.json", [{"id": 1, "annotations": annotations, "data": {"image": "12345678-a.png"}}])
    layout = FORMATS["label-studio"].component(tmp_path / "a.json")
    assert [problem.kind for problem in layout.issues] == ["several annotations", "shape without area"]
    assert "has 3 annotations; the ground truth is taken" in str(layout.issues[0])
    mask = drawn(tmp_path)
    assert (mask[21:39, 31:39] == 1).all() and (mask == 1).sum() == 200, "20 wide and 10 high, turned about (40, 20)"
    assert mask[20, 60] == mask[20, 66] == mask[13, 60] == 2 and abs((mask == 2).sum() - np.pi * 64) < 12
    content = [{"id": 1, "annotations": annotations[:1] + annotations[2:], "data": {"image": "a.png"}}]
    write_json(tmp_path / "a.json", content)
    assert "the last one is taken" in str(FORMATS["label-studio"].component(tmp_path).issues[0])
    write_json(
        tmp_path / "a.json", [{**content[0], "annotations": [annotations[0], {"result": results}, annotations[3]]}]
    )
    assert drawn(tmp_path).any()
    for annotations in ([], [{"result": results, "was_canceled": True}]):
        write_json(tmp_path / "a.json", [{**content[0], "annotations": annotations}])
        (problem,) = FORMATS["label-studio"].component(tmp_path).issues
        assert (problem.kind, problem.severity == "warning") == ("missing mask", False)


def test_a_large_brush_is_read_in_little_time() -> None:
    random = np.random.default_rng(0)
    inside = np.kron(random.random((15, 20)) < 0.5, np.ones((10, 10), bool))
    inside[:30] ^= random.random((30, 200)) < 0.5  # values one by one
    assert np.array_equal(decode_brush_rle(brush_codes(inside), *inside.shape), inside)
    for codes in (brush_codes(inside)[:-9], [1, 2], [256], ["a"], None, [], brush_codes(inside[:-1])):
        with pytest.raises(ValueError):
            decode_brush_rle(codes, *inside.shape)


def test_run_lengths_are_unpacked_as_coco_packs_them() -> None:
    random = np.random.default_rng(0)
    for _ in range(100):
        inside = random.random(tuple(random.integers(1, 60, 2))) < random.random() ** 3
        assert decode_rle_counts(packed(inside)["counts"]).tolist() == runs_of(inside)["counts"]


# --- classes


def test_a_category_of_the_file_may_be_the_background(tmp_path: Path) -> None:
    content = coco_file(tmp_path / "a.json", {"segmentation": [box(0, 0, 2, 2)], "category_id": 5})
    content["categories"] = [{"id": 2, "name": "cat"}, {"id": 5, "name": "Background"}, {"id": 4, "name": "ape"}]
    write_json(tmp_path / "a.json", content)
    assert FORMATS["coco"].component(tmp_path).classes == ("background", "cat", "ape")
    assert not drawn(tmp_path).any()


def test_of_several_hundred_classes_some_are_chosen(tmp_path: Path) -> None:
    outlined = [{"segmentation": [box(x, 0, x + 1, 6)], "category_id": 250 + x} for x in range(8)]
    content = coco_file(tmp_path / "a.json", *outlined)
    content["categories"] = [{"id": number, "name": f"kind {number}"} for number in range(1, 400)]
    write_json(tmp_path / "a.json", content)
    data = load_dataset(tmp_path, classes=["kind 256", "kind 254", "kind 255"])
    assert data.classes == ("background", "kind 256", "kind 254", "kind 255")
    assert read_image_and_mask(data.train[0], data.read_spec)[1][0].tolist() == [0, 0, 0, 0, 2, 3, 1, 0]


# --- files that lie otherwise


def test_trainval_is_for_training_where_there_is_no_train(tmp_path: Path) -> None:
    save(tmp_path / "images" / "b.png", np.ones((6, 8, 3), np.uint8))
    content = coco_file(tmp_path / "images" / "x.json", {"segmentation": [box(0, 0, 2, 2)]})
    (tmp_path / "images" / "x.json").unlink()
    write_json(tmp_path / "annotations" / "trainval.json", content)
    assert len(FORMATS["coco"].component(tmp_path).train) == 1
    other = {**content, "images": [{**content["images"][0], "file_name": "b.png"}]}
    write_json(tmp_path / "annotations" / "train.json", other)
    assert [record.image.name for record in FORMATS["coco"].component(tmp_path).records] == ["b.png"]
    write_json(
        tmp_path / "annotations" / "val.json", {**other, "images": [{**other["images"][0], "file_name": "c.png"}]}
    )
    layout = FORMATS["coco"].component(tmp_path)
    assert len(layout.records) == 1 and all(problem.severity == "warning" for problem in layout.issues)
    assert "none of its 1 images is here" in str(layout.issues[0])


def test_a_path_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    save(tmp_path / "secret.png", np.zeros((6, 8, 3), np.uint8))
    for name in ("../secret.png", str(tmp_path / "secret.png"), "..\\secret.png", "images/../../secret.png"):
        coco_file(tmp_path / "data" / "a.json", {"segmentation": [box(0, 0, 2, 2)]}, file_name=name)
        with pytest.raises(DataError, match=r"a\.json, image 1: no such image here"):
            load_dataset(tmp_path / "data")
        write_json(tmp_path / "me" / "a.json", {"version": "5", "shapes": [], "imagePath": name})
        with pytest.raises(DataError, match=r"a\.json: no such image here"):
            load_dataset(tmp_path / "me")


# --- broken files

SQUARE = {"segmentation": [box(0, 0, 2, 2)]}
NAN = float("nan")

BROKEN_COCO: list[tuple[list[dict[str, Any]], str]] = [
    ([{"segmentation": [[0, 0, 1, 1]]}], "fewer than 3 points"),
    ([{"segmentation": [[0, 0, 1, 1, 2]]}], "an x and a y"),
    ([{"segmentation": [[]]}], "fewer than 3 points"),
    ([SQUARE, {"segmentation": []}], "no outline"),
    ([SQUARE, {}], "no outline"),
    ([{"segmentation": "abc"}], "no outline"),
    ([{"segmentation": [["0", "0", "1", "1", "2", "2"]]}], "a list of numbers"),
    ([{"segmentation": [[0, 0, 1, None, 2, 2]]}], "a list of numbers"),
    ([{"segmentation": [[0, 0, 1, 1, 2, NAN]]}], "no number"),
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
    ([{"segmentation": {"size": [6, 8], "counts": "~~"}}], "letters"),
    ([{"segmentation": {"size": [6, 8], "counts": "0Po"}}], "cut off"),
    ([{"segmentation": {"size": [6, 8], "counts": "00"}}], "add up"),
    ([{"segmentation": {"size": [6, 8], "counts": "b1N"}}], "add up"),  # 50 and −2
    ([{"segmentation": {"size": "6x8", "counts": "00"}}], "size"),
    ([{"bbox": [0, 0, 1, 1]}], "only boxes"),
]


@pytest.mark.parametrize(("annotations", "wrong"), BROKEN_COCO)
def test_broken_outlines_of_coco(annotations: list[dict[str, Any]], wrong: str, tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", *annotations)
    with pytest.raises(DataError, match=wrong) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("change", "wrong"),
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
        ({"images": [{"id": 1, "file_name": "a.png", "width": "8", "height": 6}]}, "whole numbers"),
        ({"images": [{"id": 1, "file_name": "gone.png"}]}, "no such image here: gone.png"),
        ({"images": ...}, 'no "images"'),
        ({"annotations": ...}, 'no "annotations"'),
        ({"categories": ...}, 'no "categories"'),
    ],
)
def test_broken_files_of_coco(change: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    content = coco_file(tmp_path / "a.json", SQUARE) | change
    write_json(tmp_path / "a.json", {key: value for key, value in content.items() if value is not ...})
    with pytest.raises(DataError, match=wrong) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a.json"))


def test_a_image_of_another_size_than_its_outlines(tmp_path: Path) -> None:
    coco_file(tmp_path / "a.json", SQUARE, width=80, height=60)
    for classes in ([], ["dog"]):
        data = load_dataset(tmp_path, classes=classes)
        with pytest.raises(DataError, match=r"a\.json, image 1: drawn on an image of 80x60, but the image is 8x6"):
            read_image_and_mask(data.train[0], data.read_spec)


def test_slips_of_the_hand_are_passed_over(tmp_path: Path) -> None:
    crossing = [0, 0, 4, 4, 4, 0, 0, 4]
    coco_file(tmp_path / "a.json", {"segmentation": [box(0, 0, 2, 2), [3, 3, 4, 4]]}, {"segmentation": [crossing]})
    assert drawn(tmp_path).max() == 1


@pytest.mark.parametrize("text", [b'{"images": [', b'{"images": "\xff"}', b'{"images":' + b"[" * 100_000])
def test_what_is_no_json(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text)
    for root in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(DataError, match=r"is no JSON|not UTF-8") as error:
            FORMATS["coco"].component(root)
        assert str(error.value).startswith(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        ("0 .1 .1 .2 .2", "boxes, no masks"),
        ("0 .1 .1 .5 .5 .2 .2\n0 .1 .1 .2 .2", "holds boxes"),
        ("2 .1 .1 .5 .5 .2 .2", "line 1: 2 is no number of a class"),
        ("-1 .1 .1 .5 .5 .2 .2", "no number of a class"),
        ("nan .1 .1 .5 .5 .2 .2", "no number of a class"),
        ("cat .1 .1 .5 .5 .2 .2", "something else than numbers"),
        ("0 .1 .1 .5 .5 .2 1.2", "far outside"),
        ("0 .1 .1 .5 .5 .2 -.2", "outside the image"),
        ("0 .1 .1 .5 .5 .2 nan", "no number"),
        ("0 .1 .1 .5 .5 .2 .2 .3", "an x and a y"),
        ("0 .1 .1", "fewer than 3 points"),
        ("0", "fewer than 3 points"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_broken_labels_of_yolo(row: str, wrong: str, tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    lines(tmp_path / "data.yaml", ["names: [cat, dog]", "train: images"])
    label = tmp_path / "labels" / "a.txt"
    label.parent.mkdir()
    label.write_bytes(row.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=wrong) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(label))
    lines(tmp_path / "labels" / "b.txt", ["0 0 0 1.0005 0 1 1 -0.0005 1"])
    data = load_dataset(tmp_path, skip_unreadable=True)
    assert [record.image.name for record in data.train] == ["b.png"] and drawn_one(data).all()


def drawn_one(data: DatasetIndex) -> np.ndarray:
    return read_image_and_mask(data.train[0], data.read_spec)[1]


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        (["names: ["], "no YAML"),
        (["nc: 3", "names: [a, b]"], "nc is 3, but there are 2 names"),
        (["names: [yes, no]"], "put yes, no, on, off and null in quotes"),
        (["names: {a: 1}"], "must be text"),
        (["names: 3"], "must be a list of names"),
        (["names: [a]", "train: 3"], '"train" must be'),
        (["names: [a]", "train: gone"], "no such folder or list: gone"),
        (["names: [a]", "train: ../../etc"], "no such folder or list"),
    ],
)
def test_broken_settings_of_yolo(rows: list[str], wrong: str, tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((4, 4, 3), np.uint8))
    lines(tmp_path / "labels" / "a.txt", ["0 0 0 1 0 1 1 0 1"])
    lines(tmp_path / "data.yaml", rows)
    with pytest.raises(DataError, match=wrong) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "data.yaml"))


POINTS = [[0, 0], [2, 0], [2, 2]]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"shapes": 3}, "list of"),
        ({"shapes": [3]}, "shape 0"),
        ({"shapes": [{"points": POINTS}]}, "with a label"),
        ({"shapes": [{"label": "a", "points": POINTS[:2]}]}, "fewer than 3 points"),
        ({"shapes": [{"label": "a", "points": [[0, 0], [2, "x"], [2, 2]]}]}, "list of numbers"),
        ({"shapes": [{"label": "a", "points": [[0, 0], [2, NAN], [2, 2]]}]}, "no number"),
        ({"shapes": [{"label": "a", "points": [[0, 0], [2], [2, 2]]}]}, "list of numbers"),
        ({"shapes": [{"label": "a"}]}, "list of numbers"),
        ({"shapes": [{"label": "a", "points": POINTS, "shape_type": "circle"}]}, "two points"),
        ({"shapes": [{"label": "a", "points": POINTS[:2], "shape_type": "star"}]}, "none that pixelwise draws"),
        ({"shapes": [{"label": "a", "points": POINTS[:2], "shape_type": ["mask"]}]}, "none that pixelwise draws"),
        ({"shapes": [{"label": "a", "points": POINTS[:2], "shape_type": "mask", "mask": "x"}]}, "no image in base64"),
        ({"imageWidth": -8}, "whole numbers"),
        ({"imagePath": "b.png"}, "no such image here: b.png"),
        ({"imagePath": 3}, "imagePath must be"),
        ({"imagePath": None}, "imagePath is empty"),
    ],
)
def test_broken_files_of_labelme(change: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    for name in "az":
        save(tmp_path / name / f"{name}.png", np.full((6, 8, 3), ord(name), np.uint8))
        content = {"version": "5", "shapes": [{"label": "a", "points": POINTS}], "imagePath": f"{name}.png"}
        content |= {"imageHeight": 6, "imageWidth": 8}
        write_json(tmp_path / name / f"{name}.json", content | (change if name == "a" else {}))
    with pytest.raises(DataError, match=wrong) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a" / "a.json"))
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


def region(**value: Any) -> list[dict[str, Any]]:
    outer = {key: value.pop(key) for key in ("image_rotation", "original_width") if key in value}
    return [{"result": [{"original_width": 8, "original_height": 6, **outer, "value": value}]}]


@pytest.mark.parametrize(
    ("task", "wrong"),
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
        ({"annotations": region(points=[[0, NAN]], polygonlabels=["a"])}, "no number"),
        ({"annotations": region(x=0, y=0, width="1", height=1, rectanglelabels=["a"])}, "must be numbers"),
        ({"annotations": region(x=0, y=0, width=1, rectanglelabels=["a"])}, "must be numbers"),
        ({"annotations": region(rle=[1, 2], brushlabels=["a"])}, "cut off"),
        ({"annotations": region(rle=[1, 2], brushlabels=["a"], original_width=0)}, "whole numbers"),
        ({"annotations": region(points=POINTS, polygonlabels=["a"], image_rotation=90)}, "turned"),
    ],
)
def test_broken_tasks_of_label_studio(task: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png", np.full((6, 8, 3), ord(name), np.uint8))
    good = {"id": 2, "annotations": region(points=POINTS, polygonlabels=["a"]), "data": {"image": "b.png"}}
    write_json(tmp_path / "x.json", [good, {**good, "id": 1, "data": {"image": "a.png"}, **task}])
    with pytest.raises(DataError, match=wrong) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "x.json"))


STRANGE = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.just(10**30), st.floats(), st.text(max_size=5), st.just([]),
    st.just({}), st.lists(st.floats(), max_size=6), st.just(["a"]), st.just({"a": 1}), st.just("\ud800.png"),
)  # fmt: skip


def places_in(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and index in a JSON."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    return [place for key in keys for place in [(*path, key), *places_in(content[key], (*path, key))]]


@pytest.mark.parametrize("writer", [name for name in WRITERS if not name.startswith("yolo")])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_changed_json_gives_a_layout_or_a_data_error(writer: str, data: st.DataObject, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    random = np.random.default_rng(0)
    tiny = [
        Sample(f"{at}", split, random.integers(0, 256, (3, 4, 3), np.uint8), random.integers(0, 2, (3, 4), np.uint8))
        for at, split in enumerate(("train", "val"))
    ]
    WRITERS[writer][1](folder, tiny, ("background", "cat"))
    path = data.draw(st.sampled_from(sorted(folder.rglob("*.json"))))
    content = json.loads(path.read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(places_in(content) or [()]))
        if not at:
            break
        holder = content
        for key in at[:-1]:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[at[-1]] = deepcopy(data.draw(STRANGE))
        else:
            del holder[at[-1]]
    write_json(path, content)
    try:
        layout = FORMATS[WRITERS[writer][0]].component(folder)
        for record in layout.records if layout else ():
            read_image_and_mask(record, ReadSpec(layout.label_map))
    except DataError as error:
        assert str(folder) in str(error)


def test_a_yaml_beside_masks_is_none_of_yolo(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        save(tmp_path / name / "a.png", np.zeros((4, 4), np.uint8))
    lines(tmp_path / "data.yaml", ["names: 3", "train: ["])
    assert FORMATS["yolo-seg"].component(tmp_path) is None
    assert detect_format(tmp_path)[0] == "folders"
