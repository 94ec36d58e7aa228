"""Tests of masks that are written as the data came: they are read again as the same classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.training_facts import find_mask_format, measure_objects
from pixelwise.data.io.mask import read_mask
from pixelwise.data.join import join_datasets
from pixelwise.data.load import load_dataset
from pixelwise.data.mask_format import MaskFormat, check_mask_format, encode_mask
from pixelwise.data.spec import DatasetSpec
from pixelwise.palette import IGNORE_COLOR, pack_rgb
from tests.data.joined import draw_shapes


def palette_image(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    return image


COLORS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)

MASKS: dict[str, Callable[[np.ndarray], Image.Image]] = {
    "1": lambda mask: Image.fromarray(mask > 0),
    "L": lambda mask: Image.fromarray((mask > 0).astype(np.uint8) * 255),
    "L 3": lambda mask: Image.fromarray(np.array([1, 7, 9], np.uint8)[mask]),
    "P": palette_image,
    "I;16": lambda mask: Image.fromarray(np.array([0, 1000, 40_000], np.uint16)[mask]),
    "RGB": lambda mask: Image.fromarray(COLORS[mask]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    return tmp_path


def draw_mask(number: int) -> np.ndarray:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:20, 10:30] = 1
    mask[30 + number : 50, 40:70] = 2
    return mask


@pytest.mark.parametrize("name", MASKS)
def test_masks_as_given_are_read_as_the_same_classes(folder: Path, name: str) -> None:
    for number in range(4):
        MASKS[name](draw_mask(number)).save(folder / "masks" / f"{number}.png")
    data = load_dataset(folder)
    mask_format = find_mask_format(data, data.train)
    assert mask_format is not None and mask_format.mode == name.split()[0]
    rng = np.random.default_rng(9)
    predicted = rng.integers(0, len(data.classes), (60, 80)).astype(np.uint8)
    path = folder / "masks" / "0.png"
    with Image.open(path) as given:
        values, palette = {*map(tuple, np.array(given.convert("RGB")).reshape(-1, 3).tolist())}, given.getpalette()
    encode_mask(predicted, mask_format).save(path)
    with Image.open(path) as written:
        assert written.mode == mask_format.mode
        if written.mode != "I;16":
            assert {*map(tuple, np.array(written.convert("RGB")).reshape(-1, 3).tolist())} <= values
        if palette is not None:
            assert (written.getpalette() or [])[:9] == palette[:9]
    again = DatasetSpec.of(data).load(folder)
    assert again.classes == data.classes
    np.testing.assert_array_equal(read_mask(path, again.read_spec.label_map), predicted)


def test_the_first_of_several_values_is_written(folder: Path) -> None:
    for number in range(4):
        Image.fromarray(np.array([0, 3, 5], np.uint8)[draw_mask(number)]).save(folder / "masks" / f"{number}.png")
    data = load_dataset(folder, label_map={"0": "rest", "3": "cell", "5": "cell"})
    mask_format = find_mask_format(data, data.train)
    assert mask_format is not None and mask_format.values == (0, 3)
    mask = np.array([[0, 1]], np.uint8)
    assert np.array(encode_mask(mask, mask_format)).tolist() == [list(mask_format.values)]


def test_joined_data_sets_have_a_format_if_each_class_has_one_value(tmp_path: Path) -> None:
    def find(*folders: list[str], classes: tuple[str, ...] = ()) -> MaskFormat | None:
        root = tmp_path / f"{folders} {classes}"
        sets = [load_dataset(draw_shapes(root / str(index), names, 2)) for index, names in enumerate(folders)]
        joined = join_datasets(sets, classes)
        return find_mask_format(joined, joined.train)

    assert find(["square"], classes=("square", "background")) == MaskFormat("L", (1, 0))
    assert find(["square"], ["square", "disc"]) == MaskFormat("L", (0, 1, 2))
    assert find(["square"], ["disc"]) is None, "1 is a square in one data set, and a disc in the other"
    assert find(["square"], classes=("background", "square", "star")) is None, "no data set has a star"


@pytest.mark.parametrize(
    ("mask_format", "message"),
    [
        (MaskFormat("L", (0,)), "1 different values for 2 classes"),
        (MaskFormat("L", (0, 0)), "1 different values for 2 classes"),
        (MaskFormat("L", (0, 256)), "mode L cannot store"),
        (MaskFormat("1", (0, 1)), "mode 1 cannot store"),
        (MaskFormat("P", (0, 1)), "0 colors for 2 values"),
        (MaskFormat("P", (0, 1), ((0, 0, 0), (0, 0, 256))), "colors outside"),
    ],
)
def test_invalid_formats_are_rejected(mask_format: MaskFormat, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_mask_format(mask_format, 2)


def test_ignored_pixels_have_the_ignore_color_unless_a_class_has_it() -> None:
    color = int(pack_rgb(IGNORE_COLOR))
    mask = np.array([[0, 255]], np.uint8)
    for values, expected in (((0, 5), IGNORE_COLOR), ((0, color), (255, 255, 255))):
        assert np.array(encode_mask(mask, MaskFormat("RGB", values))).tolist() == [[[0, 0, 0], [*expected]]]


def test_objects_are_measured_without_the_background(folder: Path) -> None:
    for number in range(4):
        MASKS["P"](draw_mask(0)).save(folder / "masks" / f"{number}.png")
    data = load_dataset(folder, label_map={"0": "background", "1": "cell", "2": "cell"})
    scale = measure_objects(data, data.train)
    assert scale is not None
    assert scale.image_side == pytest.approx(np.sqrt(60 * 80))
    sides = np.sqrt([10 * 20, 20 * 30])
    assert scale.object_side == pytest.approx(np.median(sides), abs=0.01)
