"""Reading of intact images: formats, modes, bit depths, transparency and EXIF orientation."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.io.image import read_image, read_with_size
from pixelwise.errors import DataError

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_png(folder: Path, image: Image.Image, **options: Any) -> Path:
    """Save an image as PNG, which must keep its mode."""
    path = folder / "image.png"
    image.save(path, **options)
    with Image.open(path) as saved:
        assert saved.mode == image.mode
    return path


def exif_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


# --- formats and modes


@pytest.mark.parametrize("format", FORMATS)
def test_the_content_decides_the_format_and_not_the_suffix(format: str, tmp_path: Path) -> None:
    """Oxford-IIIT Pet has GIF and PNG files named .jpg."""
    pixels = np.full((16, 16, 3), (10, 200, 30), np.uint8)
    pixels[:8] = (250, 0, 128)
    options: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    Image.fromarray(pixels).save(tmp_path / "image.jpg", format, **options.get(format, {}))
    difference = read_image(tmp_path / "image.jpg").astype(int) - pixels
    assert np.abs(difference).max() <= (3 if format == "JPEG" else 0)


def test_gray_and_1_bit_images_become_rgb(tmp_path: Path) -> None:
    gray = noise(5, 6)[..., 0]
    np.testing.assert_array_equal(read_image(save_png(tmp_path, Image.fromarray(gray))), gray[..., None].repeat(3, 2))
    bits = gray > 127
    expected = (bits[..., None] * 255).repeat(3, 2)
    np.testing.assert_array_equal(read_image(save_png(tmp_path, Image.fromarray(bits))), expected)


def test_16_bits_are_shifted_and_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256, 0x7FFF], [0x8000, 0xFEFF, 0xFF00, 0xFFFF]], np.uint16)
    image = read_image(save_png(tmp_path, Image.fromarray(deep)))
    np.testing.assert_array_equal(image[..., 0], [[0, 0, 1, 127], [128, 254, 255, 255]])
    assert (image == image[..., :1]).all()


def test_an_image_without_a_known_range_is_refused(tmp_path: Path) -> None:
    """Floats can mean 0..1 or 0..255. Read wrongly, images would be black and train without an error."""
    path = tmp_path / "image.tif"
    Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)).save(path)
    with pytest.raises(DataError, match=r"image\.tif: its pixels are float32, whose range is known only"):
        read_image(path)


def test_transparent_pixels_are_blended_with_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0], pixels[0, 1] = (200, 100, 0, 255), (200, 100, 0, 0)
    pixels[1, 0], pixels[1, 1] = (0, 0, 0, 0), (0, 0, 0, 128)
    image = read_image(save_png(tmp_path, Image.fromarray(pixels)))
    np.testing.assert_array_equal(image[0], [(200, 100, 0), (255, 255, 255)])
    np.testing.assert_array_equal(image[1], [(255, 255, 255), (127, 127, 127)])


def test_a_palette_image_has_its_colors_and_its_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 255])
    opaque = [[(10, 20, 30), (200, 0, 0)], [(0, 0, 255), (200, 0, 0)]]
    np.testing.assert_array_equal(read_image(save_png(tmp_path, image)), opaque)
    transparent = [[(10, 20, 30), (200, 0, 0)], [(255,) * 3, (200, 0, 0)]]
    np.testing.assert_array_equal(read_image(save_png(tmp_path, image, transparency=2)), transparent)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(noise(16, 16)).convert("CMYK").save(tmp_path / "image.jpg", quality=100)
    assert np.abs(read_image(tmp_path / "image.jpg").astype(int) - noise(16, 16)).mean() < 25


@pytest.mark.parametrize("name", ["猫 и кот.JPG", "عکس.Png", "a'b\"c;d.JPEG", " spaced .jpg", "no suffix", "-flag.jpg"])
def test_file_names_can_be_in_any_script(name: str, tmp_path: Path) -> None:
    Image.fromarray(noise(30, 40)).save(tmp_path / "image.jpg")
    (tmp_path / "image.jpg").rename(tmp_path / name)
    assert read_image(tmp_path / name).shape == (30, 40, 3)


# --- orientation and size


# The pixels that a camera stores for each orientation of one scene (TIFF 6.0, tag 274).
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_upright(suffix: str, orientation: int, tmp_path: Path) -> None:
    """Four corners have different colors."""
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = (240, 0, 0), (0, 240, 0), (0, 0, 240)
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options: dict[str, dict[str, Any]] = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    path = tmp_path / f"image.{suffix}"
    stored.save(path, exif=exif_orientation(orientation), **options.get(suffix, {}))
    image = read_image(path)
    assert image.shape == (32, 64, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - upright).max() <= 3


def test_an_orientation_after_a_large_color_profile_is_found(tmp_path: Path) -> None:
    """The profile contains the bytes that start a scan."""
    buffer = io.BytesIO()
    Image.fromarray(noise(61, 83)).save(buffer, "JPEG", exif=exif_orientation(6))
    content, profile = buffer.getvalue(), b"\xff\xda" * 20_000
    position = content.index(b"\xff\xe1")
    segment = b"\xff\xe2" + (len(profile) + 2).to_bytes(2, "big") + profile
    (tmp_path / "image.jpg").write_bytes(content[:position] + segment + content[position:])
    assert read_image(tmp_path / "image.jpg").shape == (83, 61, 3)


@pytest.mark.parametrize("min_size", [None, 7, 8, 15, 16, 30, 31, 60, 61, 200])
def test_a_jpeg_is_reduced_as_far_as_min_size_allows(min_size: int | None, tmp_path: Path) -> None:
    Image.fromarray(noise(61, 83)).save(tmp_path / "image.jpg")
    image, size = read_with_size(tmp_path / "image.jpg", min_size=min_size)
    scale = next(scale for scale in (8, 4, 2, 1) if (min_size is not None and 61 // scale >= min_size) or scale == 1)
    assert size == (61, 83)
    assert image.shape == (-(-61 // scale), -(-83 // scale), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_image_is_upright_and_shows_the_same(orientation: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    pixels = np.broadcast_to(ramp[:, None, None], (640, 320, 3)).copy()
    Image.fromarray(pixels).save(tmp_path / "image.jpg", exif=exif_orientation(orientation), quality=95)
    full = read_image(tmp_path / "image.jpg")
    small, size = read_with_size(tmp_path / "image.jpg", min_size=100)
    assert size == full.shape[:2] and small.shape[0] * 2 == full.shape[0] and min(small.shape[:2]) >= 100
    reduced = np.asarray(Image.fromarray(full).resize((small.shape[1], small.shape[0]), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - reduced).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000), (1, 500)])
def test_sizes_can_be_extreme(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", size, (1, 2, 3)).save(path)
    assert read_image(path).shape == (size[1], size[0], 3)
    assert read_image(path, min_size=64).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("bands", [3, 4])
def test_a_large_tiff_is_read_from_the_disk_in_parts(
    bands: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "large.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, bands)).astype(np.uint8)
    photometric = "rgb" if bands == 3 else "minisblack"
    tifffile.imwrite(path, pixels, tile=(16, 16), photometric=photometric, planarconfig="contig")
    expected = read_image(path, bands)
    monkeypatch.setattr("pixelwise.data.io.image._LARGE_FILE_BYTES", 1000)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("the whole file was read"))
    assert (read_image(path, bands) == expected).all()
    path.write_bytes(b"II*\0" + bytes(2000))
    with pytest.raises(DataError, match=r"large\.tif"):
        read_image(path, bands)


def test_a_large_file_of_another_format_is_read_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.tif"
    Image.effect_noise((50, 40), 90).convert("RGB").save(path, "PNG")
    monkeypatch.setattr("pixelwise.data.io.image._LARGE_FILE_BYTES", 1000)
    assert read_image(path).shape == (40, 50, 3)
