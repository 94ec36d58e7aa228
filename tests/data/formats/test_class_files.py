"""Files that name the classes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import (
    assert_error,
    assert_one_line,
    read_as,
    touch,
)
from tests.data.formats.writers.folders import save

SKY_ROAD = {0x408040: "sky", 0x0000FF: "road"}


@pytest.mark.parametrize(
    ("file", "text", "field", "names"),
    [
        ("classes.txt", "sky\nold road\n", "class_names", ("sky", "old road")),
        ("labels.txt", "\ufeffsky\r\n\r\nroad\r\n", "class_names", ("sky", "road")),
        ("class_names.txt", "0 sky\n7 old road\n", "names_by_value", {0: "sky", 7: "old road"}),
        ("Classes.TXT", "0: sky\n1: road\n", "names_by_value", {0: "sky", 1: "road"}),
        ("codes.txt", "sky\nroad", "class_names", ("sky", "road")),
        ("classes.txt", "class 1\nclass 2", "class_names", ("class 1", "class 2")),
        ("label_colors.txt", "64 128 64\tsky\n0 0 255\t\troad\n", "names_by_color", SKY_ROAD),
        ("class_dict.csv", "name,r,g,b\nsky,64,128,64\nroad, 0, 0, 255\n", "names_by_color", SKY_ROAD),
        ("class_dict.csv", "r,g,b,name\n64,128,64,sky\n", "names_by_color", {0x408040: "sky"}),
        ("labelmap.txt", "# label:color_rgb\nsky:64,128,64::\nroad:0,0,255::a,b\n", "names_by_color", SKY_ROAD),
        ("_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n", "names_by_value", {0: "sky", 1: "road"}),
        ("_classes.json", '{"sky": 0, "road": 3}', "names_by_value", {0: "sky", 3: "road"}),
        ("classes.json", '{"0": "sky", "3": "road"}', "names_by_value", {0: "sky", 3: "road"}),
        ("classes.json", '["sky", "road"]', "class_names", ("sky", "road")),
        ("label_map.json", '{"sky": [1, 2, 3]}', "names_by_color", {0x010203: "sky"}),
        ("classes.json", '[{"name": "sky", "color": "#010203"}]', "names_by_color", {0x010203: "sky"}),
        ("classes.json", '{"classes": [{"id": 4, "name": "sky"}]}', "names_by_value", {4: "sky"}),
        ("class_dict_seg.csv", "name, r, g, b\nsky, 64, 128, 64\nroad, 0, 0, 255\n", "names_by_color", SKY_ROAD),
        ("label_class_dict.csv", "name,r,g,b\nsky,64,128,64\nroad,0,0,255\n", "names_by_color", SKY_ROAD),
        ("my colors.csv", "Label,Red,Green,Blue\nsky,64,128,64\nroad,0,0,255\n", "names_by_color", SKY_ROAD),
        ("label_names.txt", "sky\nroad\n", "class_names", ("sky", "road")),
        ("classes.txt", "void\nsky\nvoid\n", "class_names", ("void", "sky", "void")),
        ("classes.txt", "0 void\n1 sky\n2 void\n", "names_by_value", {0: "void", 1: "sky", 2: "void"}),
        ("dataset_meta.json", '{"label_map": {"0": "sky", "1": "road"}}', "names_by_value", {0: "sky", 1: "road"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "masks/"])
def test_class_files_are_read(place: str, file: str, text: str, field: str, names: object, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / place / file).write_text(text, encoding="utf-8")
    result = read_as("folders", tmp_path)
    assert getattr(result, field) == names
    others = {"class_names", "names_by_value", "names_by_color"} - {field}
    assert not any(getattr(result, other) for other in others)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "sky\nsky\n"),
        ("classes.json", "{"),
        ("classes.json", "7"),
        ("classes.json", '{"sky": {}}'),
        ("classes.json", '{"sky": 0, "road": 0}'),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,x\n"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,256\n"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,3\nroad,1,2,3\n"),
        ("_classes.csv", "sky\n"),
        ("_classes.csv", f"Pixel Value, Class\n{'9' * 5000}, sky\n"),
        ("_classes.json", '{"sky": 1e999}'),
        ("_classes.json", '{"sky": [1e999, 0, 0]}'),
        ("dataset_meta.json", '{"labels": [{"name": "sky", "color": [1e999, 0, 0]}]}'),
        ("classes.txt", f"{'9' * 5000} sky\n"),
        ("labelmap.txt", f"sky:{'9' * 5000},0,0::\n"),
    ],
)
def test_damaged_class_files_raise_with_their_path(file: str, text: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / file).write_text(text)
    assert_error("folders", tmp_path, str(tmp_path / file))


def test_binary_class_files_and_pipes_raise(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00\xd8")
    assert_error("folders", tmp_path, str(tmp_path / "classes.txt"), "UTF-8")
    (tmp_path / "classes.txt").unlink()
    os.mkfifo(tmp_path / "classes.txt")
    assert_error("folders", tmp_path, str(tmp_path / "classes.txt"), "not a file")


def test_contradicting_class_files_raise(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.jpg", "train/1_mask.png", "valid/2.jpg", "valid/2_mask.png")
    (tmp_path / "train/_classes.csv").write_text("Pixel Value, Class\n0, sky\n")
    (tmp_path / "valid/_classes.csv").write_text("Pixel Value, Class\n0, road\n")
    assert_error("folders", tmp_path, "train/_classes.csv", "valid/_classes.csv", "keep only the correct file")


def test_files_with_colors_and_values(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    labels = [
        {"name": "nature--sky", "readable": "sky", "color": [64, 128, 64]},
        {"name": "road", "color": [0, 0, 255]},
    ]
    config, meta = tmp_path / "config.json", tmp_path / "dataset_meta.json"
    config.write_text(json.dumps({"labels": labels, "version": 1}))
    meta_text = json.dumps(
        {"label_map": {"0": "sky", "1": "road"}, "segmentation_colors": [[64, 128, 64], [0, 0, 255]]}
    )
    for other, path in ((meta, config), (config, meta)):
        result = read_as("folders", tmp_path)
        assert (result.names_by_color, result.names_by_value) == (SKY_ROAD, {0: "sky", 1: "road"})
        path.unlink()
        other.write_text(meta_text)


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"labels": 3}', '{"id2label": {"0": "cat"}}', '{"label_map": {"cat": 1}}']
)
def test_json_files_of_other_programs_are_ignored(text: str, tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    for name in ("config.json", "meta.json", "dataset_meta.json"):
        (tmp_path / name).write_text(text)
    (tmp_path / "scores.csv").write_text("name,r,q\nsky,1,2\n")
    result = read_as("folders", tmp_path)
    assert not (result.class_names or result.names_by_value or result.names_by_color)


def test_several_entries_for_ignore_can_share_a_color(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.jpg", "masks/1.png")
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nvoid,0,0,0\nunlabeled,0,0,0\nsky,64,128,64\nroad,0,0,255\n")
    result = read_as("folders", tmp_path)
    assert result.names_by_color == SKY_ROAD | {0: "void"}
    assert result.class_names == ("void", "unlabeled", "sky", "road"), "masks of indices count the rows"


@pytest.mark.parametrize(
    ("values", "classes"),
    [((0, 128, 255), ("sky", "road", "car")), ((0, 1, 2), ("sky", "road", "car")), ((0, 255), ("sky", "road", "car"))],
)
@pytest.mark.parametrize("as_rgb", [False, True])
def test_gray_colors_of_a_list_name_gray_masks(
    values: tuple[int, ...], classes: tuple[str, ...], as_rgb: bool, tmp_path: Path
) -> None:
    mask = np.resize(np.array(values, np.uint8), (6, 9))
    save(tmp_path / "images/1.png", np.zeros((6, 9, 3), np.uint8))
    save(tmp_path / "masks/1.png", np.repeat(mask[:, :, None], 3, 2) if as_rgb else mask)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nsky,0,0,0\nroad,128,128,128\ncar,255,255,255\n")
    data = load_dataset(tmp_path)
    assert data.classes == classes
    index = {value: position for position, value in enumerate((0, 128, 255))} | {1: 1, 2: 2}
    assert np.array_equal(data.read(data.train[0])[1], np.vectorize(index.get)(mask))


def test_colors_of_a_list_name_indices_by_their_order(tmp_path: Path) -> None:
    mask = np.resize(np.array((0, 1, 2, 3), np.uint8), (6, 8))
    save(tmp_path / "images/1.png", np.zeros((6, 8, 3), np.uint8))
    save(tmp_path / "masks/1.png", mask)
    rows = "unlabeled,0,0,0\npaved,128,64,128\ndirt,130,76,0\ngrass,0,102,0\n"
    (tmp_path / "class_dict_seg.csv").write_text(f"name, r, g, b\n{rows}")
    data = load_dataset(tmp_path)
    assert data.classes == ("paved", "dirt", "grass")
    assert np.array_equal(data.read(data.train[0])[1], np.array([255, 0, 1, 2])[mask])


@pytest.mark.parametrize(("name", "length"), [("x" * 1001, "1,001"), ("", "0")])
def test_class_names_that_no_model_can_have(name: str, length: str, tmp_path: Path) -> None:
    save(tmp_path / "images/1.png", np.zeros((6, 8, 3), np.uint8))
    save(tmp_path / "masks/1.png", np.resize(np.array((0, 128, 255), np.uint8), (6, 8)))
    (tmp_path / "class_dict.csv").write_text(f"name,r,g,b\nsky,0,0,0\n{name},128,128,128\ncar,255,255,255\n")
    with pytest.raises(DataError) as error:
        load_dataset(tmp_path)
    assert_one_line(error, tmp_path, f"class 1 ('{name[:20]}') has {length} characters, but a name has 1 to 1,000")
    (tmp_path / "class_dict.csv").write_text(f"name,r,g,b\nsky,0,0,0\n{'x' * 1000},128,128,128\ncar,255,255,255\n")
    assert len(load_dataset(tmp_path).classes[1]) == 1000
