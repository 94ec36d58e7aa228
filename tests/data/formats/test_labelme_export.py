"""Folders that labelme exports: img.png, label.png, label_names.txt."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.formats.registry import detect_format
from pixelwise.data.load import load_dataset
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import DataError
from tests.data.formats.support import read_as
from tests.data.formats.writers.annotations import write_json
from tests.data.formats.writers.folders import lines, save

VALUES = np.array([[0, 1, 2], [2, 1, 255]], np.uint8)


def export(folder: Path, names: Sequence[str] = (), values: np.ndarray = VALUES, palette: bool = True) -> None:
    """Write an exported folder. Its image has one color, which depends on the folder's name."""
    save(folder / "img.png", np.full((*values.shape, 3), len(folder.name), np.uint8))
    folder.mkdir(parents=True, exist_ok=True)
    mask = Image.fromarray(values, "L")
    if palette:
        mask = Image.fromarray(values, "P")
        mask.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    mask.save(folder / "label.png")
    save(folder / "label_viz.png", np.full((*values.shape, 3), 99, np.uint8))
    if names:
        lines(folder / "label_names.txt", list(names))


def masks_of(root: Path) -> dict[str, list[list[int]]]:
    """Return folder → mask of each record in train."""
    data = load_dataset(root)
    return {str(record.image).split("/")[-2]: data.read(record)[1].tolist() for record in data.train}


@pytest.mark.parametrize("palette", [False, True])
def test_image_mask_and_names_are_read(palette: bool, tmp_path: Path) -> None:
    for name in ("a_json", "photo 12"):
        export(tmp_path / name, ("_background_", "cat", "dog"), palette=palette)
    data = load_dataset(tmp_path)
    assert (data.format, data.classes, data.messages) == ("labelme-export", ("background", "cat", "dog"), ())
    assert masks_of(tmp_path) == {"a_json": VALUES.tolist(), "photo 12": VALUES.tolist()}
    assert load_dataset(tmp_path / "a_json").classes == ("background", "cat", "dog")


def test_each_folder_has_its_own_list_of_names(tmp_path: Path) -> None:
    export(tmp_path / "1_json", ("_background_", "dog", "cat"))
    export(tmp_path / "2_json", ("_background_", "cat", "__ignore__"))
    data = load_dataset(tmp_path)
    assert data.classes == ("background", "cat", "dog")
    assert masks_of(tmp_path) == {"1_json": [[0, 2, 1], [1, 2, 255]], "2_json": [[0, 1, 255], [255, 1, 255]]}
    selected = load_dataset(tmp_path, classes=["dog"])
    assert selected.read(selected.train[0])[1].tolist() == [[0, 1, 0], [0, 1, 255]]


def test_a_spec_reads_more_folders_by_the_names_of_classes(tmp_path: Path) -> None:
    export(tmp_path / "a" / "1_json", ("_background_", "cat", "dog"))
    export(tmp_path / "b" / "1_json", ("_background_", "dog", "cat"))
    spec = DatasetSpec.of(load_dataset(tmp_path / "a", label_map={"cat": "animal"}))
    more = spec.load(tmp_path / "b")
    assert more.classes == ("background", "animal", "dog")
    assert more.read(more.train[0])[1].tolist() == [[0, 2, 1], [1, 2, 255]]


def test_splits_are_folders_above_and_not_the_exported_folders(tmp_path: Path) -> None:
    for name in ("train/test_1_json", "train/2_json", "val/3_json"):
        export(tmp_path / name, ("_background_", "cat", "dog"))
    result = read_as("labelme-export", tmp_path)
    assert (len(result.train), len(result.val), len(result.test)) == (2, 1, 0)


def test_older_versions_list_the_names_in_yaml_or_not_at_all(tmp_path: Path) -> None:
    export(tmp_path / "old" / "a_json")
    lines(tmp_path / "old" / "a_json" / "info.yaml", ["label_names:", "- _background_", "- cat", "- dog"])
    assert load_dataset(tmp_path / "old").classes == ("background", "cat", "dog")
    export(tmp_path / "none" / "a_json", values=VALUES % 3)
    result = read_as("labelme-export", tmp_path / "none")
    assert result.label_map is None and [record.mask for record in result.train] == [
        tmp_path / "none" / "a_json" / "label.png"
    ]


def test_faults_are_named(tmp_path: Path) -> None:
    for name in "abc":
        export(tmp_path / f"{name}_json", ("_background_", "cat", "dog"))
    (tmp_path / "a_json" / "label.png").unlink()
    (tmp_path / "b_json" / "label_names.txt").unlink()
    issues = read_as("labelme-export", tmp_path).issues
    assert [(issue.kind, issue.severity) for issue in issues] == [
        ("missing mask", "error"),
        ("missing class names", "error"),
    ]
    assert len(load_dataset(tmp_path, skip_unreadable=True).train) == 1
    lines(tmp_path / "c_json" / "label_names.txt", ["_background_", "cat"])
    data = load_dataset(tmp_path, skip_unreadable=True)
    with pytest.raises(DataError, match=r"label\.png: mask value 2 is not among the values with a class"):
        data.read(data.train[0])
    lines(tmp_path / "c_json" / "label_names.txt", [""])
    with pytest.raises(DataError, match=r"label_names\.txt: has no class names"):
        load_dataset(tmp_path)


def test_json_files_of_labelme_come_first(tmp_path: Path) -> None:
    export(tmp_path / "a_json", ("_background_", "cat", "dog"))
    save(tmp_path / "a.png", np.zeros((2, 3, 3), np.uint8))
    shape = {"label": "ape", "points": [[0, 0], [2, 0], [2, 2]], "shape_type": "polygon"}
    write_json(tmp_path / "a.json", {"version": "5", "shapes": [shape], "imagePath": "a.png"})
    name, result = detect_format(tmp_path)
    assert (name, result.classes, len(result.train)) == ("labelme", ("background", "ape"), 1)


def test_folders_of_images_and_labels_are_not_exports(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        save(tmp_path / name / "a.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "img.png", np.zeros((4, 4), np.uint8))
    assert detect_format(tmp_path)[0] == "folders"
