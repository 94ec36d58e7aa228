"""Damaged files raise an error that names the file, or are left out of the training.

Each way to fail is tested on its own at the level of one record. One data set with all of them goes through the
commands.
"""

import contextlib
import ctypes
import io
import json
import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import tifffile
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from pixelwise.data.analysis.scan import scan_record
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.errors import DataError
from tests.integration.helpers import (
    FAST,
    RunCommand,
    add_pair,
    assert_one_line_error,
    draw_pair,
    snapshot,
    write_data_set,
)

pytestmark = pytest.mark.integration

READ_SPEC = ReadSpec(LabelMap("index", {0: 0, 1: 1, 2: 2}))


def encode(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def write_huge_png(path: Path) -> None:
    """Write a PNG of a few bytes whose header claims 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(60_001) * 50, 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def change_a_byte(path: Path) -> None:
    """Change one byte of the compressed pixels."""
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 0x55
    path.write_bytes(bytes(content))


def write_half_a_jpeg(path: Path) -> None:
    """Write the first half of a large JPEG, which decoders can reduce while they read it."""
    content = encode(draw_pair(3, (400, 500))[0], "JPEG")
    path.write_bytes(content[: len(content) // 2])


def write_broken_dds(path: Path) -> None:
    """Write a file of a format that pixelwise does not name. Pillow's decoder would raise NotImplementedError."""
    content = bytearray(encode(draw_pair(3)[0], "DDS"))
    content[80:84] = bytes(4)
    path.write_bytes(content)


def replace_file(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    # Before the content is read:
    "a named pipe": (lambda path: replace_file(path, os.mkfifo), "not a file"),
    "a dangling link": (lambda path: replace_file(path, lambda path: path.symlink_to("gone.png")), "no such file"),
    "a link to itself": (lambda path: replace_file(path, lambda path: path.symlink_to(path.name)), "cannot be read"),
    # Before the pixels are decoded:
    "a web page": (lambda path: path.write_text("<!doctype html><title>404 Not Found</title>"), "not an image"),
    "a huge image": (write_huge_png, "more than the maximum of 178,956,970; save it as a TIFF with tiles"),
    # While the pixels are decoded:
    "half a PNG": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "truncated"),
    "half a JPEG": (write_half_a_jpeg, "truncated"),
    "a changed byte": (change_a_byte, "truncated or corrupt"),
    "a DDS": (write_broken_dds, "not an image that can be read"),
}
"""Ways in which an image or a mask cannot be read, one for each branch of `open_image`; and a part of the message."""


