"""Windows of image files are those of the whole image, whichever package reads them, and only their tiles are read."""

import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from PIL import Image

from pixelwise.data.io import tiff_windows
from pixelwise.data.io.image import MAX_PIXELS
from pixelwise.data.io.image_windows import can_read_windows, open_windows, stated_pixels
from pixelwise.data.io.rasterio_windows import RasterioWindows
from pixelwise.data.io.tiff_windows import TiffWindows, _Segments
from pixelwise.errors import DataError

HEIGHT, WIDTH = 150, 130

GEO_TRANSFORM = "<GeoTransform>5, 2, 0, 9, 0, -2</GeoTransform>"

WINDOWS = ((range(150), range(130)), (range(100, 110), range(7, 99)), (range(149, 150), range(129, 130)))
"""Rows and columns of windows."""


def make_pixels(bands: int, dtype: type[np.generic] = np.uint8) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 250, (HEIGHT, WIDTH, bands))
    return (pixels * 3 if dtype != np.uint8 else pixels).astype(dtype)


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    """Write a file with rasterio, in tiles of 32 pixels."""
    height, width, bands = pixels.shape
    size = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    options = {"driver": "GTiff", "tiled": True, "blockxsize": 32, "blockysize": 32} | options
    with rasterio.open(path, "w", transform=rasterio.Affine(2, 0, 5, 0, -2, 9), **size, **options) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tiled": False},
        {"compress": "DEFLATE", "predictor": 2},
        {"compress": "DEFLATE", "tiled": False, "blockysize": 16},
        {"compress": "DEFLATE", "interleave": "band"},
        {"interleave": "band", "tiled": False},
        {"BIGTIFF": "YES", "ENDIANNESS": "BIG"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("bands", "dtype"), [(1, np.uint8), (3, np.uint8), (5, np.uint16), (2, np.float32)])
@pytest.mark.parametrize("keeps_tiles", [False, True])
def test_both_packages_read_each_window(
    tmp_path: Path, options: dict[str, Any], bands: int, dtype: type[np.generic], keeps_tiles: bool
) -> None:
    pixels = make_pixels(bands, dtype)
    path = write(tmp_path / "image.tif", pixels, nodata=7, **options)
    for windows in (TiffWindows(path, keeps_tiles), RasterioWindows(path)):
        with windows:
            assert (windows.height, windows.width, windows.bands, windows.nodata) == (HEIGHT, WIDTH, bands, 7)
            assert windows.dtype == dtype and windows.palette is None and not windows.has_opacity
            for rows, columns in WINDOWS:
                expected = pixels[rows.start : rows.stop, columns.start : columns.stop]
                np.testing.assert_array_equal(windows.read(rows, columns), expected)


def test_tiles_without_bytes_are_nodata(tmp_path: Path) -> None:
    path = write(tmp_path / "image.tif", np.zeros((HEIGHT, WIDTH, 1), np.uint8), compress="DEFLATE", SPARSE_OK=True)
    with open_windows(path) as windows:
        assert not any(windows.page.databytecounts) and not windows.read(*WINDOWS[0]).any()


def test_only_the_tiles_of_a_window_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "image.tif", make_pixels(3), compress="DEFLATE", photometric="RGB")
    read: list[int] = []
    stored = _Segments._stored

    def observed(segments: _Segments, number: int) -> bytes:
        read.append(number)
        return stored(segments, number)

    monkeypatch.setattr(_Segments, "_stored", observed)
    with open_windows(path, keeps_tiles=True) as windows:
        windows.read(range(33, 60), range(130))
        assert read == [5, 6, 7, 8, 9]
        windows.read(range(40, 70), range(32, 64))
        assert read[5:] == [11], "the tiles of the last window are used again"
    with open_windows(path) as windows:
        for _ in range(2):
            windows.read(range(40, 60), range(32, 64))
    assert read[6:] == [6, 6]


@pytest.mark.parametrize("kind", [TiffWindows, RasterioWindows])
def test_palettes_and_opacity(tmp_path: Path, kind: type[TiffWindows]) -> None:
    colors = Image.fromarray(make_pixels(3)).quantize(20)
    path = write(tmp_path / "palette.tif", np.asarray(colors)[..., None], photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, dict(enumerate(map(tuple, np.reshape(colors.getpalette() or [], (-1, 3)).tolist()))))
    with kind(path) as windows:
        assert windows.palette is not None
        indices = windows.read(*WINDOWS[0])[..., 0]
        np.testing.assert_array_equal(indices, np.asarray(colors))
        np.testing.assert_array_equal(windows.palette[indices], np.asarray(colors.convert("RGB")))
    path = write(tmp_path / "opacity.tif", make_pixels(4), photometric="RGB", alpha="YES")
    with kind(path) as windows:
        assert windows.has_opacity


def test_rasterio_reads_what_tifffile_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = make_pixels(3)
    path = write(tmp_path / "image.tif", pixels, compress="LERC", MAX_Z_ERROR=0)
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {})  # as without imagecodecs
    with open_windows(path) as windows:
        assert isinstance(windows, RasterioWindows)
        np.testing.assert_array_equal(windows.read(*WINDOWS[1]), pixels[100:110, 7:99])
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert can_read_windows(path)
    with open_windows(path) as windows:
        assert windows.page is None
    monkeypatch.setattr("pixelwise.data.io.image_windows.is_installed", lambda: False)
    with pytest.raises(DataError, match=r"image\.tif: .* tifffile; pip install 'pixelwise\[tiff\]' or 'pixelwise\[geo"):
        open_windows(path)
    monkeypatch.undo()
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", {})
    monkeypatch.setattr("pixelwise.data.io.image_windows.is_installed", lambda: False)
    with pytest.raises(
        DataError, match=r"\(the compression LERC needs imagecodecs\); pip install 'pixelwise\[tiff\]' or"
    ):
        open_windows(path)


