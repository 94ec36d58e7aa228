"""Reading of TIFFs with other bands than Pillow reads."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelwise.data.io.image import count_channels, read_image
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.errors import DataError


def pixels(bands: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (20, 30, bands)).astype(np.uint8)


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_are_read_in_any_layout(bands: int, planar: bool, dtype: type, tmp_path: Path) -> None:
    expected = pixels(bands)
    stored = expected if dtype is np.uint8 else expected.astype(np.uint16) << 8 | 77
    path = tmp_path / "bands.tif"
    if planar:
        tifffile.imwrite(path, np.moveaxis(stored, 2, 0), photometric="minisblack", planarconfig="separate")
    else:
        tifffile.imwrite(path, stored, photometric="minisblack", planarconfig="contig")
    assert count_channels(path) == bands
    np.testing.assert_array_equal(read_image(path, bands), expected)
    with pytest.raises(DataError, match=f"has {bands} channels"):
        read_image(path, bands + 1)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd"])
def test_compressed_bands_are_read(compression: str, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "bands.tif"
    tifffile.imwrite(path, pixels(5), photometric="minisblack", planarconfig="contig", compression=compression)
    np.testing.assert_array_equal(read_image(path, 5), pixels(5))


@pytest.mark.slow
def test_a_missing_codec_is_an_error_that_names_the_extra(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "bands.tif"
    tifffile.imwrite(path, pixels(5), photometric="minisblack", planarconfig="contig", compression="lzw")
    # In a process of its own, because tifffile searches its codecs when it is imported.
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from pathlib import Path; from pixelwise.data.io.image import read_multiband_tiff\n"
        "read_multiband_tiff(Path(sys.argv[1]))"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "pip install 'pixelwise[tiff]'" in result.stderr


def test_rgb_and_gray_tiffs_are_read_as_images(tmp_path: Path) -> None:
    rgb = pixels(3)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "gray.tif", rgb[..., 0])
    tifffile.imwrite(tmp_path / "deep.tif", rgb.astype(np.uint16) << 8, photometric="rgb")
    for name in ("rgb", "gray", "deep"):
        assert count_channels(tmp_path / f"{name}.tif") == 3
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.tif"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "gray.tif"), rgb[..., :1].repeat(3, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif"), rgb)


NUMBERS = ["int8", "int16", "int32", "uint32", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("bands", [2, 3, 5])
def test_bands_of_floats_and_wide_integers_need_a_range(dtype: str, bands: int, tmp_path: Path) -> None:
    path, values = tmp_path / "numbers.tif", np.arange(20 * 30 * bands).reshape(20, 30, bands) % 101
    low = 0 if dtype == "uint32" else -50
    tifffile.imwrite(path, (values + low).astype(dtype), photometric="minisblack", planarconfig="contig")
    assert count_channels(path) == bands
    with pytest.raises(DataError, match=rf"numbers\.tif: its pixels are {dtype}, whose range is known only to a model"):
        read_image(path, channels=bands)
    pixels = read_image(path, bands, PixelScale(pixel_range=(low, low + 100)))
    np.testing.assert_allclose(pixels, values * 2.55, atol=0.51)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_one_band_of_floats_or_wide_integers_is_gray(dtype: str, tmp_path: Path) -> None:
    path, values = tmp_path / "elevation.tif", np.arange(600).reshape(20, 30) % 101
    low = 0 if dtype == "uint32" else -50
    tifffile.imwrite(path, (values + low).astype(dtype))
    assert count_channels(path) == 3
    with pytest.raises(DataError, match=r"elevation\.tif: its pixels are .*, whose range is known only"):
        read_image(path)
    pixels = read_image(path, scale=PixelScale(pixel_range=(low, low + 100)))
    assert (pixels == pixels[..., :1]).all()
    np.testing.assert_allclose(pixels[..., 0], values * 2.55, atol=0.51)


def test_values_outside_the_range_are_clipped(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    values = np.array([[-np.inf, -5, 0, 5, 10, 15, np.inf, np.nan]], np.float32)
    tifffile.imwrite(path, values)
    assert read_image(path, scale=PixelScale(pixel_range=(0, 10)))[0, :, 0].tolist() == [0, 0, 0, 128, 255, 255, 255, 0]


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "RGBA", "CMYK", "I;16"])
def test_without_tifffile_pillow_reads_plain_tiffs(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(pixels(3)[..., 0].astype(np.uint16) << 8) if mode == "I;16" else None
    (image or Image.fromarray(pixels(3)).convert(mode)).save(tmp_path / "image.tif")
    expected = read_image(tmp_path / "image.tif")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert count_channels(tmp_path / "image.tif") == 3
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif"), expected)


@pytest.mark.parametrize("kind", ["5 bands", "RGB and infrared", "16-bit RGB", "pages"])
def test_without_tifffile_other_tiffs_are_errors_that_name_the_extra(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would drop bands, bits or pages of some of them without an error."""
    path = tmp_path / "image.tif"
    if kind == "5 bands":
        tifffile.imwrite(path, pixels(5), photometric="minisblack", planarconfig="contig")
    elif kind == "RGB and infrared":
        tifffile.imwrite(path, pixels(4), photometric="rgb", extrasamples=["unspecified"])
    elif kind == "16-bit RGB":
        tifffile.imwrite(path, pixels(3).astype(np.uint16) << 8, photometric="rgb")
    else:
        tifffile.imwrite(path, np.moveaxis(pixels(3), 2, 0), photometric="minisblack")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(DataError, match=r"image\.tif: .*(pip install 'pixelwise\[tiff\]')"):
        count_channels(path)
