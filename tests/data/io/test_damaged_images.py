"""Damaged, missing and hostile files: each is read, or gives one DataError that names the file."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixelwise.data.io.image import MAX_PIXELS, read_image
from pixelwise.data.io.mask import read_mask
from pixelwise.data.io.mask_values import mask_values, open_mask
from pixelwise.data.schema import LabelMap
from pixelwise.errors import DataError

# Pillow warns about some damage that it can read nevertheless.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
LABELS = LabelMap("index", {0: 0, 255: 1})
examples = settings(derandomize=True, deadline=None, max_examples=40)


def encode(format: str, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, format)
    return buffer.getvalue()


def read_or_none(path: Path) -> np.ndarray | None:
    """Read an image. Return None for a DataError in one line that names the file. Nothing may be written."""
    before = sorted(path.parent.iterdir())
    try:
        return read_image(path)
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None
    finally:
        assert sorted(path.parent.iterdir()) == before


@examples
@given(st.sampled_from(FORMATS), st.floats(0, 0.97))
def test_a_file_cut_off_anywhere_is_refused(format: str, fraction: float) -> None:
    content = encode(format)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        path.write_bytes(content[: int(len(content) * fraction)])
        assert read_or_none(path) is None


@examples
@given(st.sampled_from(FORMATS), st.integers(0, 2**30), st.binary(min_size=1, max_size=20))
def test_a_file_damaged_anywhere_is_read_or_refused(format: str, position: int, damage: bytes) -> None:
    content = bytearray(encode(format))
    position %= len(content)
    content[position : position + len(damage)] = damage
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(content)
        image = read_or_none(path)
        assert image is None or (image.dtype == np.uint8 and image.ndim == 3)


@pytest.mark.parametrize("format", FORMATS)
def test_several_damaged_bytes_near_the_start_are_read_or_refused(format: str, tmp_path: Path) -> None:
    content, rng, refused = encode(format, (50, 40)), np.random.default_rng(0), 0
    for _ in range(60):
        damaged = bytearray(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
        for position in rng.integers(0, min(len(damaged), rng.choice([60, 600])) or 1, rng.integers(1, 5)):
            damaged[position : position + 1] = bytes([rng.integers(256)])
        (tmp_path / "image.jpg").write_bytes(damaged)
        refused += read_or_none(tmp_path / "image.jpg") is None
    assert refused > 10


@examples
@given(st.binary(max_size=300), st.sampled_from([".jpg", ".png", ".tif", ".webp"]))
def test_random_bytes_are_refused(content: bytes, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        assert read_or_none(path) is None
        with pytest.raises(DataError, match="image"):
            read_mask(path, LABELS)


@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, LABELS)], ids=["image", "mask"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "no such file"),
        (b"", "not an image"),
        (b"<html>404 Not Found</html>\n" * 40, "not an image"),
        (encode("JPEG")[:-400], "truncated"),
        (encode("PNG")[:-400], "truncated"),
        (encode("GIF")[:-400], "truncated"),
    ],
    ids=["missing", "empty", "html", "jpeg cut", "png cut", "gif cut"],
)
def test_the_error_states_the_fault(
    read: Callable[[Path], np.ndarray], content: bytes | None, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {fault}") and "\n" not in str(error.value)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_without_palette(length: int | None) -> bytes:
    """Return a PNG of palette indices whose palette has `length` bytes, or which has none if `length` is None."""
    header = struct.pack(">IIBBBBB", 3, 2, 8, 3, 0, 0, 0)
    palette = b"" if length is None else png_chunk(b"PLTE", bytes(length))
    data = png_chunk(b"IDAT", zlib.compress(b"\0\0\1\2" * 2))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + palette + data + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("length", [None, 0], ids=["missing", "empty"])
def test_a_missing_palette_is_named_and_the_values_stay_readable(length: int | None, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(png_without_palette(length))
    with pytest.raises(DataError) as error:
        read_image(path)
    assert str(error.value) == (
        f"{path}: its palette is missing, so its pixels have no colors; save it again with its palette, or as RGB"
    )
    with pytest.raises(DataError, match="its palette is missing"):
        open_mask(path, lambda image: mask_values(image, "rgb"))
    assert open_mask(path, lambda image: mask_values(image, "index")).tolist() == [[0, 1, 2], [0, 1, 2]]


def png_with_size(width: int, height: int) -> bytes:
    """Return a PNG whose header states a size that its data does not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 9999)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_with_size(60_000, 60_000))
    with pytest.raises(DataError, match="bomb"):
        read_image(path)
    with pytest.raises(DataError, match="bomb"):
        read_mask(path, LABELS)


def test_an_animation_with_a_wrong_size_in_its_header_is_refused(tmp_path: Path) -> None:
    """Pillow would decode the small first frame into an image of the size in the header."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (7, 5), color) for color in ("red", "blue")]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    content, path = buffer.getvalue(), tmp_path / "image.png"
    path.write_bytes(content)
    assert read_image(path).shape == (5, 7, 3)
    start = content.index(b"IHDR")
    header = b"IHDR" + struct.pack(">II", 700, 500) + content[start + 12 : start + 17]
    path.write_bytes(content[:start] + header + struct.pack(">I", zlib.crc32(header)) + content[start + 21 :])
    with pytest.raises(DataError, match=r"image\.png: truncated or corrupt \(its first frame has another size\)"):
        read_image(path)


def test_the_limit_holds_if_pillows_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "bomb.png"
    path.write_bytes(png_with_size(60_000, 60_000))
    with pytest.raises(DataError, match=rf"60000x60000 pixels are more than the maximum of {MAX_PIXELS:,}"):
        read_image(path)


def test_an_image_beyond_pillows_limit_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(png_with_size(14_000, 14_000))
    with pytest.raises(
        DataError, match=r"mask\.png: its pixels are more than the maximum of 178,956,970; save it as a"
    ):
        read_image(tmp_path / "mask.png")


def test_an_extremely_long_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for width, height in ((1, 1_000_001), (60_000_000, 1)):
        (tmp_path / "line.png").write_bytes(png_with_size(width, height))
        with pytest.raises(
            DataError, match=rf"line\.png: {width}x{height} pixels: a side is longer .* 1,000,000; cut it"
        ):
            read_image(tmp_path / "line.png")


def test_a_lack_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pixelwise.data.io.image.rgb_array", fail)
    with pytest.raises(DataError, match=r"a\.png: not enough memory to read it; cut it into tiles"):
        read_image(tmp_path / "a.png")


def test_a_warning_of_pillow_is_the_callers(tmp_path: Path) -> None:
    """Reading changes no warning filter: Pillow's warning of a large image arrives, also as an exception."""
    path = tmp_path / "large.png"
    path.write_bytes(png_with_size(10_000, 10_000))
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(DataError, match="truncated"):
        read_image(path)
    with pytest.raises(Image.DecompressionBombWarning):
        read_image(path)


def test_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty.png").touch()
    for name in ("folder", "pipe", "circle", "dangling", "empty", "missing", "x" * 400):
        assert read_or_none(tmp_path / f"{name}.png") is None


@contextmanager
def without_root() -> Iterator[None]:
    """Become an ordinary user: root may read every file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_without_read_permission_is_named() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "image.png"
        Image.new("RGB", (4, 4)).save(path)
        path.chmod(0)
        with without_root(), pytest.raises(DataError, match=r"image\.png: cannot be read \(permission denied\)"):
            read_image(path)
