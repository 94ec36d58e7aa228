"""labelme: shapes, labels, and damaged files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import read_as, single_mask
from tests.data.formats.writers.annotations import (
    write_json,
)
from tests.data.formats.writers.folders import save

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
    assert [(issue.kind, issue.severity) for issue in result.issues] == [("shape without area", "warning")]
    mask = single_mask(tmp_path)
    assert [mask[2, 2], mask[38, 2], mask[10, 10], mask[20, 25], mask[29, 20], mask[32, 20]] == [0, 255, 1, 2, 2, 0]
    assert abs((mask == 2).sum() - np.pi * 50) < 12, "half a circle of radius 10"


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
        ({"imagePath": "b.png"}, "no such image here: b.png"),
        ({"imagePath": 3}, "imagePath must be"),
        ({"imagePath": None}, "imagePath is empty"),
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
