"""Conversion of bands of any number type to 8 bits, with nodata."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.io.image import read_image, read_raw
from pixelwise.data.io.rgb import rgb_array
from pixelwise.data.io.tiff import NODATA_TAG
from pixelwise.data.pixel_scale import PixelScale, check_band_ranges, missing_values, parse_nodata

TYPES = ["uint16", "int16", "int32", "uint32", "float32", "float64"]


@pytest.mark.parametrize("dtype", TYPES)
def test_each_band_has_its_own_range(dtype: str) -> None:
    values = np.array([[[0, 1000], [50, 2000], [100, 3000], [101, 60_000 if dtype != "int16" else 30_000]]], dtype)
    scale = PixelScale(band_ranges=((0, 100), (1000, 3000)))
    assert scale.apply(values)[0].tolist() == [[1, 1], [128, 128], [255, 255], [255, 255]]


def test_wide_integers_keep_their_precision() -> None:
    values = np.array([[2_000_000_000, 2_000_000_050, 2_000_000_100]], np.int32)
    assert PixelScale(band_ranges=((2e9, 2e9 + 100),)).apply(values).tolist() == [[1, 128, 255]]


@pytest.mark.parametrize("dtype", [*TYPES, "uint8", ">u2", ">f4"])
def test_nodata_values_become_0_and_no_other_value_does(dtype: str) -> None:
    values = np.array([[0, 7, 9, 200]], dtype)
    assert PixelScale(band_ranges=((0, 255),), nodata=7).apply(values, 9.0).tolist() == [[1, 0, 0, 200]]


@pytest.mark.parametrize("nodata", [-9999, 300, 7.5, 1e30, math.nan, math.inf])
def test_a_nodata_value_that_the_type_does_not_have_never_occurs(nodata: float) -> None:
    values = np.array([[0, 241, 255]], np.uint8)  # -9999 modulo 256 is 241
    assert PixelScale(band_ranges=((0, 255),), nodata=nodata).apply(values, nodata).tolist() == [[1, 241, 255]]


@pytest.mark.parametrize("text", ["-3.4028234663852886e+38", "-3.40282347e+38", "-3.4028235e+38"])
def test_the_nodata_value_of_gdal_for_float32_is_found(text: str) -> None:
    values = np.array([-3.4028234663852886e38, 0, 1], np.float32)
    missing = missing_values(values, parse_nodata(text))
    assert missing is not None and missing.tolist() == [True, False, False]
    assert PixelScale(band_ranges=((0, 1),)).apply(values[None]).tolist() == [[1, 1, 255]], "no overflow without a tag"


def test_nan_and_infinity_are_nodata_in_floats() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 0.5]], np.float32)
    assert PixelScale(band_ranges=((0, 1),)).apply(values).tolist() == [[0, 0, 0, 128]]


def test_a_pixel_is_missing_only_if_all_its_bands_are() -> None:
    values = np.array([[[-1, 5], [-1, -1], [5, -1], [0, 0]]], np.int16)
    scale = PixelScale(band_ranges=((0, 10), (0, 10)), nodata=-1)
    missing = scale.missing(scale.apply(values))
    assert missing is not None and missing.tolist() == [[False, True, False, False]]
    assert scale.missing(scale.apply(np.zeros((2, 2, 2), np.int16))) is None
    assert PixelScale().missing(np.zeros((2, 2, 2), np.uint8)) is None, "0 is a value of images without ranges"


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_16_bits_are_scaled_alike_in_small_and_large_images_and_as_32_bits(dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 30_000, (300, 300)).astype(dtype)
    scale = PixelScale(band_ranges=((123.4, 20_000.7),))
    np.testing.assert_array_equal(scale.apply(values), scale.apply(values.astype(np.int32)))
    np.testing.assert_array_equal(scale.apply(values)[:9], scale.apply(values[:9]))


def test_a_window_is_scaled_like_the_image() -> None:
    values = np.random.default_rng(0).normal(size=(20, 30, 3)).astype(np.float32)
    values[3:6, 4:9] = np.nan
    scale = PixelScale(band_ranges=((-1, 1), (-2, 2), (0, 1)))
    np.testing.assert_array_equal(scale.apply(values[2:11, 5:22]), scale.apply(values)[2:11, 5:22])


def test_old_scales_are_unchanged() -> None:
    deep = np.array([[0, 16, 2048, 4095, 65535]], np.uint16)
    assert PixelScale(bit_depth=12).apply(deep).tolist() == [[0, 1, 128, 255, 255]]
    assert PixelScale(pixel_range=(0, 10)).apply(np.array([[0.0, 5, np.nan]])).tolist() == [[0, 128, 0]]


@pytest.mark.parametrize("text", ["-9999", "-9999.0 ", "-9999\0", b"-9999"])
def test_nodata_tags_are_numbers_as_text(text: str | bytes) -> None:
    assert parse_nodata(text) == -9999
    assert parse_nodata("none") is None


@pytest.mark.parametrize("ranges", [((0, 1),), ((0, 1), (1, 1)), ((0, 1), (2, 1))])
def test_ranges_that_do_not_fit_are_refused(ranges: tuple[tuple[float, float], ...]) -> None:
    check_band_ranges((), 2)
    check_band_ranges(((0, 1), (3, 4)), 2)
    with pytest.raises(ValueError, match="band_ranges"):
        check_band_ranges(ranges, 2)


def write(path: Path, values: np.ndarray, nodata: str | None) -> Path:
    tags = [] if nodata is None else [(NODATA_TAG, "s", 0, nodata, True)]
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", extratags=tags)
    return path


@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "int32", "float64"])
def test_files_state_their_nodata_value(bands: int, dtype: str, tmp_path: Path) -> None:
    values = np.full((4, 6, bands), 50, dtype)
    values[:2] = 99
    path = write(tmp_path / "a.tif", values if bands > 1 else values[..., 0], "99")
    raw = read_raw(path)
    assert raw is not None and raw.nodata == 99
    np.testing.assert_array_equal(raw.pixels, values if bands > 1 else values.repeat(3, 2))
    channels = 3 if bands == 1 else bands
    scale = PixelScale(band_ranges=((0, 100),) * channels)
    image = read_image(path, channels, scale)
    missing = scale.missing(image)
    assert missing is not None and missing[:2].all() and not missing[2:].any()
    assert (image[2:] == 128).all()


def test_8_bit_images_with_nodata_keep_their_values(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    values[:5] = 255
    tags = [(NODATA_TAG, "s", 0, "255", True)]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extratags=tags)
    assert (read_image(tmp_path / "a.tif") == values).all(), "without ranges, as before"
    scale = PixelScale(band_ranges=((0, 255),) * 3)
    image = read_image(tmp_path / "a.tif", scale=scale)
    missing = scale.missing(image)
    assert missing is not None and missing[:5].all() and not missing[5:].any()
    np.testing.assert_array_equal(image[values < 255], np.maximum(values[values < 255], 1))


def test_nodata_of_large_images_is_found_in_each_band_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gray = np.arange(100, dtype=np.uint8).reshape(10, 10)
    monkeypatch.setattr("pixelwise.data.io.rgb._BAND_PIXELS", 20)
    image = rgb_array(Image.fromarray(gray), PixelScale(band_ranges=((0, 255),) * 3, nodata=99))
    assert image[9, 9].tolist() == [0, 0, 0] and image[0, 0].tolist() == [1, 1, 1] and image[5, 5].tolist() == [55] * 3


def test_pages_of_a_stack_are_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((7, 20, 30), np.uint16), photometric="minisblack")
    with pytest.raises(Exception, match=r"stack.tif: has 7 channels \(its pages; save each page as a file\)"):
        read_image(tmp_path / "stack.tif", 3)
    tifffile.imwrite(tmp_path / "colors.tif", np.zeros((7, 20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(Exception, match=r"colors.tif: has 7 pages of several bands; save each page as a file"):
        read_image(tmp_path / "colors.tif", 3)
