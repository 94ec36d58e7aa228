"""Files as they come: broken, strange, hostile. Each is read or gives an error that names it; nothing else happens."""

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.data.io.image import count_channels, read_image
from pixelwise.data.io.mask import read_image_and_mask, read_mask
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.errors import DataError

quick = settings(derandomize=True, deadline=None, max_examples=40)
TWO = LabelMap("index", {0: 0, 255: 1})


def encoded(format: str, size: tuple[int, int] = (40, 30)) -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(file, format)
    return file.getvalue()


def read_or_named(path: Path) -> np.ndarray | None:
    """The image, or None with an error that names the file in one line; whatever else is raised fails the test."""
    before = sorted(path.parent.iterdir())
    try:
        return read_image(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None
    finally:
        assert sorted(path.parent.iterdir()) == before, "nothing is written"


FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")


@quick
@given(st.sampled_from(FORMATS), st.floats(0, 0.97))
def test_a_file_cut_off_anywhere(format: str, share: float) -> None:
    content = encoded(format)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        path.write_bytes(content[: int(len(content) * share)])
        assert read_or_named(path) is None


@quick
@given(st.sampled_from(FORMATS), st.integers(0, 2**30), st.binary(min_size=1, max_size=20))
def test_a_file_damaged_anywhere(format: str, place: int, damage: bytes) -> None:
    content = bytearray(encoded(format))
    place %= len(content)
    content[place : place + len(damage)] = damage
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(content)
        image = read_or_named(path)
        assert image is None or (image.dtype == np.uint8 and image.ndim == 3)


@quick
@given(st.binary(max_size=300), st.sampled_from([".jpg", ".png", ".tif", ".webp"]))
def test_random_bytes(content: bytes, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        assert read_or_named(path) is None
        with pytest.raises(DataError, match="image"):
            read_mask(path, TWO)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000), (1, 500)])
def test_strange_shapes(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", size, (1, 2, 3)).save(path)
    assert read_image(path).shape == (size[1], size[0], 3)
    assert read_image(path, min_size=64).shape == (size[1], size[0], 3)


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 9999)) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match="bomb"):
        read_image(path)
    with pytest.raises(DataError, match="bomb"):
        read_mask(path, TWO)


def test_no_file_a_folder_a_pipe_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty.png").touch()
    for name in ("folder", "pipe", "circle", "dangling", "empty", "missing", "x" * 400):
        assert read_or_named(tmp_path / f"{name}.png") is None


@contextmanager
def as_nobody() -> Iterator[None]:
    """What permissions forbid is allowed to root: be somebody else."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def test_a_file_that_may_not_be_read() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "image.png"
        Image.new("RGB", (4, 4)).save(path)
        path.chmod(0)
        with as_nobody(), pytest.raises(DataError, match=r"image\.png.*permission"):
            read_image(path)


@pytest.mark.parametrize("name", ["猫 и кот.JPG", "عکس.Png", "a'b\"c;d.JPEG", " spaced .jpg", "no suffix", "-flag.jpg"])
def test_names_in_any_script(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encoded("JPEG"))
    assert read_image(tmp_path / name).shape == (30, 40, 3)


@pytest.mark.parametrize("format", FORMATS)
def test_the_content_decides_and_not_the_suffix(format: str, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(encoded(format))
    assert read_image(tmp_path / "image.jpg").shape == (30, 40, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_image_is_upright_and_at_least_as_large_as_asked(orientation: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(ramp[:, None], (640, 320)).copy()).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "image.jpg", exif=exif, quality=95)
    whole, small = read_image(tmp_path / "image.jpg"), read_image(tmp_path / "image.jpg", min_size=100)
    assert small.shape[0] * 2 == whole.shape[0] and min(small.shape[:2]) >= 100
    near = np.abs(
        small.astype(int) - np.asarray(Image.fromarray(whole).resize(small.shape[1::-1], Image.Resampling.BOX))
    )
    assert near.mean() < 2


def test_a_pair_of_two_sizes_is_found_in_a_scaled_image_too(tmp_path: Path) -> None:
    Image.new("RGB", (640, 480)).save(tmp_path / "image.jpg")
    Image.new("L", (320, 240)).save(tmp_path / "mask.png")
    record = Record(tmp_path / "image.jpg", tmp_path / "mask.png")
    for smallest in (None, 64):
        with pytest.raises(DataError, match=r"image is 640x480 but its mask .*mask\.png is 320x240"):
            read_image_and_mask(record, ReadSpec(TWO), smallest)


@pytest.mark.parametrize("bands", [2, 4, 5, 13])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiffs_of_bands(bands: int, planar: bool, dtype: type, tmp_path: Path) -> None:
    levels = np.random.default_rng(2).integers(0, 256, (20, 30, bands)).astype(np.uint8)
    stored = levels if dtype is np.uint8 else levels.astype(np.uint16) << 8 | 77
    path = tmp_path / "bands.tif"
    tifffile.imwrite(
        path, np.moveaxis(stored, 2, 0) if planar else stored, photometric="minisblack",
        planarconfig="separate" if planar else "contig",
    )  # fmt: skip
    assert count_channels(path) == bands
    np.testing.assert_array_equal(read_image(path, bands), levels)
    with pytest.raises(DataError, match=f"has {bands} channels"):
        read_image(path, bands + 1)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd"])
def test_compressed_bands(compression: str, tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    levels = np.random.default_rng(2).integers(0, 256, (20, 30, 5)).astype(np.uint8)
    path = tmp_path / "bands.tif"
    tifffile.imwrite(path, levels, photometric="minisblack", planarconfig="contig", compression=compression)
    np.testing.assert_array_equal(read_image(path, 5), levels)


def test_what_a_compression_needs_is_told(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs")
    path = tmp_path / "bands.tif"
    levels = np.zeros((20, 30, 5), np.uint8)
    tifffile.imwrite(path, levels, photometric="minisblack", planarconfig="contig", compression="lzw")
    # In a process of its own, for tifffile looks for its codecs when it is imported.
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from pathlib import Path; from pixelwise.data.io.image import read_multiband_tiff; read_multiband_tiff(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "pip install 'pixelwise[tiff]'" in done.stderr


def test_tiffs_that_are_images_are_images(tmp_path: Path) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", rgb, photometric="rgb")
    tifffile.imwrite(tmp_path / "gray.tif", rgb[..., 0])
    tifffile.imwrite(tmp_path / "deep.tif", rgb.astype(np.uint16) << 8, photometric="rgb")
    for name in ("rgb", "gray", "deep"):
        assert count_channels(tmp_path / f"{name}.tif") == 3
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.tif"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "gray.tif"), rgb[..., :1].repeat(3, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif"), rgb)
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((20, 30, 5), np.float32), photometric="minisblack")
    with pytest.raises(DataError, match=r"float\.tif.*float32"):
        count_channels(tmp_path / "float.tif")
