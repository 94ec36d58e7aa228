"""Reading of masks: values become class indices exactly, and anything else is an error."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.schema import Annotation, LabelMap, MultilabelMask, PolygonMask, ReadSpec, Record
from pixelwise.errors import DataError

TRIMAP = LabelMap("index", {1: 0, 2: 1, 3: 2})


def save_png(folder: Path, image: Image.Image) -> Path:
    """Save an image as PNG, which must keep its mode."""
    path = folder / "mask.png"
    image.save(path)
    with Image.open(path) as saved:
        assert saved.mode == image.mode
    return path


# --- values


@pytest.mark.parametrize("mode", ["L", "P"])
def test_gray_values_and_palette_indices_are_mapped(mode: str, tmp_path: Path) -> None:
    """The colors of the palette do not count."""
    values = np.array([[1, 2, 3], [0, 255, 7]], np.uint8)
    image = Image.fromarray(values, mode)
    if mode == "P":
        image.putpalette(list(np.random.default_rng(0).integers(0, 256, 768)))
    mask = read_mask(save_png(tmp_path, image), LabelMap("index", {1: 0, 2: 1, 3: 2, 0: 255, 255: 255, 7: 2}))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, [[0, 1, 2], [255, 255, 2]])


def test_a_1_bit_mask_has_the_values_0_and_255(tmp_path: Path) -> None:
    path = save_png(tmp_path, Image.fromarray(np.array([[True, False]])))
    np.testing.assert_array_equal(read_mask(path, LabelMap("index", {0: 4, 255: 255})), [[255, 4]])


def test_every_8_bit_value_is_mapped(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save_png(tmp_path, Image.fromarray(values))
    np.testing.assert_array_equal(read_mask(path, LabelMap("index", {v: 255 - v for v in range(256)})), 255 - values)


@pytest.mark.parametrize(
    "classes",
    [{0: 0, 1: 1, 2: 2}, {0: 5, 7: 0, 200: 255}, {3: 0, 4: 1}],
    ids=["consecutive", "scattered", "shifted"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_all_ways_to_look_up_values_agree(classes: dict[int, int], dtype: type, tmp_path: Path) -> None:
    """8-bit masks have two fast paths, 16-bit masks none."""
    values: np.ndarray = np.random.default_rng(0).choice(list(classes), (9, 11)).astype(dtype)
    expected = np.vectorize(classes.get)(values)
    path = save_png(tmp_path, Image.fromarray(values))
    np.testing.assert_array_equal(read_mask(path, LabelMap("index", classes)), expected)
    values[4, 5] = 99
    path = save_png(tmp_path, Image.fromarray(values))
    with pytest.raises(DataError, match=r"mask value 99 is outside the classes"):
        read_mask(path, LabelMap("index", classes))


def test_values_outside_the_classes_are_listed(tmp_path: Path) -> None:
    path = save_png(tmp_path, Image.fromarray(np.array([[1, 2, 3, 0], [9, 255, 9, 1]], np.uint8)))
    with pytest.raises(DataError) as error:
        read_mask(path, TRIMAP)
    assert str(error.value) == f"{path}: mask value 0, 9, 255 is outside the classes; expected only 1, 2, 3"
    path = save_png(tmp_path, Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)))
    with pytest.raises(DataError, match="mask value 0, 4, 5, 6, 7 … is outside"):
        read_mask(path, TRIMAP)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_color_mask_is_refused_if_masks_are_gray(mode: str, tmp_path: Path) -> None:
    path = save_png(tmp_path, Image.new(mode, (3, 3), (1, 2, 3)))
    with pytest.raises(DataError, match=rf"{path}: .*has colors"):
        read_mask(path, TRIMAP)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_a_gray_mask_can_have_any_mode(mode: str, tmp_path: Path) -> None:
    values = np.array([[1, 2, 3], [3, 2, 1]], np.uint8)
    image = Image.fromarray(values.astype(np.uint16)) if mode == "I;16" else Image.fromarray(values).convert(mode)
    np.testing.assert_array_equal(read_mask(save_png(tmp_path, image), TRIMAP), values - 1)


def test_colors_within_the_tolerance_get_the_nearest_class(tmp_path: Path) -> None:
    label_map = LabelMap("rgb", {0x000000: 0, 0xFF0000: 1, 0x00FF00: 2}, tolerance=20)
    pixels = np.array([[(0, 0, 0), (250, 4, 9), (10, 240, 20)], [(20, 20, 20), (255, 0, 0), (0, 255, 0)]], np.uint8)
    path = save_png(tmp_path, Image.fromarray(pixels))
    np.testing.assert_array_equal(read_mask(path, label_map), [[0, 1, 2], [0, 1, 2]])
    pixels[0, 0] = (21, 0, 0)
    with pytest.raises(DataError, match="mask value #150000 is outside"):
        read_mask(save_png(tmp_path, Image.fromarray(pixels)), label_map)


def test_opacity_can_be_the_value(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, :, 3] = 255
    label_map = LabelMap("alpha", {0: 0, 255: 1})
    np.testing.assert_array_equal(read_mask(save_png(tmp_path, Image.fromarray(pixels)), label_map), [[1, 1], [0, 0]])
    with pytest.raises(DataError, match=r"opacity, but this one has none \(mode L\)"):
        read_mask(save_png(tmp_path, Image.new("L", (2, 2))), label_map)


# --- polygons and channels


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_later_polygons_cover_earlier_ones() -> None:
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    mask = PolygonMask((Annotation(1, (square,)), Annotation(2, (square / 8,), relative=True)), "a.json", background=3)
    pixels = read_mask(mask, LabelMap("polygons"), (8, 8))
    assert pixels[:4, :4].tolist() == [[2] * 4] * 4 and set(np.unique(pixels)) == {2, 3}
    with pytest.raises(DataError, match=r"a\.json: the size of the image is needed"):
        read_mask(mask, LabelMap("polygons"))


def test_without_pycocotools_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    mask = PolygonMask((Annotation(1, (np.array([[0, 0], [4, 0], [4, 4.0]]),)),), "a.json, image 17")
    with pytest.raises(DataError, match=r"a\.json, image 17: .*pip install 'pixelwise\[coco\]'"):
        read_mask(mask, LabelMap("polygons"), (8, 8))


def test_a_class_without_a_file_is_absent(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "cat.png")
    label_map = LabelMap("multilabel", {0: 0, 255: 1})
    mask = read_mask(MultilabelMask((None, tmp_path / "cat.png")), label_map)
    np.testing.assert_array_equal(mask, [[[0, 0]], [[0, 1]]])
    np.testing.assert_array_equal(read_mask(MultilabelMask((None, None)), label_map, (1, 2)), np.zeros((2, 1, 2)))
    with pytest.raises(DataError, match="size of the image is needed"):
        read_mask(MultilabelMask((None, None)), label_map)
    Image.new("L", (3, 1)).save(tmp_path / "dog.png")
    with pytest.raises(DataError, match=r"cat\.png, .*dog\.png: .*same size"):
        read_mask(MultilabelMask((tmp_path / "cat.png", tmp_path / "dog.png")), label_map)


# --- images with masks


WritePair = Callable[[tuple[int, int], tuple[int, int]], Record]


@pytest.fixture
def write_pair(tmp_path: Path) -> WritePair:
    """Write an image and a mask of these (height, width)."""

    def write(image: tuple[int, int], mask: tuple[int, int]) -> Record:
        pixels = np.random.default_rng(0).integers(0, 256, (*image, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "cat.png")
        Image.fromarray(np.full(mask, 2, np.uint8)).save(tmp_path / "cat-mask.png")
        return Record(tmp_path / "cat.png", tmp_path / "cat-mask.png")

    return write


def test_an_image_and_its_mask_are_read_unchanged(write_pair: WritePair) -> None:
    image, mask = read_image_and_mask(write_pair((5, 8), (5, 8)), ReadSpec(TRIMAP))
    np.testing.assert_array_equal(image, np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8))
    np.testing.assert_array_equal(mask, np.ones((5, 8)))


def test_an_image_without_a_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cat\.png: has no mask"):
        read_image_and_mask(Record(tmp_path / "cat.png", None), ReadSpec(TRIMAP))


@pytest.mark.parametrize("mask", [(8, 5), (5, 9), (6, 8)], ids=["turned", "wider", "higher"])
def test_different_sizes_are_stated(mask: tuple[int, int], write_pair: WritePair) -> None:
    record = write_pair((5, 8), mask)
    with pytest.raises(DataError) as error:
        read_image_and_mask(record, ReadSpec(TRIMAP))
    text = f"{record.image}: image is 8x5 but its mask {record.mask} is {mask[1]}x{mask[0]}; they must have"
    assert str(error.value).startswith(text) and "\n" not in str(error.value)


@pytest.mark.parametrize("min_size", [None, 64])
def test_different_sizes_are_found_in_a_reduced_image_too(min_size: int | None, tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "image.jpg")
    Image.new("L", (320, 240)).save(tmp_path / "mask.png")
    record = Record(tmp_path / "image.jpg", tmp_path / "mask.png")
    with pytest.raises(DataError, match=r"image is 640x480 but its mask .*mask\.png is 320x240"):
        read_image_and_mask(record, ReadSpec(LabelMap("index", {0: 0, 255: 1})), min_size)
