"""The data set spec: written, read back, translated from version 0.1, and applied to other data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

import pixelwise as pw
from pixelwise.data.class_spec import ClassSpec
from pixelwise.data.schema import FormatResult, LabelMap
from pixelwise.data.spec import DatasetSpec
from pixelwise.errors import ConfigError, RunError
from tests.data.formats.writers.folders import save


def test_a_spec_reads_back_and_loads_the_same_data(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    spec = DatasetSpec.of(pets)
    (tmp_path / "data.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    assert DatasetSpec.read(tmp_path / "data.yaml") == spec
    again = spec.load(Path(pets.root))
    assert (again.classes, again.palette, again.read_spec) == (pets.classes, pets.palette, pets.read_spec)
    assert again.train == pets.train


def test_channels_and_bit_depth_are_kept(pets: pw.DatasetIndex) -> None:
    spec = DatasetSpec.of(replace(pets, read_spec=replace(pets.read_spec, channels=5, bit_depth=12)))
    assert "channels: 5" in spec.to_yaml() and "bit_depth: 12" in spec.to_yaml()


def test_names_of_version_0_1_are_translated(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(
        "format: folders\nkind: colours\nbits: 12\nclasses:\n  a: {colour: '#e69f00', levels: ['#ff0000']}\n"
    )
    spec = DatasetSpec.read(path)
    assert (spec.kind, spec.bit_depth) == ("rgb", 12)
    assert spec.classes == {"a": ClassSpec(values=("#ff0000",), color="#e69f00")}


def test_unquoted_numbers_are_values(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("format: folders\nkind: index\nignore: [255]\nclasses:\n  a: {color: '#e69f00', values: [0, 7]}\n")
    assert DatasetSpec.read(path).classes["a"].values == ("0", "7") and DatasetSpec.read(path).ignore == ("255",)


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "format: folders",
        "format: [",
        "a: 1\nformat: folders\nkind: index\nclasses: {}",
        "format: 2024-13-45",
        "[" * 10_000,
    ],
)
def test_a_damaged_file_is_named_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    with pytest.raises(RunError) as error:
        DatasetSpec.read(path)
    assert str(error.value).startswith(f"{path}: cannot be read") and "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"data\.yaml: missing; .*Restore it from a copy, or train a new run"):
        DatasetSpec.read(tmp_path / "data.yaml")


SPEC = DatasetSpec(
    format="folders",
    kind="index",
    classes={"a": ClassSpec(values=("0",), color="#000000"), "b": ClassSpec(values=("7",), color="#ffffff")},
    ignore=("255",),
)


def test_values_become_classes() -> None:
    labels = SPEC.resolve_labels("folders", FormatResult())
    assert labels.label_map == LabelMap("index", {0: 0, 7: 1, 255: 255})
    assert labels.classes == ("a", "b") and labels.palette == ((0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize(
    ("changes", "result", "message"),
    [
        ({"ignore": ("7",)}, FormatResult(), "the value 7 is listed twice"),
        ({"classes": {}}, FormatResult(), "there are 0"),
        ({"classes": {"a": ClassSpec(values=("0",), color="red")}}, FormatResult(), "'red' is not a color"),
        ({"kind": "polygons"}, FormatResult(), "kind: polygons, but the masks here are images of values"),
        ({}, FormatResult(label_map=LabelMap("polygons")), "kind: index, but the masks here are polygons"),
    ],
)
def test_a_spec_that_does_not_fit_is_an_error(changes: dict[str, object], result: FormatResult, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SPEC.model_copy(update=changes).resolve_labels("folders", result)


def save_numbered_objects(root: Path, seed: int) -> None:
    """Write 12 images, and masks whose values are the numbers of objects."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for number in range(12):
        mask = np.zeros((32, 48), np.uint8)
        for index in range(generator.integers(1, 6)):
            mask[2:10, 9 * index + 1 : 9 * index + 8] = index + 1
        Image.fromarray(generator.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")


@pytest.mark.parametrize(
    "options", [{}, {"instances": True, "classes": ["street", "person"]}], ids=["recognized", "by option"]
)
def test_more_data_of_numbered_objects_is_read_in_the_same_way(options: dict[str, Any], tmp_path: Path) -> None:
    save_numbered_objects(tmp_path / "a", 0)
    save_numbered_objects(tmp_path / "b", 1)
    data = pw.load_dataset(tmp_path / "a", **options)
    (tmp_path / "data.yaml").write_text(DatasetSpec.of(data).to_yaml(), encoding="utf-8")
    again = DatasetSpec.read(tmp_path / "data.yaml").load(tmp_path / "b")
    assert (again.classes, again.read_spec) == (data.classes, data.read_spec)
    for record in again.train:
        with Image.open(str(record.mask)) as image:
            np.testing.assert_array_equal(again.read(record)[1], np.asarray(image) > 0)


def test_unlabeled_pixels_of_more_data_are_ignored(tmp_path: Path) -> None:
    save_numbered_objects(tmp_path, 0)
    names = ["0", "a", "b", "c", "d", "e"]
    data = pw.load_dataset(tmp_path, classes=names, unlabeled="ignore")
    assert data.classes == ("a", "b", "c", "d", "e") and DatasetSpec.of(data).ignore == ("0",)
    assert DatasetSpec.of(data).load(tmp_path).read_spec == data.read_spec


def test_an_unknown_other_class_is_an_error() -> None:
    with pytest.raises(ConfigError, match="unknown class 'c'"):
        SPEC.model_copy(update={"other_class": "c"}).resolve_labels("folders", FormatResult())


@pytest.mark.parametrize(
    "line",
    ["bit_depth: 99", "bit_depth: -5", "channels: 0", "channels: 1000000", "tolerance: -1", "pixel_range: [0, .inf]"],
)
def test_a_number_outside_its_limits_is_an_error(line: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(f"format: folders\nkind: index\nclasses: {{a: {{color: '#000000'}}}}\n{line}\n", encoding="utf-8")
    with pytest.raises(RunError, match=rf"{line.partition(':')[0]}"):
        DatasetSpec.read(path)


def test_more_masks_with_soft_edges_are_read_in_the_same_way(tmp_path: Path) -> None:
    for index in range(3):
        mask = np.zeros((64, 64), np.uint8)
        mask[12:40, 20 + index : 50] = 255
        soft = np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(2)))
        save(tmp_path / "images" / f"{index}.png", np.zeros((64, 64, 3), np.uint8))
        save(tmp_path / "masks" / f"{index}.png", soft)
    data = pw.load_dataset(tmp_path, label_map={"0": "background", "255": "thing"})
    assert DatasetSpec.of(data).load(tmp_path).read_spec == data.read_spec
