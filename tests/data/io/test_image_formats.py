"""The formats that Pillow may open, and their suffixes."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from pixelwise.data.formats._filesystem import list_files, list_images
from pixelwise.data.formats.registry import detect_format
from pixelwise.data.io.image import read_image
from pixelwise.data.io.image_formats import HEIF_SUFFIXES, IMAGE_FORMATS, IMAGE_SUFFIXES
from pixelwise.errors import DataError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"


def encode(format: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), 200, np.uint8)).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", IMAGE_FORMATS)
@pytest.mark.parametrize("suffix", ["own", "jpg"])
def test_each_format_is_read_under_any_suffix(format: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{IMAGE_FORMATS[format][0] if suffix == 'own' else suffix}"
    path.write_bytes(encode(format))
    assert (np.abs(read_image(path).astype(int) - 200) < 4).all()


@pytest.mark.parametrize("format", ["EPS", "PDF", "ICNS", "ICO", "SGI", "MSP", "SPIDER"])
def test_other_formats_of_pillow_are_not_opened(format: str, tmp_path: Path) -> None:
    path, content = tmp_path / "a.jpg", io.BytesIO()  # Pillow would register the suffix .jpg for SPIDER
    try:
        image = Image.fromarray(np.zeros((32, 32), np.uint8))
        (image.convert("1") if format == "MSP" else image.convert("F") if format == "SPIDER" else image).save(
            content, format
        )
        path.write_bytes(content.getvalue())
    except (KeyError, OSError, ValueError) as error:
        pytest.skip(f"Pillow does not write it here: {error}")
    with pytest.raises(DataError, match="not an image that can be read"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["czi", "lif", "nd2", "oir", "SVS"])
def test_the_files_of_microscopes_have_a_fix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"cells.{suffix}"
    path.write_bytes(b"ZISRAWFILE" + bytes(1000))
    fault = f"{path}: .{suffix.lower()} files are not read; export them as TIFF"
    with pytest.raises(DataError, match=re.escape(fault)):
        read_image(path)
    with pytest.raises(DataError, match=re.escape(fault)):
        detect_format(path)


def test_a_tiff_is_read_whatever_its_suffix_is(tmp_path: Path) -> None:
    path = tmp_path / "slide.svs"
    Image.new("RGB", (32, 24), (10, 20, 30)).save(path, "TIFF")
    assert (read_image(path) == (10, 20, 30)).all()


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands an EPS to Ghostscript, whatever its suffix is."""

    def fail(*args: object, **options: object) -> None:
        raise AssertionError("Ghostscript was asked for")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", fail)
    monkeypatch.setattr(shutil, "which", fail)
    path = tmp_path / "photo.jpg"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(DataError, match="not an image that can be read"):
        read_image(path)


def test_listings_find_every_suffix_in_any_case(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        (tmp_path / f"{suffix}.{suffix}").touch()
        (tmp_path / f"{suffix}2.{suffix.upper()}").touch()
    found = list(list_images(list_files(tmp_path)))
    assert len(found) == 2 * len(IMAGE_SUFFIXES)
    assert {"jfif", "jp2", "avif", *HEIF_SUFFIXES} <= IMAGE_SUFFIXES


def test_no_suffix_belongs_to_two_formats() -> None:
    suffixes = [suffix for group in IMAGE_FORMATS.values() for suffix in group]
    assert len(suffixes) == len(set(suffixes)) and not set(suffixes) & set(HEIF_SUFFIXES)
