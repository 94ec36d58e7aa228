"""COCO panoptic: segment ids as colors of PNG files, and their categories in JSON."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelwise.data.formats.registry import detect_format
from pixelwise.data.load import load_dataset
from pixelwise.errors import DataError
from tests.data.formats.support import read_as
from tests.data.formats.writers.annotations import write_json
from tests.data.formats.writers.folders import save

IDS = np.array([[0, 1, 300], [300, 70000, 1]])
CAT, SKY, DOG = 7, 3, 1


def packed(ids: np.ndarray) -> np.ndarray:
    """Return segment ids as colors."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)


def write_panoptic(
    root: Path, split: str = "val2017", stuff: bool = True, folder: str = "annotations", name: str = "1.png"
) -> dict[str, Any]:
    """Write one image and its mask with three segments. Return the content of the JSON file, and write it."""
    save(root / split / name, np.full((*IDS.shape, 3), 50, np.uint8))
    save(root / folder / f"panoptic_{split}" / "1.png", packed(IDS))
    segments = [{"id": 1, "category_id": CAT, "iscrowd": 1}, {"id": 300, "category_id": SKY}]
    segments.append({"id": 70000, "category_id": DOG})
    categories = [
        {"id": CAT, "name": "cat", "isthing": 1},
        {"id": SKY, "name": "sky", "isthing": 0 if stuff else 1},
        {"id": DOG, "name": "dog", "isthing": 1},
    ]
    content = {
        "images": [{"id": 5, "file_name": name, "height": 2, "width": 3}],
        "annotations": [{"image_id": 5, "file_name": "1.png", "segments_info": segments}],
        "categories": categories,
    }
    write_json(root / folder / f"panoptic_{split}.json", content)
    return content


def test_segments_are_classes_and_the_rest_is_ignored_beside_stuff(tmp_path: Path) -> None:
    write_panoptic(tmp_path)
    data = load_dataset(tmp_path)
    assert (data.format, data.classes) == ("coco-panoptic", ("dog", "sky", "cat"))
    assert not data.train and data.read(data.val[0])[1].tolist() == [[255, 2, 1], [1, 0, 2]]
    assert "pixels without a segment are ignored: some categories are stuff" in data.messages[0]


def test_the_rest_is_background_without_stuff_unless_unlabeled_pixels_are_ignored(tmp_path: Path) -> None:
    write_panoptic(tmp_path, stuff=False)
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "dog", "sky", "cat")
    assert data.read(data.val[0])[1].tolist() == [[0, 3, 2], [2, 1, 3]]
    assert "are background, because all categories are things; `unlabeled` can ignore them" in data.messages[0]
    data = load_dataset(tmp_path, unlabeled="ignore")
    assert data.classes == ("dog", "sky", "cat")
    assert data.read(data.val[0])[1].tolist() == [[255, 2, 1], [1, 0, 2]]


def test_a_category_named_background_is_class_0(tmp_path: Path) -> None:
    content = write_panoptic(tmp_path)
    content["categories"][1]["name"] = "_background_"
    write_json(tmp_path / "annotations" / "panoptic_val2017.json", content)
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "dog", "cat")
    assert data.read(data.val[0])[1].tolist() == [[255, 2, 0], [0, 1, 2]]


def test_the_json_file_can_be_the_root_and_masks_can_be_next_to_it(tmp_path: Path) -> None:
    write_panoptic(tmp_path, folder="")
    assert len(load_dataset(tmp_path / "panoptic_val2017.json").train) == 1
    assert len(load_dataset(tmp_path).val) == 1


def test_instances_come_first(tmp_path: Path) -> None:
    content = write_panoptic(tmp_path)
    annotation = {"id": 1, "image_id": 5, "category_id": DOG, "segmentation": [[0, 0, 2, 0, 2, 2]]}
    write_json(tmp_path / "annotations" / "instances_val2017.json", {**content, "annotations": [annotation]})
    assert detect_format(tmp_path)[0] == "coco"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments_info": [{"id": 0, "category_id": CAT}]}, "an id from 1 to 16777215"),
        ({"segments_info": [{"id": 1, "category_id": 99}]}, "category_id of segment 1 is not one of"),
        ({"segments_info": [3]}, "an id from 1 to 16777215"),
        ({"file_name": "2.png"}, "its mask 2.png is not here"),
        ({"image_id": 6}, "has no annotation"),
    ],
)
def test_damaged_annotations_are_issues(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = write_panoptic(tmp_path)
    content["annotations"][0] |= change
    content["annotations"].append({"image_id": 9, "file_name": "1.png", "segments_info": []})
    write_json(tmp_path / "annotations" / "panoptic_val2017.json", content)
    with pytest.raises(DataError, match=message) as error:
        load_dataset(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/annotations/panoptic_val2017.json, image 5: val2017/1.png: ")


def test_a_segment_that_the_json_file_lacks_and_missing_masks_raise(tmp_path: Path) -> None:
    content = write_panoptic(tmp_path)
    del content["annotations"][0]["segments_info"][2]
    write_json(tmp_path / "annotations" / "panoptic_val2017.json", content)
    data = load_dataset(tmp_path)
    with pytest.raises(DataError, match=r"1\.png: mask value #701101 is not among the values with a class"):
        data.read(data.val[0])
    (tmp_path / "annotations" / "panoptic_val2017" / "1.png").rename(tmp_path / "annotations" / "other.png")
    (tmp_path / "val2017" / "1.png").rename(tmp_path / "val2017" / "2.png")
    with pytest.raises(DataError, match=r"none of its PNG files is here; unpack panoptic_val2017\.zip"):
        read_as("coco-panoptic", tmp_path)
