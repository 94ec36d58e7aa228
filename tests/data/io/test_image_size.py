"""Tests of the size of decoded images, estimated from their headers."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from pixelwise.data.analysis.image_scan import image_stats
from pixelwise.data.io.exif import exif_orientation
from pixelwise.data.io.image import read_bands, read_with_size
from pixelwise.data.io.image_size import decoded_bytes, header_size
from pixelwise.data.schema import BytesSource


class Remote:
    """A source that is not a local file."""

    name = "a.png"

    def read_bytes(self) -> bytes:
        pytest.fail("read, only to estimate its size")


def test_size_of_an_image_is_read_from_its_header(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "a.png")
    Image.new("L", (300, 200)).save(tmp_path / "a.jpg")
    Image.fromarray(np.zeros((200, 300), np.float32)).save(tmp_path / "a.tif")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    sizes = [decoded_bytes(tmp_path / name) for name in ("a.png", "a.jpg", "a.tif", "cut.png")]
    assert sizes == [180_000, 180_000, 240_000, 180_000]


def test_files_without_a_header_and_sources_on_servers_have_an_assumed_size(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("text")
    assert decoded_bytes(tmp_path / "notes.jpg") == decoded_bytes(Remote()) > 1_000_000


def test_what_cannot_be_read_costs_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert decoded_bytes(tmp_path / "pipe.jpg") == decoded_bytes(tmp_path / "gone.jpg") == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_height_and_width_are_those_of_the_upright_image(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.new("RGB", (30, 20)).save(path, exif=exif)
        pixels, size = read_with_size(path)
        assert header_size(path) == size == image_stats(path).size == pixels.shape[:2]
        assert size == ((30, 20) if orientation > 4 else (20, 30))


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 4), (2, 20, 30)], ids=["RGB", "four bands", "pages"])
def test_height_and_width_of_bands_are_those_of_the_stored_pixels(shape: tuple[int, ...], tmp_path: Path) -> None:
    bands = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    path = tmp_path / "a.tif"
    kind = "rgb" if shape[-1] == 3 else "minisblack"
    layout = "contig" if shape[-1] < 30 else None
    for orientation in range(1, 9):
        tifffile.imwrite(
            path, bands, photometric=kind, planarconfig=layout, extratags=[(274, "H", 1, orientation, True)]
        )
        raw = read_bands(path)
        assert raw is not None
        assert image_stats(path).size == raw.pixels.shape[:2] == (20, 30)
        assert header_size(path) in ((20, 30), None)  # Pillow cannot open some files
        assert exif_orientation(path) == 1
    if shape[-1] == 3:
        assert header_size(path) == (20, 30)


def test_height_and_width_are_unknown_without_a_local_header(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "notes.jpg").write_text("text")
    sources: list[BytesSource] = [tmp_path / "pipe.jpg", tmp_path / "notes.jpg", tmp_path / "gone.jpg", Remote()]
    assert [header_size(source) for source in sources] == [None] * 4
