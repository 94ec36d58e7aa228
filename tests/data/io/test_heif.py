"""HEIC photos, with and without the package that decodes them."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from pixelwise.data.io.heif import is_heif
from pixelwise.data.io.image import open_image, read_image
from pixelwise.errors import DataError

pillow_heif = pytest.importorskip("pillow_heif")


def scene() -> np.ndarray:
    """Return an image (40, 60, 3) of four colors."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30], pixels[:20, 30:], pixels[20:, :30] = (200, 30, 40), (20, 180, 60), (40, 60, 220)
    return pixels


def save_heic(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    file = pillow_heif.from_pillow(Image.fromarray(pixels))
    try:
        file.save(path, quality=95, **options)
    except (RuntimeError, ValueError, OSError) as error:
        pytest.skip(f"this build encodes no HEIC: {error}")
    return path


@pytest.mark.parametrize("suffix", ["heic", "heif", "hif", "jpg"])
def test_a_heic_photo_is_read_by_its_content(suffix: str, tmp_path: Path) -> None:
    path = save_heic(tmp_path / f"photo.{suffix}", scene())
    pixels = read_image(path)
    assert pixels.shape == (40, 60, 3) and pixels.dtype == np.uint8
    assert open_image(path, lambda image: image.format) == "HEIF"
    assert np.abs(pixels.astype(int) - scene()).mean() < 8


def test_it_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save_heic(tmp_path / "photo.heic", scene(), exif=exif.tobytes())
    turned = read_image(path)
    expected = np.rot90(scene(), -1) if turned.shape[0] == 60 else scene()
    assert np.abs(turned.astype(int) - expected).mean() < 8


def test_the_package_is_not_registered_with_pillow(tmp_path: Path) -> None:
    read_image(save_heic(tmp_path / "photo.heic", scene()))
    assert "HEIF" not in Image.OPEN


def test_a_cut_photo_is_an_error_in_one_line(tmp_path: Path) -> None:
    content = save_heic(tmp_path / "photo.heic", scene()).read_bytes()
    for length in (20, len(content) // 2, len(content) - 10):
        (tmp_path / "cut.heic").write_bytes(content[:length])
        with pytest.raises(DataError) as error:
            read_image(tmp_path / "cut.heic")
        assert str(error.value).startswith(f"{tmp_path / 'cut.heic'}: ") and "\n" not in str(error.value)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_heic(tmp_path / "photo.heic", scene())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: is a HEIC photo, which needs another package; pip install 'pixelwise[heic]'"


def test_avif_is_read_by_pillow(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, "AVIF", quality=95)
    assert not is_heif(buffer.getvalue())
    (tmp_path / "a.avif").write_bytes(buffer.getvalue())
    assert np.abs(read_image(tmp_path / "a.avif").astype(int) - scene()).mean() < 8


@pytest.mark.parametrize("content", [b"", b"ftyp", b"\0\0\0\x18ftyp", b"\0\0\0\x18ftypmp42\0\0\0\0isom"])
def test_other_content_is_no_heic_photo(content: bytes) -> None:
    assert not is_heif(content)
