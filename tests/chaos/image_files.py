"""Damaged image files, read as images and as masks."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, features

from pixelwise.data.io.image import read_image
from pixelwise.data.io.mask import read_mask
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.schema import LabelMap
from pixelwise.errors import DataError
from tests.chaos.damage import BYTES, Damage, overwrite
from tests.chaos.forks import check_in_forks
from tests.chaos.verdicts import Try, Verdict, judge_error

PART = "images"

_LABELS = LabelMap("index", {value: value % 3 for value in range(256)})

_SUFFIXES = (".jpg", ".png", ".tif", ".gif", ".webp", ".bmp")

_GIANTS = (13_377, 30_000, 65_535, 0x7FFFFFFF)
"""Sides in pixels. The first is just below the limit of the number of pixels."""


def cut_with_end_mark(rng: random.Random, content: bytes) -> bytes:
    """Cut a JPEG and append its end mark, as programs that recover files do."""
    return content[: rng.randrange(len(content) // 3, len(content) - 2)] + b"\xff\xd9"


def giant_header(rng: random.Random, content: bytes) -> bytes:
    """Write giant sides into the header of an image file."""
    width, height = rng.choice(_GIANTS), rng.choice(_GIANTS)
    if content.startswith(b"\x89PNG"):
        header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        return overwrite(content, 12, header + struct.pack(">I", zlib.crc32(header)))
    if content.startswith(b"\xff\xd8"):
        place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        return overwrite(content, place + 5, struct.pack(">HH", height & 0xFFFF, width & 0xFFFF))
    if content.startswith(b"GIF"):
        return overwrite(content, 6, struct.pack("<HH", width & 0xFFFF, height & 0xFFFF))
    if content.startswith(b"BM"):
        return overwrite(content, 18, struct.pack("<II", width & 0x7FFFFFFF, height & 0x7FFFFFFF))
    if content.startswith(b"P6"):
        return b"P6\n%d %d\n255\n" % (width, height) + content[-9:]
    if content.startswith(b"II*\0"):
        place = struct.unpack("<I", content[4:8])[0]
        entries = range(place + 2, place + 2 + 12 * struct.unpack("<H", content[place : place + 2])[0], 12)
        for entry in entries:
            tag = struct.unpack("<H", content[entry : entry + 2])[0]
            if tag in (256, 257):
                content = overwrite(content, entry + 2, struct.pack("<HII", 4, 1, (width, height)[tag - 256]))
        return content
    return overwrite(content, rng.randrange(12, 40), struct.pack("<II", width, height))


DAMAGES: dict[str, Damage] = BYTES | {"cut, with end mark": cut_with_end_mark, "giant header": giant_header}

_CUTS = ("cut", "cut near the end", "cut, with end mark")
"""Damage after which an image may be read only if all of its pixels are right."""


def good_files() -> dict[str, bytes]:
    """Return name → a good file of each kind."""
    random_pixels = np.random.default_rng(0).integers(0, 60, (56, 72, 3))
    slope = np.add.outer(np.arange(56) * 2, np.arange(72))[..., None]
    pixels = (random_pixels + slope % 190).astype(np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x112] = 6
    frames = {"save_all": True, "append_images": [image.rotate(180)]}
    alpha = image.copy()
    alpha.putalpha(128)
    files = {
        "baseline.jpg": _encode(image, "JPEG"),
        "progressive.jpg": _encode(image, "JPEG", progressive=True),
        "gray.jpg": _encode(image.convert("L"), "JPEG"),
        "cmyk.jpg": _encode(image.convert("CMYK"), "JPEG"),
        "exif.jpg": _encode(image, "JPEG", exif=exif),
        "444.jpg": _encode(image, "JPEG", subsampling=0),
        "restart.jpg": _encode(image, "JPEG", restart_marker_blocks=2),
        "rgb.png": _encode(image, "PNG"),
        "rgba.png": _encode(alpha, "PNG"),
        "palette.png": _encode(image.quantize(16), "PNG"),
        "16 bits.png": _encode(Image.fromarray(pixels[..., 0].astype(np.uint16) * 200), "PNG"),
        "1 bit.png": _encode(image.convert("1"), "PNG"),
        "animated.png": _encode(image, "PNG", **frames),
        "still.gif": _encode(image, "GIF"),
        "animated.gif": _encode(image, "GIF", **frames),
        "plain.tif": _encode(image, "TIFF"),
        "lzw.tif": _encode(image, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": _encode(image, "TIFF", compression="jpeg"),
        "deflate.tif": _encode(image, "TIFF", compression="tiff_adobe_deflate"),
        "16 bits.tif": _encode_tiff(pixels.astype(np.uint16) * 100),
        "5 bands.tif": _encode_tiff(
            np.dstack([pixels, pixels[..., :2]]), photometric="minisblack", planarconfig="contig"
        ),
        "tiles.tif": _encode_tiff(pixels, tile=(16, 16), photometric="rgb"),
        "float.tif": _encode_tiff(pixels[..., 0].astype(np.float32)),
        "plain.bmp": _encode(image, "BMP"),
        "plain.ppm": _encode(image, "PPM"),
        "plain.jp2": _encode(image, "JPEG2000"),
    }
    if features.check("webp"):
        files |= {
            "lossy.webp": _encode(image, "WEBP"),
            "lossless.webp": _encode(image, "WEBP", lossless=True),
            "animated.webp": _encode(image, "WEBP", **frames),
        }
    return files | ({"plain.avif": _encode(image, "AVIF")} if features.check("avif") else {})


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def _encode_tiff(pixels: np.ndarray, **options: Any) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, pixels, **options)
    return content.getvalue()


def damage_images(folder: Path, tries: int, seed: int) -> Iterator[Try]:
    """Damage image files and read them.

    Args:
        folder: an empty folder for the files.
        tries: number of files.
        seed: random seed.
    """
    rng = random.Random(seed)
    good = good_files()
    expected = {}
    for name, content in good.items():
        path = folder / name
        path.write_bytes(content)
        expected[name] = _pixels(path, name)
    labels, checks = [], []
    for index in range(tries):
        name = rng.choice(list(good))
        damages = [each for each in DAMAGES if each != "cut, with end mark" or name.endswith(".jpg")]
        damage = rng.choice(damages)
        suffix = rng.choice((None, None, None, *_SUFFIXES)) or Path(name).suffix
        path = folder / f"{index} {Path(name).stem}{suffix}"
        path.write_bytes(DAMAGES[damage](rng, good[name]))
        labels.append((damage, f"{name}, {damage}, try {index}"))
        checks.append(partial(_check, path, name, expected[name], damage in _CUTS))
    for index, verdict, detail in check_in_forks(checks):
        yield Try(PART, labels[index][0], verdict, f"{labels[index][1]}: {detail}")


def _pixels(path: Path, name: str) -> np.ndarray:
    return read_image(path, 5 if name.startswith("5 bands") else 3, PixelScale(pixel_range=(0, 255)))


def _check(path: Path, name: str, expected: np.ndarray, is_cut: bool) -> tuple[Verdict, str]:
    """Read a file as an image, and as a mask: only the image's pixels are compared."""
    try:
        verdict, detail = _read(path, name, expected, is_cut)
        if not verdict.is_fault:
            try:
                read_mask(path, _LABELS)
            except DataError as error:
                mask_verdict, text = judge_error(error, str(path))
                if mask_verdict.is_fault:
                    return mask_verdict, text
        return verdict, detail
    finally:
        path.unlink()


def _read(path: Path, name: str, expected: np.ndarray, is_cut: bool) -> tuple[Verdict, str]:
    try:
        pixels = _pixels(path, name)
    except DataError as error:
        return judge_error(error, str(path))
    if np.array_equal(pixels, expected):
        return Verdict.READ, ""
    if is_cut:
        different = np.mean(pixels != expected) if pixels.shape == expected.shape else 1.0
        return Verdict.PARTLY, f"read, but {different:.0%} of the values are wrong"
    return Verdict.CHANGED, ""
