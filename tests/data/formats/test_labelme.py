"""labelme: shapes, labels, and damaged files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, DataError
from tests.data.formats.support import read_as, single_mask
from tests.data.formats.writers.annotations import base64_png, write_json
from tests.data.formats.writers.folders import lines, save

# pycocotools makes numpy warn about a keyword that pycocotools does not know yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def test_later_shapes_cover_earlier_ones_and_lines_are_left_out(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((40, 40, 3), np.uint8))
    shapes = [
        {"label": "dog", "points": [[20, 20], [20, 30]], "shape_type": "circle"},
        {"label": "cat", "points": [[0, 0], [20, 40]], "shape_type": "rectangle"},
        {"label": "_background_", "points": [[0, 0], [5, 0], [5, 5], [0, 5]], "shape_type": "polygon"},
        {"label": "__ignore__", "points": [[0, 35], [5, 40]], "shape_type": "rectangle"},
        {"label": "pole", "points": [[0, 35], [5, 40]], "shape_type": "line"},
    ]
    write_json(tmp_path / "a.json", {"version": "5", "shapes": shapes, "imagePath": "a.png"})
    result = read_as("labelme", tmp_path)
    assert result.classes == ("background", "cat", "dog")
    assert [(issue.kind, issue.severity) for issue in result.issues] == [
        ("class left out", "warning"),
        ("region left out", "warning"),
    ]
    assert "pole: only lines have this label" in str(result.issues[0])
    mask = single_mask(tmp_path)
    assert [mask[2, 2], mask[38, 2], mask[10, 10], mask[20, 25], mask[29, 20], mask[32, 20]] == [0, 255, 1, 2, 2, 0]
    assert abs((mask == 2).sum() - np.pi * 50) < 12, "half a circle of radius 10"


def write_one(root: Path, *shapes: dict[str, Any], size: tuple[int, int] = (40, 40), **content: Any) -> None:
    """Write a.png and a.json with some shapes. Their label is "cat" unless they have another."""
    save(root / "a.png", np.zeros((*size, 3), np.uint8))
    items = [{"label": "cat", **shape} for shape in shapes]
    size_keys = {"imageHeight": size[0], "imageWidth": size[1]}
    write_json(root / "a.json", {"version": "5", "shapes": items, "imagePath": "a.png", **size_keys, **content})


@pytest.mark.parametrize("shape_type", ["polygon", "oriented_rectangle", "rotation", "quadrilateral", "rectangle"])
def test_four_corners_are_a_polygon(shape_type: str, tmp_path: Path) -> None:
    write_one(tmp_path, {"points": [[20, 10], [30, 20], [20, 30], [10, 20]], "shape_type": shape_type})
    mask = single_mask(tmp_path)
    assert mask[20, 12] == mask[12, 20] == 1 and mask[12, 12] == 0 and abs(mask.sum() - 200) <= 20


def test_ellipses_have_corners_of_their_box_or_a_center_and_two_axes(tmp_path: Path) -> None:
    write_one(tmp_path, {"points": [[10, 15], [30, 25]], "shape_type": "ellipse"})
    mask = single_mask(tmp_path)
    assert abs(mask.sum() - np.pi * 50) < 10 and mask[20, 11] == mask[16, 20] == 1
    write_one(tmp_path, {"points": [[20, 20], [28, 28], [16, 24]], "shape_type": "ellipse"})
    mask = single_mask(tmp_path)
    assert abs(mask.sum() - np.pi * 8 * 2**0.5 * 4 * 2**0.5) < 20 and mask[27, 27] == 1 and mask[27, 13] == 0


def test_mask_shapes_are_cut_at_the_image(tmp_path: Path) -> None:
    part = base64_png(np.ones((10, 10), bool))
    write_one(tmp_path, {"points": [[-5, -5], [4, 4]], "shape_type": "mask", "mask": part})
    assert single_mask(tmp_path).sum() == 25 and single_mask(tmp_path)[4, 4] == 1
    write_one(tmp_path, {"points": [[50, 5], [59, 14]], "shape_type": "mask", "mask": part})
    with pytest.raises(DataError, match="its mask is outside the image"):
        load_dataset(tmp_path)


def test_the_advice_for_lines_alone_works(tmp_path: Path) -> None:
    line = {"label": "crack", "points": [[5, 10], [35, 10]], "shape_type": "linestrip"}
    write_one(tmp_path, line, {**line, "label": "root", "shape_type": "line"})
    with pytest.raises(DataError, match=r"but 2 lines \(crack, root\); set `line_width` to their width") as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: has no shape with an area") and "for example 5" in str(error.value)
    data = load_dataset(tmp_path, line_width=5)
    assert data.classes == ("background", "crack", "root") and data.messages == ()
    mask = data.read(data.train[0])[1]
    assert (mask[8:12, 5:35] == 2).all() and not mask[14:].any() and not mask[:6].any()


def test_lines_have_bends_with_round_joints_and_a_width_from_1(tmp_path: Path) -> None:
    bend = {"points": [[10, 10], [30, 10], [30, 30]], "shape_type": "linestrip"}
    write_one(tmp_path, bend, {"points": [[3, 3]], "shape_type": "line", "label": "dot"})
    data = load_dataset(tmp_path, line_width=4)
    mask = data.read(data.train[0])[1]
    assert abs((mask == 1).sum() - (2 * 20 * 4 + np.pi * 4 - 4)) < 16 and abs((mask == 2).sum() - np.pi * 4) < 6
    thin = load_dataset(tmp_path, line_width=1)
    rows = thin.read(thin.train[0])[1][9:11, 10:30].any(0)
    assert rows.all(), "a line of one pixel has no gaps"
    for width in (0.5, 0, -3, 5000, float("nan")):
        with pytest.raises(ConfigError, match=r"`line_width` must be from 1 to 1000 pixels, and is"):
            load_dataset(tmp_path, line_width=width)


def test_line_width_is_refused_or_noted_if_there_are_no_lines(tmp_path: Path) -> None:
    write_one(tmp_path / "labelme", {"points": POINTS})
    assert "`line_width` is set, but no file has lines" in load_dataset(tmp_path / "labelme", line_width=3).messages[0]
    for name in ("images", "masks"):
        save(tmp_path / "folders" / name / "a.png", np.arange(16, dtype=np.uint8).reshape(4, 4) % 2)
    with pytest.raises(ConfigError, match="`line_width` is set, but the format folders has no lines; leave it out"):
        load_dataset(tmp_path / "folders", line_width=3)


def test_a_spec_reads_lines_with_the_same_width(tmp_path: Path) -> None:
    write_one(tmp_path, {"points": [[5, 10], [35, 10]], "shape_type": "line"})
    data = load_dataset(tmp_path, line_width=6)
    lines(tmp_path.parent / "data.yaml", [DatasetSpec.of(data).to_yaml()])
    again = DatasetSpec.read(tmp_path.parent / "data.yaml").load(tmp_path)
    assert again.line_width == 6
    assert np.array_equal(again.read(again.train[0])[1], data.read(data.train[0])[1])


def test_shapes_that_cannot_be_drawn_are_counted_and_block_nothing(tmp_path: Path) -> None:
    write_one(
        tmp_path,
        {"points": [[0, 0], [10, 0], [10, 10]]},
        {"points": [[5, 5]], "shape_type": "point"},
        {"points": [[5, 5], [6, 6]], "shape_type": "polygon"},
        {"points": [[5, 5], [6, 6]], "shape_type": "star"},
        {"points": [[5, 5], [6, 6]], "shape_type": "linestrip"},
    )
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "cat") and single_mask(tmp_path)[1, 8] == 1
    (message,) = data.messages
    assert "1 region is left out (point: it encloses nothing) (and 3 more: region left out)" in message
    texts = [str(issue) for issue in read_as("labelme", tmp_path).issues]
    assert "linestrip: a line encloses nothing; set `line_width` to draw lines" in texts[3]
    assert load_dataset(tmp_path, line_width=1).classes == data.classes


def test_points_alone_raise(tmp_path: Path) -> None:
    write_one(tmp_path, {"points": [[5, 5]], "shape_type": "point"})
    with pytest.raises(DataError, match="all shapes are points, which enclose nothing"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    "name", ["A.PNG", "C:\\photos\\A.PNG", "/home/me/a.png", "../other/a.Png", "cafe\u0301.png", None, "", "gone.jpg"]
)
def test_images_are_found_by_name_in_any_case_or_by_the_stem_of_the_file(name: str | None, tmp_path: Path) -> None:
    write_one(tmp_path, {"points": POINTS}, imagePath=name)
    if name and name.startswith("cafe"):
        (tmp_path / "a.png").rename(tmp_path / "caf\u00e9.png")
    data = load_dataset(tmp_path)
    assert len(data.train) == 1
    if name and name != "gone.jpg":
        assert data.messages == ()
    else:
        assert "the image named like the JSON file is used" in data.messages[0]


def test_the_image_inside_a_file_comes_before_one_of_the_same_stem(tmp_path: Path) -> None:
    write_one(tmp_path, {"points": POINTS}, imagePath="b.png", imageData=base64_png(np.ones((40, 40), bool)))
    (record,) = read_as("labelme", tmp_path).train
    assert str(record.image) == f"{tmp_path / 'a.json'} (imageData)"


def test_a_missing_image_is_an_issue(tmp_path: Path) -> None:
    for name in "ab":
        write_one(tmp_path / name, {"points": POINTS}, imagePath=f"{name}.png" if name == "b" else "a.png")
    (tmp_path / "b" / "a.json").rename(tmp_path / "b" / "b.json")
    with pytest.raises(DataError, match=r"b\.json: no such image here: b\.png; add it"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1


POINTS = [[0, 0], [2, 0], [2, 2]]


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shapes": 3}, "list of"),
        ({"shapes": [3]}, "shape 0"),
        ({"shapes": [{"points": POINTS}]}, "with a label"),
        ({"shapes": [{"label": "a", "points": POINTS[:2]}]}, "fewer than 3 points"),
        ({"shapes": [{"label": "a", "points": [[0, 0], [2, "x"], [2, 2]]}]}, "list of numbers"),
        ({"shapes": [{"label": "a", "points": [[0, 0], [2, NAN], [2, 2]]}]}, "not a number"),
        ({"shapes": [{"label": "a", "points": [[0, 0], [2], [2, 2]]}]}, "list of numbers"),
        ({"shapes": [{"label": "a"}]}, "list of numbers"),
        ({"shapes": [{"label": "a", "points": POINTS, "shape_type": "circle"}]}, "two points"),
        ({"shapes": [{"label": "a", "points": POINTS[:2], "shape_type": "star"}]}, "is not supported"),
        ({"shapes": [{"label": "a", "points": POINTS[:2], "shape_type": ["mask"]}]}, "is not supported"),
        (
            {"shapes": [{"label": "a", "points": POINTS[:2], "shape_type": "mask", "mask": "x"}]},
            "not an image in base64",
        ),
        ({"imageWidth": -8}, "positive integers"),
        ({"imagePath": 3}, "imagePath must be"),
    ],
)
def test_damaged_files_raise(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    for name in "az":
        save(tmp_path / name / f"{name}.png", np.full((6, 8, 3), ord(name), np.uint8))
        content: dict[str, Any] = {
            "version": "5",
            "shapes": [{"label": "a", "points": POINTS}],
            "imagePath": f"{name}.png",
        }
        content |= {"imageHeight": 6, "imageWidth": 8}
        write_json(tmp_path / name / f"{name}.json", content | (change if name == "a" else {}))
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "a" / "a.json"))
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1
