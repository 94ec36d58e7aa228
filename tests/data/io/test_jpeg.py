"""JPEGs come without Pillow, pixel for pixel as Pillow gives them; what is not plain is left to it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixelwise.data.io.image import read_image, read_with_size
from pixelwise.data.io.jpeg import decode_jpeg
from pixelwise.errors import DataError

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "4:4:4": ("RGB", {"subsampling": 0}),
    "4:2:2": ("RGB", {"subsampling": 1}),
    "4:2:0": ("RGB", {"subsampling": 2}),
    "progressive": ("RGB", {"progressive": True}),
    "restarts": ("RGB", {"restart_marker_blocks": 2}),
    "RGB inside": ("RGB", {"keep_rgb": True}),
    "gray": ("L", {}),
    "with a comment": ("RGB", {"comment": "\xff\xe1\xff\xda"}),
}


def jpeg(mode: str = "RGB", size: tuple[int, int] = (83, 61), **how: Any) -> bytes:
    file = io.BytesIO()
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).resize(size)
    smooth.convert(mode).save(file, "JPEG", **({"quality": 90} | how))
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def by_pillow(content: bytes, smallest: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        if smallest is not None:
            image.draft(None, (smallest, smallest))
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize("smallest", [None, 7, 8, 15, 16, 30, 31, 60, 61, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_pillows(kind: str, smallest: int | None) -> None:
    mode, how = KINDS[kind]
    content = jpeg(mode, **how)
    found = decode_jpeg(content, smallest)
    assert found is not None
    pixels, size = found
    assert size == (61, 83)
    np.testing.assert_array_equal(pixels, by_pillow(content, smallest))
    assert smallest is None or smallest > 61 or min(pixels.shape[:2]) >= smallest


def test_a_plain_image_never_meets_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = by_pillow(jpeg(), None)
    (tmp_path / "image.jpg").write_bytes(jpeg())

    def refuse(*_: object) -> None:
        raise AssertionError("Pillow was asked")

    monkeypatch.setattr(Image, "open", refuse)
    np.testing.assert_array_equal(read_image(tmp_path / "image.jpg"), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_images_that_lie_upright(orientation: int, tmp_path: Path) -> None:
    content = jpeg(exif=exif(orientation))
    assert (decode_jpeg(content) is None) == (orientation != 1)
    (tmp_path / "image.jpg").write_bytes(content)
    _, size = read_with_size(tmp_path / "image.jpg", smallest=10)
    assert size == ((83, 61) if orientation > 4 else (61, 83))


def test_the_orientation_behind_another_segment_is_found() -> None:
    # A color profile of 40,000 bytes that looks like the start of a scan, then EXIF.
    plain, profile = jpeg(exif=exif(6)), b"\xff\xda" * 20_000
    at = plain.index(b"\xff\xe1")
    content = plain[:at] + b"\xff\xe2" + (len(profile) + 2).to_bytes(2, "big") + profile + plain[at:]
    assert decode_jpeg(plain) is None
    assert decode_jpeg(content) is None


def test_what_is_left_to_pillow() -> None:
    assert decode_jpeg(jpeg("CMYK")) is None
    assert decode_jpeg(b"\x89PNG\r\n\x1a\n") is None
    assert decode_jpeg(b"") is None
    assert decode_jpeg(jpeg(), most_pixels=83 * 61) is not None
    assert decode_jpeg(jpeg(), most_pixels=83 * 61 - 1) is None


@pytest.mark.parametrize("damage", ["cut off", "zeros within", "no scan", "cut off in its EXIF"])
def test_damage_is_judged_by_pillow(damage: str, tmp_path: Path) -> None:
    content = jpeg(size=(400, 300), exif=exif(1))
    damaged = {
        "cut off": content[: len(content) // 2],
        "zeros within": content[:-900] + bytes(300) + content[-600:],
        "no scan": content[: content.index(b"\xff\xda")],
        "cut off in its EXIF": content[:30],
    }[damage]
    path = tmp_path / "image.jpg"
    path.write_bytes(damaged)
    if damage == "cut off in its EXIF":
        with pytest.raises(DataError, match=r"image\.jpg: (truncated|not an image)"):
            read_image(path)
        return
    assert decode_jpeg(damaged) is None
    if damage == "zeros within":  # which Pillow takes
        np.testing.assert_array_equal(read_image(path), by_pillow(damaged, None))
    else:
        with pytest.raises(DataError, match=r"image\.jpg: truncated"):
            read_image(path)