def test_jpeg_2000_and_mosaics_need_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = make_pixels(3)
    path = tmp_path / "image.jp2"
    source = write(tmp_path / "image.tif", pixels, crs="EPSG:32611")
    rasterio.shutil.copy(source, path, driver="JP2OpenJPEG", QUALITY=100, REVERSIBLE="YES")
    mosaic = tmp_path / "mosaic.vrt"
    mosaic.write_text(
        f'<VRTDataset rasterXSize="{WIDTH}" rasterYSize="{HEIGHT * 2}">{GEO_TRANSFORM}'
        '<VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="1">image.jp2</SourceFilename><SourceBand>2</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{WIDTH}" ySize="{HEIGHT}"/>'
        f'<DstRect xOff="0" yOff="{HEIGHT}" xSize="{WIDTH}" ySize="{HEIGHT}"/></SimpleSource>'
        "</VRTRasterBand></VRTDataset>",
        encoding="utf-8",
    )
    with open_windows(path) as windows, open_windows(mosaic) as joined:
        np.testing.assert_array_equal(windows.read(*WINDOWS[1]), pixels[100:110, 7:99])
        assert 32611 in windows.page.tags["GeoKeyDirectoryTag"].value
        assert windows.page.tags["ModelTiepointTag"].value[3:5] == (5, 9)
        assert joined.height == 300 and not joined.read(range(150), range(WIDTH)).any()
        np.testing.assert_array_equal(joined.read(range(250, 260), range(7, 99))[..., 0], pixels[100:110, 7:99, 1])
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(
        DataError, match=r"image\.jp2: reading it in parts needs rasterio; pip install 'pixelwise\[geo\]'"
    ):
        open_windows(path)
    assert not can_read_windows(path) and stated_pixels(path) == HEIGHT * WIDTH


def test_a_mosaic_cannot_name_a_file_on_a_server(tmp_path: Path) -> None:
    path = tmp_path / "mosaic.vrt"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        path.write_text(
            f'<VRTDataset rasterXSize="8" rasterYSize="8">{GEO_TRANSFORM}<VRTRasterBand dataType="Byte" band="1">'
            f"<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/a.tif</SourceFilename>"
            "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>",
            encoding="utf-8",
        )
        with pytest.raises(DataError, match=r"mosaic\.vrt: truncated or corrupt"), open_windows(path) as windows:
            windows.read(range(8), range(8))
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("pixels", "options", "fault"),
    [
        (np.zeros((3, 20, 30, 3), np.uint8), {"photometric": "rgb"}, "several pages"),
        (np.zeros((20, 30), bool), {}, "its pixels are not integers or floats of 8 to 64 bits"),
        (np.zeros((20, 30, 4), np.uint8), {"photometric": "separated"}, "its colors are neither gray nor RGB"),
        (np.zeros((20, 30), np.uint8), {"extratags": [(274, "H", 1, 6, True)]}, "it is rotated"),
    ],
)
def test_files_that_need_the_whole_image(
    tmp_path: Path, pixels: np.ndarray, options: dict[str, Any], fault: str
) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, pixels, **options)
    assert not can_read_windows(path)
    with pytest.raises(
        DataError, match=rf"image\.tif: cannot be read in parts \({fault}\); save it as a TIFF with til"
    ):
        open_windows(path)


@pytest.mark.parametrize("kind", [TiffWindows, RasterioWindows])
def test_a_large_compressed_strip_needs_the_whole_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[TiffWindows]
) -> None:
    monkeypatch.setattr(tiff_windows, "_MAX_SEGMENT_BYTES", 10_000)
    monkeypatch.setattr("pixelwise.data.io.rasterio_windows._MAX_BLOCK_BYTES", 10_000)
    options = {"tiled": False, "blockxsize": None, "blockysize": HEIGHT}
    packed = write(tmp_path / "packed.tif", make_pixels(3), compress="DEFLATE", **options)
    plain = write(tmp_path / "plain.tif", make_pixels(3), **options)
    with pytest.raises(DataError, match="too large"):
        kind(packed)
    TiffWindows(plain).close()


@pytest.mark.parametrize("kind", [TiffWindows, RasterioWindows])
def test_damaged_files_are_errors_with_their_names(tmp_path: Path, kind: type[TiffWindows]) -> None:
    path = write(tmp_path / "image.tif", make_pixels(3), compress="DEFLATE")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[12]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    with kind(path) as windows, pytest.raises(DataError, match=r"image\.tif: truncated or corrupt"):
        windows.read(range(64, 96), range(WIDTH))
    text = tmp_path / "text.tif"
    text.write_text("no image", encoding="utf-8")
    with pytest.raises(DataError, match=r"text\.tif: cannot be read"):
        kind(text)
    with pytest.raises(DataError, match=r"missing\.tif: no such file"):
        open_windows(tmp_path / "missing.tif")
    assert stated_pixels(text) is None and not can_read_windows(text)


def test_the_header_states_the_number_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "image.tif", make_pixels(5))
    assert stated_pixels(path) == HEIGHT * WIDTH
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    Image.fromarray(make_pixels(1)[..., 0]).save(tmp_path / "large.jp2", "JPEG2000")
    assert stated_pixels(tmp_path / "large.jp2") == MAX_PIXELS + 1
