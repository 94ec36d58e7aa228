"""VIA: regions, the attribute that names the class, and damaged files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import DataError
from tests.data.formats.support import read_as, single_mask
from tests.data.formats.writers.annotations import write_json
from tests.data.formats.writers.folders import lines, save

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")

Json = dict[str, Any]


def region(shape: Json | str, **attributes: object) -> Json:
    """Return a region. A text "x y width height" is a rectangle."""
    if isinstance(shape, str):
        numbers = map(int, shape.split())
        shape = {"name": "rect", **dict(zip(("x", "y", "width", "height"), numbers, strict=True))}
    return {"shape_attributes": shape, "region_attributes": attributes}


def write(folder: Path, *regions: Json, name: str = "a", file: str = "via.json", **project: Json) -> Path:
    """Write an image of 20x10 pixels and a file of VIA with its regions. Return the folder."""
    save(folder / f"{name}.png", np.zeros((10, 20, 3), np.uint8))
    entries = {f"{name}.png1": {"filename": f"{name}.png", "size": 1, "regions": list(regions), "file_attributes": {}}}
    content = {"_via_settings": {}, "_via_img_metadata": entries, **project} if project else entries
    write_json(folder / file, content)
    return folder


POINT: Json = {"name": "point", "cx": 3, "cy": 3}
LINE: Json = {"name": "polyline", "all_points_x": [2, 18], "all_points_y": [5, 5]}


def test_shapes_and_their_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        region("0 0 8 8", kind="cat"),
        region({"name": "polygon", "all_points_x": [4, 8, 8, 4], "all_points_y": [4, 4, 8, 8]}, kind="dog"),
        region({"name": "circle", "cx": 14, "cy": 5, "r": 4.0}, kind="cat"),
        region({"name": "ellipse", "cx": 14, "cy": 5, "rx": 3, "ry": 1, "theta": np.pi / 2}, kind="dog"),
    )
    mask = single_mask(tmp_path)
    assert [mask[1, 1], mask[5, 5], mask[5, 11], mask[7, 14], mask[5, 17]] == [1, 2, 1, 2, 1]
    assert abs((mask[:, 9:] > 0).sum() - np.pi * 16) < 6 and abs((mask[:, 9:] == 2).sum() - np.pi * 3) < 3


def test_regions_without_area_are_counted_and_lines_can_be_drawn(tmp_path: Path) -> None:
    write(tmp_path, region(POINT, kind="cat"), region("0 0 8 2", kind="cat"), region(LINE, kind="dog"))
    warnings = [str(issue) for issue in read_as("via", tmp_path).issues]
    assert len(warnings) == 2 and "1 region is left out (point: a point encloses nothing)" in warnings[0]
    assert "(polyline: a line encloses nothing; set `line_width` to draw lines)" in warnings[1]
    data = load_dataset(tmp_path, line_width=2)
    assert (data.read(data.train[0])[1][4:6, 3:17] == 2).all()


def test_only_points_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no region has an area"):
        load_dataset(write(tmp_path, region(POINT, kind="cat")))


def test_without_attributes_all_regions_are_one_class(tmp_path: Path) -> None:
    result = read_as("via", write(tmp_path, region("0 0 8 8"), region("9 0 4 4", kind="")))
    assert result.classes == ("background", "foreground")
    assert [(issue.kind, issue.severity) for issue in result.issues] == [("class attribute", "warning")]
    assert (single_mask(tmp_path) == 1).sum() == 64 + 16


def test_a_region_without_a_class_is_ignored(tmp_path: Path) -> None:
    checkboxes = {"cat": True, "dog": False}
    both = {"cat": True, "dog": True}
    write(tmp_path, region("0 0 2 2", kind=checkboxes), region("4 0 2 2"), region("8 0 2 2", kind=both))
    mask = single_mask(tmp_path)
    assert [mask[0, 0], mask[0, 4], mask[0, 8], mask[0, 12]] == [1, 255, 255, 0]
    issues = read_as("via", tmp_path).issues
    assert [issue.kind for issue in issues] == ["region without class"] * 2
    assert "no value of 'kind'" in issues[0].message and "several values of 'kind'" in issues[1].message


OLD = region("0 0 8 8", kind="cat", age="old")
YOUNG = region("9 0 8 8", kind="dog", age="young")


def test_several_attributes_are_asked_about_and_the_advice_works(tmp_path: Path) -> None:
    write(tmp_path, OLD, YOUNG)
    with pytest.raises(DataError, match=r"'kind' \(cat, dog\) and 'age' \(old, young\); set `classes` to the values"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, classes=["cat", "dog"])
    assert data.classes == ("background", "cat", "dog")
    assert np.unique(data.read(data.train[0])[1]).tolist() == [0, 1, 2]
    assert load_dataset(tmp_path, label_map={"old": "aged"}).classes == ("background", "aged", "young")
    with pytest.raises(DataError, match="set `classes`"):
        load_dataset(tmp_path, classes=["cat", "old"])
    again = DatasetSpec.of(data).load(tmp_path)
    assert again.classes == data.classes
    assert np.array_equal(again.read(again.train[0])[1], data.read(data.train[0])[1])


def test_the_only_attribute_with_options_names_the_class(tmp_path: Path) -> None:
    declared = {"kind": {"type": "text"}, "age": {"type": "radio", "options": {"young": "", "old": "", "new": ""}}}
    result = read_as("via", write(tmp_path, OLD, YOUNG, _via_attributes={"region": declared}))
    assert result.classes == ("background", "young", "old", "new")
    (issue,) = result.issues
    assert "'age' is the class: it is the only one with a list of options" in issue.message


def test_an_attribute_that_differs_in_every_region_is_not_the_class(tmp_path: Path) -> None:
    regions = [region(f"{4 * at} 0 2 2", number=str(at), kind="cat" if at % 2 else "dog") for at in range(4)]
    with pytest.raises(DataError, match="set `classes`"):
        load_dataset(write(tmp_path / "three", *regions[:3]))
    result = read_as("via", write(tmp_path / "four", *regions))
    assert result.classes == ("background", "cat", "dog")
    (issue,) = result.issues
    assert "'kind' is the class: it is the only one with repeated values" in issue.message


def test_csv_files(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((10, 20, 3), np.uint8))
    save(tmp_path / "b.png", np.zeros((10, 20, 3), np.uint8))
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    square = '"{""name"":""rect"",""x"":0,""y"":0,""width"":4,""height"":4}"'
    rows = [head, f'a.png,9,"{{}}",1,0,{square},"{{""kind"":""cat""}}"', 'b.png,9,"{}",0,0,"{}","{}"']
    for first in ("", "#"):
        lines(tmp_path / "via_export_csv.csv", [f"{first}{rows[0]}", *rows[1:]])
        for root in (tmp_path, tmp_path / "via_export_csv.csv"):
            data = load_dataset(root)
            assert (data.format, data.classes) == ("via", ("background", "cat"))
            assert [int(data.read(record)[1].sum()) for record in data.train] == [16, 0]
    lines(tmp_path / "via_export_csv.csv", [head, 'a.png,9,"{}",1,0,"{""name"":","{}"'])
    with pytest.raises(DataError, match=r"via_export_csv.csv, line 2: cannot be read .*; export it again"):
        load_dataset(tmp_path)


def test_a_project_and_its_export_are_used_once(tmp_path: Path) -> None:
    write(tmp_path, region("0 0 8 8", kind="cat"), file="project.json", _via_attributes={})
    write(tmp_path, region("0 0 8 8", kind="cat"), file="export.json")
    assert len(load_dataset(tmp_path).train) == 1
    (issue,) = read_as("via", tmp_path).issues
    assert issue.severity == "warning" and "1 image with equal shapes in an earlier file" in issue.message
    write(tmp_path, region("0 0 9 8", kind="cat"), file="export.json")
    with pytest.raises(DataError, match=r"is listed twice, also as .*with other shapes; keep one entry"):
        load_dataset(tmp_path)


def test_splits_are_folders_or_names_of_files(tmp_path: Path) -> None:
    for name, file in {"a": "via_train.json", "b": "via_val.json"}.items():
        write(tmp_path / "1", region("0 0 8 8", kind="cat"), name=name, file=file)
    data = load_dataset(tmp_path)
    assert [len(split) for split in (data.train, data.val, data.test)] == [1, 1, 0]


def test_urls_are_found_by_their_file_name(tmp_path: Path) -> None:
    write(tmp_path, region("0 0 8 8", kind="cat"))
    entry = {"filename": "https://host/dir/a%20b.png?x=1", "size": -1, "regions": [region("0 0 8 8", kind="cat")]}
    save(tmp_path / "a b.png", np.zeros((10, 20, 3), np.uint8))
    write_json(tmp_path / "via.json", {"key": entry})
    assert [record.image.name for record in load_dataset(tmp_path).train] == ["a b.png"]


def test_videos_of_version_3_are_left_out(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((10, 20, 3), np.uint8))
    files = {"1": {"fid": "1", "fname": "a.png", "type": 2}, "2": {"fid": "2", "fname": "b.mp4", "type": 4}}
    metadata = {
        "x": {"vid": "1", "z": [], "xy": [8, 0, 2, 4, 0, 8, 2, 4, 6], "av": {"1": "cat"}},
        "y": {"vid": "2", "z": [0.5, 2.0], "xy": [], "av": {"1": "cat"}},
        "z": {"vid": "1", "z": [], "xy": [9, 0, 2, 4, 0, 8, 2], "av": {"1": "cat"}},
    }
    content = {
        "project": {"pid": "1", "pname": "x"},
        "attribute": {"1": {"aname": "kind", "type": 1, "options": {}}},
        "file": files,
        "metadata": metadata,
        "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
    }
    write_json(tmp_path / "project.json", content)
    result = read_as("via", tmp_path)
    assert [issue.kind for issue in result.issues] == ["not an image", "region left out"]
    assert (single_mask(tmp_path) == 1).sum() == 8 * 6


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"region_attributes": {}}, 'region 0 .*must have "shape_attributes" with a name'),
        (region({"name": "rect", "x": 1, "y": "a", "width": 3, "height": 3}, kind="cat"), "must be numbers"),
        (region({"name": "circle", "cx": 1, "cy": 1}, kind="cat"), "cx, cy, r must be numbers"),
        (region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1]}, kind="cat"), "equal length"),
        (region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}, kind="cat"), "fewer than 3"),
        (region({"name": "ellipse", "cx": 1, "cy": 1, "rx": 2, "ry": 2, "theta": "x"}, kind="cat"), "theta must be"),
        (region("0 0 2 2", kind="a\nb"), "'kind' must be a name"),
    ],
)
def test_damaged_regions_name_the_image_and_can_be_skipped(bad: Json, message: str, tmp_path: Path) -> None:
    write(tmp_path / "1", bad, name="a")
    write(tmp_path / "2", region("0 0 8 8", kind="cat"), name="b")
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / '1' / 'via.json'}, image a.png1: ")
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"k": {"filename": "a.png", "regions": 3}}, 'image k: must have "regions"'),
        (
            {"k": {"filename": "a.png", "regions": []}, "l": {"regions": []}},
            "image l: must be an object with a filename",
        ),
        ({"k": {"filename": "b.png", "regions": []}}, r"image k: no such image here: b.png; add it"),
        ({"project": {"pname": "x"}, "metadata": {}}, "must be objects of objects"),
    ],
)
def test_damaged_files_raise(content: Json, message: str, tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((10, 20, 3), np.uint8))
    write_json(tmp_path / "via.json", content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path)
