"""JPEG files that were cut off and end with an end mark, and complete ones that look similar."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.io.image import open_image, read_image
from pixelwise.data.io.jpeg import is_far_too_short
from pixelwise.errors import DataError

END = b"\xff\xd9"

KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "gray": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
    "restart blocks": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
    "progressive gray": {"progressive": True, "mode": "L"},
    "RGB": {"keep_rgb": True},
}


def texture(height: int = 93, width: int = 121) -> np.ndarray:
    """Return an image (height, width, 3) with details and noise."""
    rows, columns = np.mgrid[:height, :width]
    waves = 127 + 90 * np.sin(rows / 7)[..., None] * np.cos(columns[..., None] / (3, 5, 9))
    noise = np.random.default_rng(0).integers(-30, 30, (height, width, 3))
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def encode(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **{"quality": 90} | options)
    return buffer.getvalue()


def read(content: bytes, tmp_path: Path, **options: Any) -> np.ndarray:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    return read_image(path, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.8, 0.95])
def test_a_cut_file_with_an_end_mark_is_an_error(kind: str, fraction: float, tmp_path: Path) -> None:
    content = encode(texture(), **KINDS[kind])
    with pytest.raises(DataError) as error:
        read(content[: int(len(content) * fraction)] + END, tmp_path)
    assert str(error.value) == (
        f"{tmp_path / 'a.jpg'}: truncated or corrupt (data is missing before its end mark); replace or remove it"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_file_is_read(kind: str, tmp_path: Path) -> None:
    content = encode(texture(), **KINDS[kind])
    assert read(content, tmp_path).shape == (93, 121, 3)
    assert read(content + b"trailing bytes", tmp_path).shape == (93, 121, 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", range(124, 132))
def test_a_complete_file_whose_last_pixels_are_gray_is_read(kind: str, value: int, tmp_path: Path) -> None:
    """They look like the pixels that libjpeg puts in the place of missing ones."""
    pixels = texture()
    pixels[60:] = value
    assert read(encode(pixels, **KINDS[kind]), tmp_path).shape == (93, 121, 3)
    assert read(encode(np.full_like(pixels, value), **KINDS[kind]), tmp_path).shape == (93, 121, 3)


def test_only_a_file_that_looks_cut_is_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = Image.open

    def count(*args: Any, **options: Any) -> Image.Image:
        opened.append(1)
        return real(*args, **options)

    monkeypatch.setattr(Image, "open", count)
    large = texture(200, 300)
    content = encode(large)
    assert len(content) > 1 << 13
    read(content, tmp_path)
    assert len(opened) == 1
    large[-16:] = 128
    read(encode(large), tmp_path)
    assert len(opened) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_file_is_judged_to_its_last_pixels(kind: str, tmp_path: Path) -> None:
    content = encode(texture(40, 40), **KINDS[kind])
    for missing in range(12, 200, 20):
        with pytest.raises(DataError, match="data is missing"):
            read(content[:-missing] + END, tmp_path)


@pytest.mark.parametrize("kind", ["4:2:0", "restarts", "progressive"])
@pytest.mark.parametrize("min_size", [8, 20, 45])
def test_a_cut_file_is_found_at_a_reduced_size(kind: str, min_size: int, tmp_path: Path) -> None:
    content = encode(texture(200, 201), **KINDS[kind])
    with pytest.raises(DataError, match="data is missing"):
        read(content[: len(content) // 3] + END, tmp_path, min_size=min_size)
    assert read(content, tmp_path, min_size=min_size).shape[0] < 200


def test_a_header_that_announces_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """600 bytes that would become 240 MB of gray pixels."""
    content = bytearray(encode(texture(16, 16)))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = (9000).to_bytes(2, "big") * 2
    assert is_far_too_short(bytes(content)) and not is_far_too_short(encode(texture(16, 16)))
    path = tmp_path / "a.jpg"
    path.write_bytes(content)

    def fail(image: Image.Image) -> None:
        raise AssertionError("it was decoded")

    with pytest.raises(DataError, match="data is missing"):
        open_image(path, fail)


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_files_are_long_enough(kind: str, tmp_path: Path) -> None:
    """One color at the lowest quality takes the fewest bits."""
    for color in (0, 127, 255):
        content = encode(np.full((256, 256, 3), color, np.uint8), **KINDS[kind] | {"quality": 1, "optimize": True})
        assert not is_far_too_short(content)
        assert read(content, tmp_path).shape == (256, 256, 3)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0\x00", b"\xff\xd8\xff\xda\0\2"]
)
def test_a_damaged_header_is_not_judged(content: bytes) -> None:
    assert not is_far_too_short(content)


def test_a_file_of_several_images_is_judged_by_its_first(tmp_path: Path) -> None:
    """Phones store a depth map or a preview behind the photo (MPO)."""
    pixels = texture()
    pixels[60:] = 128
    buffer = io.BytesIO()
    second = Image.fromarray(texture(40, 40))
    Image.fromarray(pixels).save(buffer, "MPO", save_all=True, append_images=[second])
    content = buffer.getvalue()
    assert content.count(b"\xff\xd8\xff") == 2 and read(content, tmp_path).shape == (93, 121, 3)
    cut = content.index(END) // 2
    with pytest.raises(DataError, match="data is missing"):
        read(content[:cut] + END, tmp_path)


def test_an_end_mark_in_the_thumbnail_does_not_matter(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a thumbnail"
    thumbnail = b"Exif\0\0" + exif.tobytes()[6:] + encode(texture(16, 16))
    pixels = texture()
    pixels[60:] = 128
    content = encode(pixels, exif=thumbnail)
    assert content.count(END) >= 2
    assert read(content, tmp_path).shape == (93, 121, 3)
    with pytest.raises(DataError, match="data is missing"):
        read(content[:-400] + END, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["oxford-iiit-pet/images", "camvid"])
def test_real_photos_are_complete(name: str) -> None:
    root = Path(os.environ.get("PIXELWISE_DATA", "/nowhere")) / name
    if not root.is_dir():
        pytest.skip("needs PIXELWISE_DATA")
    shapes = [read_image(path).shape for path in sorted(root.rglob("*.jpg"))[:600]]
    assert len(shapes) > 400 and all(channels == 3 for _, _, channels in shapes)
