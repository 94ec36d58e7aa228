"""Masks in several files: their union, and the places that read it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.analysis.inspection import inspect
from pixelwise.data.cache.keys import cache_key
from pixelwise.data.io.mask import read_mask
from pixelwise.data.io.mask_values import mask_values, open_mask
from pixelwise.data.label_map.mask_stats import mask_stats
from pixelwise.data.load import load_dataset
from pixelwise.data.pack import pack
from pixelwise.data.schema import LabelMap, MergedMask, ReadSpec, Record
from pixelwise.errors import DataError
from tests.data.formats.writers.folders import save


def merged(root: Path, *layers: np.ndarray) -> MergedMask:
    """Write each layer to a PNG and return their union."""
    for index, layer in enumerate(layers):
        save(root / f"{index}.png", layer)
    return MergedMask(tuple(root / f"{index}.png" for index in range(len(layers))))


def test_the_union_has_the_greatest_value(tmp_path: Path) -> None:
    first, second = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
    first[1:3, 1:3], second[2:, 2:] = 1, 7
    mask = merged(tmp_path, first, second)
    assert np.array_equal(open_mask(mask, lambda image: mask_values(image, "index")), np.maximum(first, second))
    assert np.array_equal(
        read_mask(mask, LabelMap("index", {0: 0, 1: 1, 7: 2})), np.select([second == 7, first == 1], [2, 1])
    )
    assert mask_stats(mask).values == {0: 13, 1: 3, 7: 8} and str(mask) == f"{tmp_path / '0.png'} (and 1 more file)"


def test_the_union_of_16_bits_and_of_one_bit(tmp_path: Path) -> None:
    wide = np.zeros((3, 3), np.uint16)
    wide[0, 0] = 300
    mask = merged(tmp_path, wide, np.eye(3, dtype=np.uint8))
    Image.fromarray(np.eye(3, dtype=bool)).save(tmp_path / "1.png")
    assert open_mask(mask, lambda image: mask_values(image, "index")).tolist() == [
        [300, 0, 0],
        [0, 255, 0],
        [0, 0, 255],
    ]


def test_the_union_of_colors_has_the_last_one(tmp_path: Path) -> None:
    red, blue = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    red[:, :2], blue[:, 1:] = (255, 0, 0), (0, 0, 255)
    mask = merged(tmp_path, red, blue)
    values = open_mask(mask, lambda image: mask_values(image, "rgb"))
    assert values.tolist() == [[0xFF0000, 0x0000FF, 0x0000FF]] * 2
    assert mask_stats(mask).kind == "rgb"


def test_files_of_different_sizes_and_damaged_files_raise(tmp_path: Path) -> None:
    mask = merged(tmp_path, np.zeros((4, 6), np.uint8), np.zeros((6, 4), np.uint8))
    with pytest.raises(DataError, match=r"0\.png \(and 1 more file\): the mask files .* they have 4x6, 6x4"):
        mask_stats(mask)
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png: not an image"):
        mask_stats(mask)
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png: no such file"):
        read_mask(mask, LabelMap("index", {0: 0}))


def test_a_value_outside_the_classes_names_the_files(tmp_path: Path) -> None:
    mask = merged(tmp_path, np.zeros((2, 2), np.uint8), np.full((2, 2), 9, np.uint8))
    with pytest.raises(DataError, match=r"0\.png \(and 1 more file\): mask value 9 is outside the classes"):
        read_mask(mask, LabelMap("index", {0: 0, 1: 1}))


def test_the_cache_key_depends_on_every_file(tmp_path: Path) -> None:
    save(tmp_path / "image.png", np.zeros((4, 4, 3), np.uint8))
    layers = [np.full((4, 4), value, np.uint8) for value in range(3)]

    def key() -> str:
        record = Record(tmp_path / "image.png", merged(tmp_path, *layers))
        return cache_key([record], ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2})), 32, 1)

    keys = {key()}
    assert key() in keys
    for index in range(3):
        layers[index][0, 0] += 1
        keys.add(key())
    assert len(keys) == 4


def test_inspect_and_pack_read_the_union(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        save(tmp_path / "data" / name / "images" / f"{name}.png", random.integers(0, 256, (24, 32, 3), np.uint8))
        for index in range(2 + (name == "b")):
            mask = np.zeros((24, 32), np.uint8)
            mask[index * 6 : index * 6 + 4, 3:9] = 255
            save(tmp_path / "data" / name / "masks" / f"{name}{index}e.png", mask)
    report = inspect(tmp_path / "data")
    foreground = next(each for each in report.classes if each.name == "foreground")
    assert foreground.pixels == (2 + 3 + 2) * 24 and foreground.image_count == 3
    assert not [issue for issue in report.issues if issue.severity == "error"]
    data = load_dataset(tmp_path / "data")
    assert pack(data, tmp_path / "packed").samples == 3
    packed = load_dataset(tmp_path / "packed")
    masks = {image.tobytes(): mask for image, mask in map(packed.read, packed.train)}
    for image, mask in map(data.read, data.train):
        assert np.array_equal(masks[image.tobytes()], mask)
