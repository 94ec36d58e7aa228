"""Internal masks of TIFF files, as GDAL writes them for orthophotos: their pixels are nodata."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelwise as pw
from pixelwise.data.analysis.image_scan import scan_image
from pixelwise.data.analysis.large_image import missing_pixels, scan_large_image
from pixelwise.data.band_ranges import measure_scale
from pixelwise.data.io import image_windows
from pixelwise.data.io.image import read_bands, read_image
from pixelwise.data.io.image_windows import ImageWindows
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.io.rasterio_windows import RasterioWindows
from pixelwise.data.io.record_windows import RecordWindows, open_image_windows
from pixelwise.data.io.tiff_windows import TiffWindows
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import LabelMap, ReadSpec, Record

HEIGHT, WIDTH = 100, 80
VALID = np.zeros((HEIGHT, WIDTH), bool)
VALID[20:90, 10:70] = True
BYTES = PixelScale(band_ranges=((0.0, 255.0),) * 3)
TILES: dict[str, Any] = {"tile": (32, 32), "compression": "zlib", "metadata": None}


def draw(dtype: Any = np.uint8) -> np.ndarray:
    """Draw an image that has 0 and 255 among its valid pixels, as an orthophoto has."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(dtype)
    pixels[50, 30], pixels[50, 31] = 0, 255
    return pixels


def write(path: Path, pixels: np.ndarray, reduced: bool = True) -> Path:
    """Write an image with its mask of 1 bit, and with an overview of both."""
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, photometric=kind, **TILES)
        file.write(VALID, subfiletype=4, photometric="mask", **TILES)
        if reduced:
            file.write(pixels[::2, ::2], subfiletype=1, photometric=kind, **TILES)
            file.write(VALID[::2, ::2], subfiletype=5, photometric="mask", **TILES)
    return path


def test_masked_pixels_have_no_data(tmp_path: Path) -> None:
    path = write(tmp_path / "image.tif", draw())
    image = read_image(path, 3, BYTES)
    assert np.array_equal((image == 0).all(2), ~VALID), "a valid black pixel becomes 1"
    assert np.array_equal(image[VALID], np.maximum(draw(), 1)[VALID])
    assert np.array_equal(read_image(path), draw()), "without ranges, no value stands for nodata"
    stats, missing = scan_image(path, BYTES)
    assert missing is not None and np.array_equal(missing, ~VALID)
    assert stats.nodata_fraction == pytest.approx((~VALID).mean())


def test_a_mask_of_one_gray_band_is_read(tmp_path: Path) -> None:
    image = read_image(write(tmp_path / "image.tif", draw()[..., 0]), 3, BYTES)
    assert image.shape == (HEIGHT, WIDTH, 3) and np.array_equal((image == 0).all(2), ~VALID)


def test_palette_images_have_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    colors = np.zeros((3, 256), np.uint16)
    colors[0, 1:] = 65535
    with tifffile.TiffWriter(path) as file:
        file.write(np.ones((HEIGHT, WIDTH), np.uint8), photometric="palette", colormap=colors, **TILES)
        file.write(VALID, subfiletype=4, photometric="mask", **TILES)
    assert read_bands(path) is None and read_image(path)[0, 0].tolist() == [255, 0, 0]
    with TiffWindows(path) as windows:
        assert not windows.has_mask and windows.masked(range(3), range(3)) is None


@pytest.mark.parametrize("reader", [TiffWindows, RasterioWindows])
def test_windows_have_the_mask_of_the_image(reader: Any, tmp_path: Path) -> None:
    if reader is RasterioWindows:
        pytest.importorskip("rasterio")
    path = write(tmp_path / "image.tif", draw())
    expected = read_image(path, 3, BYTES)
    with _open(reader, path) as windows:
        assert windows.has_mask
        rows, columns = range(15, 61), range(5, 75)
        masked = windows.masked(rows, columns)
        assert masked is not None and np.array_equal(masked, ~VALID[15:61, 5:75])
        scaled = BYTES.apply(windows.read(rows, columns), windows.nodata, masked)
        assert np.array_equal(scaled, expected[15:61, 5:75])
        missing = missing_pixels(windows, BYTES, rows, columns)
        assert missing is not None and np.array_equal(missing, masked)
        assert scan_large_image(windows, BYTES).nodata_fraction == pytest.approx((~VALID).mean())


def _open(reader: Any, path: Path) -> ImageWindows:
    if reader is TiffWindows:
        return TiffWindows(path, keeps_tiles=True)
    with pytest.warns(match="no geotransform"):
        return RasterioWindows(path)


def test_windows_of_a_file_without_a_mask_have_none(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", draw(), photometric="rgb", **TILES)
    with TiffWindows(tmp_path / "image.tif") as windows:
        assert not windows.has_mask and windows.masked(range(5), range(5)) is None


@pytest.mark.parametrize("large", [True, False])
def test_percentiles_leave_masked_pixels_out(large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(image_windows, "LARGE_PIXELS", 0)
        monkeypatch.setattr(image_windows, "_MIN_LARGE_BYTES", 0)
    pixels = draw(np.uint16) + 100
    pixels[~VALID] = 60_000
    scale = measure_scale([Record(write(tmp_path / "image.tif", pixels), None)])
    assert all(low >= 100 and high <= 355 for low, high in scale.band_ranges)
    eight_bits = Record(write(tmp_path / "bytes.tif", draw()), None)
    assert measure_scale([eight_bits]).band_ranges == BYTES.band_ranges
    tifffile.imwrite(tmp_path / "plain.tif", draw(), photometric="rgb", **TILES)
    assert not measure_scale([Record(tmp_path / "plain.tif", None)]).band_ranges


def test_masked_pixels_are_ignored_in_masks(tmp_path: Path) -> None:
    record = Record(write(tmp_path / "image.tif", draw()), tmp_path / "mask.tif")
    tifffile.imwrite(tmp_path / "mask.tif", np.ones((HEIGHT, WIDTH), np.uint8), photometric="minisblack", **TILES)
    spec = ReadSpec(LabelMap("index", {0: 0, 1: 1}), band_ranges=BYTES.band_ranges)
    _, mask = read_image_and_mask(record, spec)
    assert np.array_equal(mask, np.where(VALID, 1, 255))
    image = open_image_windows(record, spec)
    assert image is not None
    with RecordWindows(record, spec, image) as windows:
        assert np.array_equal(windows.read(range(HEIGHT), range(WIDTH))[1], mask)


def test_a_data_set_finds_the_masks_of_its_images(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for index in range(3):
        write(tmp_path / "images" / f"{index}.tif", np.roll(draw(), index, 1))
        Image.fromarray((np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 2).astype(np.uint8)).save(
            tmp_path / "masks" / f"{index}.png"
        )
    data = pw.load_dataset(tmp_path)
    assert data.read_spec.band_ranges == BYTES.band_ranges
    assert any("an internal mask" in message for message in data.messages)
    _, mask = read_image_and_mask(data.train[0], data.read_spec)
    assert np.array_equal(mask == 255, ~VALID)
