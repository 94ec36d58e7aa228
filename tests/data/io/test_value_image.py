"""Mask files with their own meaning of values."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.io.rasterize import rasterize
from pixelwise.data.io.value_image import read_value_image
from pixelwise.data.schema import PolygonMask, ValueImage
from pixelwise.errors import DataError
from tests.data.formats.writers.folders import save


def test_values_become_class_indices(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[0, 7, 9]], np.uint8))
    image = ValueImage(tmp_path / "a.png", "index", ((7, 0), (9, 255), (0, 3)))
    assert read_value_image(image, (1, 3)).tolist() == [[3, 0, 255]]
    assert rasterize(PolygonMask((), "a", background=9, base=image), (1, 3)).tolist() == [[3, 0, 255]]


def test_colors_become_class_indices(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.array([[[1, 2, 3], [0, 0, 0]]], np.uint8))
    image = ValueImage(tmp_path / "a.png", "rgb", ((0x010203, 4), (0, 255)))
    assert read_value_image(image, (1, 2)).tolist() == [[4, 255]]
    with pytest.raises(DataError, match=r"a\.png: mask value #010203 is not among the values with a class"):
        read_value_image(replace(image, class_ids=((0, 255),)), (1, 2))


def test_another_size_and_a_missing_file_raise(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((1, 3), np.uint8))
    image = ValueImage(tmp_path / "a.png", "index", ((0, 0),))
    with pytest.raises(DataError, match=r"a\.png: drawn on an image of 3x1, but the image is 1x3"):
        read_value_image(image, (3, 1))
    with pytest.raises(DataError, match=r"b\.png: no such file"):
        read_value_image(replace(image, file=tmp_path / "b.png"), (1, 3))
