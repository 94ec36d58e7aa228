"""Files that name the classes."""

import os
from pathlib import Path

import pytest

from tests.data.formats.support import (
    assert_error,
    read_as,
    touch,
)

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
