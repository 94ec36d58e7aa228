"""Tests of reading images by rows: every layout of TIFF gives the pixels of the whole file, also at another size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from pixelwise.data.resize import resize_image
from pixelwise.errors import DataError
from pixelwise.inference import large_rows
from pixelwise.inference.image_rows import ArrayRows
from pixelwise.inference.inputs import read_input
from pixelwise.inference.large_rows import FileRows, ScaledRows
from pixelwise.models.config import ModelConfig
from tests.inference.conftest import make_model
from tests.inference.helpers import make_image

HEIGHT, WIDTH = 150, 130


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return make_model(("pet", "background")).config


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


def read_all(rows: FileRows, step: int) -> np.ndarray:
    return np.concatenate([rows.read(start, min(start + step, rows.height)) for start in range(0, rows.height, step)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bigtiff": True, "byteorder": ">"},
        {"tile": (32, 48)},
        {"tile": (32, 48), "compression": "zlib", "predictor": True},
        {"rowsperstrip": 33, "compression": "zlib"},
        {"planarconfig": "separate"},
        {"planarconfig": "separate", "tile": (64, 32), "compression": "zlib"},
    ],
    ids=str,
)
@pytest.mark.parametrize("step", [7, 64])
def test_rows_of_color_files(tmp_path: Path, config: ModelConfig, options: dict[str, Any], step: int) -> None:
    image = make_image(HEIGHT, WIDTH)
    stored = np.moveaxis(image, 2, 0) if "planarconfig" in options else image
    path = write(tmp_path / "image.tif", stored, photometric="rgb", **options)
    with FileRows(path, config) as rows:
        np.testing.assert_array_equal(read_all(rows, step), image)
        np.testing.assert_array_equal(rows.read(100, 110), image[100:110])
        np.testing.assert_array_equal(rows.read(5, 6), image[5:6])


@pytest.mark.parametrize(
    ("dtype", "channels"), [(np.uint8, 1), (np.uint8, 3), (np.uint8, 4), (np.uint16, 1), (np.uint16, 3)]
)
def test_rows_are_converted_like_whole_files(
    tmp_path: Path, config: ModelConfig, channels: int, dtype: type[np.generic]
) -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, np.iinfo(dtype).max, (HEIGHT, WIDTH, channels)).astype(dtype)  # type: ignore[type-var]
    options: dict[str, Any] = {"photometric": "minisblack" if channels == 1 else "rgb"}
    if channels == 4:
        options["extrasamples"] = ["unassalpha"]
    path = write(tmp_path / "image.tif", pixels[..., 0] if channels == 1 else pixels, **options)
    with FileRows(path, config) as rows:
        np.testing.assert_array_equal(read_all(rows, 40), read_input(path, config))


def test_a_truncated_file_is_an_error_with_its_name(tmp_path: Path, config: ModelConfig) -> None:
    path = write(
        tmp_path / "image.tif", make_image(HEIGHT, WIDTH), photometric="rgb", tile=(32, 32), compression="zlib"
    )
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[12]
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    with FileRows(path, config) as rows, pytest.raises(DataError, match=r"image\.tif: truncated or corrupt"):
        read_all(rows, 32)
    with pytest.raises(DataError, match=r"missing\.tif: no such file"):
        FileRows(tmp_path / "missing.tif", config)


def test_a_palette_file_is_converted_like_the_whole_file(tmp_path: Path, config: ModelConfig) -> None:
    image = Image.fromarray(make_image(HEIGHT, WIDTH)).quantize(20)
    image.save(tmp_path / "image.tif")
    with FileRows(tmp_path / "image.tif", config) as rows:
        np.testing.assert_array_equal(read_all(rows, 40), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("size", [(64, 64), (47, 200), (HEIGHT, WIDTH), (301, 260), (1, 1)], ids=str)
def test_scaled_rows_are_those_of_the_resized_image(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_rows, "_MAX_RESIZED_BYTES", 20_000)
    image = make_image(HEIGHT, WIDTH)
    scaled = ScaledRows(ArrayRows(image), size)
    parts = [scaled.read(start, min(start + 20, size[0])) for start in range(0, size[0], 20)]
    result, expected = torch.cat(parts, 1).short(), resize_image(image, size).short()
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= 1, "rounding"
    assert (result - expected).float().abs().mean() < 0.1