@pytest.mark.usefixtures("time_limit")
@pytest.mark.parametrize("role", ["images", "masks"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_scanning_and_reading_a_damaged_file_name_it(damage: str, role: str, tmp_path: Path) -> None:
    write_data_set(tmp_path, 1)
    record = Record(tmp_path / "images" / "no 0.png", tmp_path / "masks" / "no 0.png")
    assert scan_record(record).issues == ()
    bad = tmp_path / role / "no 0.png"
    make, message = DAMAGE[damage]
    make(bad)
    (issue,) = scan_record(record).issues
    assert (issue.file, issue.severity) == (str(bad), "error")
    assert message in issue.message and "\n" not in issue.message
    with pytest.raises(DataError) as error:
        read_image_and_mask(record, READ_SPEC)
    assert str(error.value) == str(issue)


def remove_mask(data: Path) -> Path:
    (data / "masks" / "no 0.png").unlink()
    return data / "images" / "no 0.png"


def remove_image(data: Path) -> Path:
    (data / "images" / "no 1.png").unlink()
    return data / "masks" / "no 1.png"


def resize_mask(data: Path) -> Path:
    draw_pair(2, (41, 50))[1].save(data / "masks" / "no 2.png")
    return data / "images" / "no 2.png"


def write_odd_values(data: Path) -> Path:
    """Write a value into a quarter of several masks. In a few pixels it would be a stray value."""
    paths = [data / "masks" / f"no {number}.png" for number in (3, 4, 5)]
    for path in paths:
        with Image.open(path) as image:
            values = np.array(image)
        values[:20, :25] = 7
        Image.fromarray(values).save(path)
    return paths[0]


def write_fractions(data: Path) -> Path:
    """Write an image whose values have no known range."""
    Image.new("F", (50, 40), 0.5).save(data / "images" / "no 5.png", "TIFF")
    return data / "images" / "no 5.png"


FAULTS = [remove_mask, remove_image, resize_mask, write_fractions]
"""Faults of a pair whose files can be read, or of which one is missing."""

LABEL_MAP = ["--label-map", "0=rest", "1=cat", "2=dog"]


def test_all_damaged_files_are_reported_and_left_out(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    bad = [fault(data) for fault in FAULTS]
    for damage, (make, _) in DAMAGE.items():
        for role in ("images", "masks"):
            name = f"{damage} in {role}.png"
            add_pair(data, name)
            make(data / role / name)
            bad.append(data / role / name)
    before = snapshot(data)

    inspected = run_cli("inspect", data, "--out", tmp_path / "report", *LABEL_MAP)
    assert inspected.code == 1, inspected
    issues = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["problems"]
    assert sorted(issue["file"] for issue in issues if not issue["usable"]) == sorted(map(str, bad))
    assert {issue["kind"] for issue in issues if not issue["usable"]} == {
        "missing mask", "missing image", "size mismatch", "unreadable image", "unreadable mask",
        "truncated image", "truncated mask", "other number type",
    }  # fmt: skip
    assert (tmp_path / "report" / "report.html").is_file() and (tmp_path / "report" / "plan.yaml").is_file()

    stopped = run_cli("train", data, "--out", tmp_path / "stopped", *LABEL_MAP, *FAST)
    assert_one_line_error(stopped, "more)", "--skip-unreadable")
    assert any(str(path) in stopped.err for path in bad)
    assert not (tmp_path / "stopped").exists()

    trained = run_cli("train", data, "--out", tmp_path / "run", *LABEL_MAP, *FAST, "--skip-unreadable")
    assert trained.code == 1, trained
    assert (tmp_path / "run" / "model.safetensors").is_file()
    (line,) = [line for line in (trained.out + trained.err).splitlines() if "left out: " in line]
    assert f"left out: {len(bad)} files (" in line and any(path.name in line for path in bad)
    assert snapshot(data) == before


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (lambda data: (data / "images" / "no 3.png").write_bytes(b""), "images/no 3.png"),
        (lambda data: (data / "masks" / "no 3.png").write_bytes(b""), "masks/no 3.png"),
        (remove_mask, "images/no 0.png"),
        (remove_image, "masks/no 1.png"),
        (resize_mask, "images/no 2.png"),
    ],
    ids=["image", "mask", "no mask", "no image", "size"],
)
def test_the_error_of_a_training_names_the_file(
    damage: Callable[[Path], object], file: str, data: Path, run_cli: RunCommand, tmp_path: Path
) -> None:
    damage(data)
    assert_one_line_error(run_cli("train", data, "--out", tmp_path / "run", *LABEL_MAP, *FAST), data / file)
    assert not (tmp_path / "run").exists()


def test_the_error_of_an_unnamed_value_names_the_option(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    odd = write_odd_values(data)
    result = run_cli("train", data, "--out", tmp_path / "run", *FAST, *LABEL_MAP)
    assert_one_line_error(result, odd, "has 7", "--label-map", "7=CLASS")


@pytest.mark.parametrize("cache", ["--cache", "--no-cache"])
def test_damage_after_the_inspection(cache: str, data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    plan = tmp_path / "report" / "plan.yaml"
    assert run_cli("inspect", data, "--out", plan.parent).code == 0
    flags = ("--plan", plan, *FAST, cache)
    bad = [data / "images" / "no 3.png", data / "masks" / "no 5.png"]
    for path in bad:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert_one_line_error(run_cli("train", data, "--out", tmp_path / f"stopped by {path.name}", *flags), path)
        path.write_bytes(content)
    for path in bad:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = snapshot(data)
    result = run_cli("train", data, "--out", tmp_path / "run", *flags, "--skip-unreadable")
    assert result.code == 1, result
    lines = [line for line in (result.out + result.err).splitlines() if "left out: " in line]
    assert len(lines) == 2 and all(any(str(path) in line for line in lines) for path in bad)
    assert snapshot(data) == before


def test_a_file_that_is_missing_after_the_inspection(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    plan = tmp_path / "report" / "plan.yaml"
    assert run_cli("inspect", data, "--out", plan.parent).code == 0
    file = remove_mask(data)
    assert_one_line_error(run_cli("train", data, "--plan", plan, "--out", tmp_path / "run", *FAST), file)


def test_nothing_but_damage(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    for image in (data / "images").iterdir():
        image.write_bytes(b"")
    for flags in ([], ["--skip-unreadable"], ["--preset", "default", "--skip-unreadable"]):
        assert_one_line_error(run_cli("train", data, "--out", tmp_path / "run", *FAST, *flags), data / "images")
    assert [path.name for path in tmp_path.iterdir()] == ["data"], "no incomplete output remains"
    inspected = run_cli("inspect", data, "--out", tmp_path / "report")
    assert inspected.code == 1 and f"no plan: {data}: no image can be used" in inspected.out
    issues = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["problems"]
    assert {issue["file"] for issue in issues} == {str(data), *map(str, (data / "images").iterdir())}
    assert not (tmp_path / "report" / "plan.yaml").exists()


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Give up root's right to read every file, in this thread and in those that it starts. Other users have none."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable capabilities, 0 to 31, then 32 to 63
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="gives up root's privileges in Linux' way")
def test_files_without_read_permission(data: Path, run_cli: RunCommand, tmp_path: Path) -> None:
    closed = write_data_set(tmp_path / "closed")
    image, mask = data / "images" / "no 2.png", data / "masks" / "no 5.png"
    before = snapshot(data)
    for path in (image, mask, closed / "masks"):
        path.chmod(0)
    try:
        with without_privileges():
            inspected = run_cli("inspect", data, "--out", tmp_path / "report")
            stopped = run_cli("train", data, "--out", tmp_path / "stopped", *FAST)
            trained = run_cli("train", data, "--out", tmp_path / "run", *FAST, "--skip-unreadable")
            inspected_closed = run_cli("inspect", closed, "--out", tmp_path / "closed-report")
            trained_closed = run_cli("train", closed, "--out", tmp_path / "stopped", *FAST, "--skip-unreadable")
    finally:
        for path in (image, mask, closed / "masks"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert inspected.code == 1, inspected
    assert all(f"{path}: cannot be read (permission denied)" in inspected.out for path in (image, mask))
    assert_one_line_error(stopped, f"{image}: cannot be read (permission denied)")
    assert trained.code == 1 and "left out: 2 files" in trained.out
    assert inspected_closed.code == 1
    assert f"{closed / 'masks'}: this folder cannot be read (permission denied)" in inspected_closed.out
    assert (tmp_path / "closed-report" / "report.html").is_file()
    assert_one_line_error(trained_closed, f"{closed / 'masks'}: ")
    assert snapshot(data) == before and not (tmp_path / "stopped").exists()


ignore_decoder_warnings = pytest.mark.filterwarnings("ignore:::PIL")
"""Pillow warns of odd values that do not prevent decoding."""


def check_any_content(path: Path) -> None:
    """Scan and read a file as image and as mask. Errors must name it in one line."""
    stats = scan_record(Record(path, path))
    assert all(issue.file == str(path) and "\n" not in issue.message for issue in stats.issues)
    try:
        image, mask = read_image_and_mask(Record(path, path), ReadSpec(LabelMap("index", {0: 0, 1: 1})))
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:
        assert image.shape[:2] == mask.shape and mask.max() <= 1


FORMATS = ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA", "PCX", "JPEG2000", "AVIF"]
some_format = st.sampled_from([kind for kind in FORMATS if kind != "AVIF" or features.check("avif")])


@ignore_decoder_warnings
@settings(derandomize=True, deadline=None, max_examples=150, phases=[Phase.explicit, Phase.generate])
@given(
    kind=some_format,
    suffix=st.sampled_from([".jpg", ".tif"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6)), min_size=1, max_size=6),
)
def test_any_bytes_changed_in_any_format(kind: str, suffix: str, edits: list[tuple[float, int, bytes]]) -> None:
    content = encode(draw_pair(1, (8, 9))[0], kind)
    for position, removed, inserted in edits:
        start = int(position**3 * len(content))  # most errors of decoders are in headers
        content = content[:start] + inserted + content[start + removed :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        check_any_content(path)


@ignore_decoder_warnings
@settings(derandomize=True, deadline=None, max_examples=60, phases=[Phase.explicit, Phase.generate])
@given(kind=some_format, fraction=st.one_of(st.floats(0, 0.95), st.none()), junk=st.binary(max_size=300))
def test_any_truncation_and_any_bytes(kind: str, fraction: float | None, junk: bytes) -> None:
    content = encode(draw_pair(1)[0], kind)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(junk if fraction is None else content[: int(len(content) * fraction)])
        check_any_content(path)
        if kind == "PNG" or fraction is None:
            assert scan_record(Record(path, path)).issues, "this file cannot be complete"


@pytest.mark.usefixtures("time_limit")
@pytest.mark.parametrize("target", [0, 1, 2], ids="to page {}".format)
def test_pages_of_a_tiff_that_link_in_a_circle(target: int, tmp_path: Path) -> None:
    path = tmp_path / "bands.tif"
    with tifffile.TiffWriter(path) as writer:
        for page in range(3):
            writer.write(np.zeros((8 + page, 9), np.uint8), contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from("<H", content, offsets[2])
    struct.pack_into("<I", content, offsets[2] + 2 + 12 * tags, offsets[target])
    path.write_bytes(content)
    stats = scan_record(Record(path, None))
    assert stats.image is not None or stats.issues[0].file == str(path)
