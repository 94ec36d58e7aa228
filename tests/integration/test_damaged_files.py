"""Files as people have them: damage gives one clear line that names the file, or is left out; oddities train."""

import html
import io
import json
import os
import signal
import struct
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from pixelwise.cli.app import main
from pixelwise.data.analysis.scan import scan_record
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.task import MULTICLASS
from pixelwise.errors import DataError
from pixelwise.metrics.confusion import Metrics
from pixelwise.reporting.console import print_metrics

HANGS = 60
"""Seconds after which a test hangs: it is then ended."""

QUICK = [
    *("--encoder", "test_efficientnet", "--encoder-weights", "none", "--freeze-encoder", "--size", "64"),
    *("--epochs", "1", "--batch-size", "2", "--samples", "1", "--device", "cpu"),
]


class Ran(NamedTuple):
    """What a command left on its two streams, and its exit code."""

    code: object
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command line without what takes its time and has tests of its own: images of the run, and the clock."""
    monkeypatch.setattr(sys.modules["pixelwise.planning.rules"], "estimate_training_time", lambda *args, **kwargs: 1.0)
    monkeypatch.setattr("pixelwise.training.callbacks.DEFAULT_CALLBACKS", ())
    monkeypatch.setattr("pixelwise.cli.app.print_run", lambda run: None)

    def run(*tokens: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(token) for token in tokens])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ran(caught.value.code, captured.out, captured.err)

    def hangs(*args: object) -> None:
        pytest.fail(f"no end after {HANGS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS)
    yield run
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def draw_pair(number: int, size: tuple[int, int] = (40, 50)) -> tuple[Image.Image, Image.Image]:
    """An image with a bright block on dark noise, and its mask: 0 and 1, or 0 and 2."""
    rng = np.random.default_rng(number)
    mask = np.zeros(size, np.uint8)
    top, left = (rng.integers(0, max(1, side // 2)) for side in size)
    mask[top : top + max(1, size[0] // 2), left : left + max(1, size[1] // 2)] = 1 + number % 2
    image = rng.integers(0, 60, (*size, 3)) + mask[..., None] * 90
    return Image.fromarray(image.astype(np.uint8)), Image.fromarray(mask)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """8 images with masks of 3 classes, in two folders."""
    return draw_folder(tmp_path / "data")


def draw_folder(folder: Path, count: int = 8) -> Path:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        image, mask = draw_pair(number)
        image.save(folder / "images" / f"no {number}.png")
        mask.save(folder / "masks" / f"no {number}.png")
    return folder


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every name in a folder, with its time, kind and content; links and pipes are not opened."""
    found: dict[str, tuple[object, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files, "."):
            path = Path(place) / name
            kept = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
            found[str(path)] = kept.st_mtime_ns, kept.st_mode, kept.st_size, content
    return found


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it is 60,000 by 60,000."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(60_001) * 50, 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def flipped_byte(path: Path) -> None:
    """One byte of the compressed pixels is another."""
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 20] ^= 0x55
    path.write_bytes(bytes(content))


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def as_format(path: Path, kind: str, kept: float) -> None:
    """Another format than the suffix says, and only a part of it."""
    with Image.open(path) as image:
        image.load()
    image.save(path, kind)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "head alone": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "zero bytes": lambda path: path.write_bytes(b""),
    "random bytes": lambda path: path.write_bytes(np.random.default_rng(3).bytes(3000)),
    "zeros": lambda path: path.write_bytes(bytes(3000)),
    "a web page": lambda path: path.write_text("<!doctype html><title>404 Not Found</title>"),
    "a flipped byte": flipped_byte,
    "half a JPEG": lambda path: as_format(path, "JPEG", 0.5),
    "half a GIF": lambda path: as_format(path, "GIF", 0.4),
    "half a TIFF": lambda path: as_format(path, "TIFF", 0.5),
    "half a WebP": lambda path: as_format(path, "WEBP", 0.5),
    "half a BMP": lambda path: as_format(path, "BMP", 0.5),
    "a bomb": bomb,
    "a dangling link": lambda path: replaced(path, lambda path: path.symlink_to("gone.png")),
    "a link to itself": lambda path: replaced(path, lambda path: path.symlink_to(path.name)),
    "a named pipe": lambda path: replaced(path, os.mkfifo),
}
"""Ways in which an image or a mask cannot be read."""


def assert_named(data: Path, bad: Path, run_cli: Run, out: Path) -> None:
    """inspect lists the file, train stops and names it, --skip-bad leaves it out and says so; nothing is written."""
    before = snapshot(data)
    looked = run_cli("inspect", data, "--out", out / "look")
    assert looked.code == 1, looked
    assert str(bad) in looked.out
    problems = json.loads((out / "look" / "report.json").read_text(encoding="utf-8"))["problems"]
    assert str(bad) in [problem["file"] for problem in problems if not problem["usable"]]
    assert (out / "look" / "report.html").is_file() and (out / "look" / "plan.yaml").is_file()

    stopped = run_cli("train", data, "--out", out / "stopped", *QUICK)
    assert_one_line(stopped, bad)
    assert not (out / "stopped").exists()

    trained = run_cli("train", data, "--out", out / "run", *QUICK, "--skip-bad")
    assert trained.code == 0, trained
    assert (out / "run" / "model.safetensors").is_file()
    told = [line for line in (trained.out + trained.err).splitlines() if line.startswith("left out: ")]
    assert len(told) == 1 and bad.name in told[0]
    assert snapshot(data) == before


def assert_one_line(ran: Ran, named: Path | str) -> None:
    assert ran.code == 2, ran
    lines = ran.err.splitlines()
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("pixelwise: error: ") and str(named) in lines[0]


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file(
    damage: str, kind: str, data: Path, run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.reporting.dataset_report.class_sheet", lambda *args: None)  # half of the time
    bad = data / kind / "no 3.png"
    DAMAGE[damage](bad)
    assert_named(data, bad, run_cli, tmp_path / "out")


def test_a_folder_called_like_a_image(data: Path, run_cli: Run, tmp_path: Path) -> None:
    bad = data / "images" / "no 3.png"
    bad.unlink()
    bad.mkdir()
    before = snapshot(data)
    mask = data / "masks" / "no 3.png"
    assert_one_line(run_cli("train", data, "--out", tmp_path / "run", *QUICK), mask)
    assert run_cli("inspect", data, "--out", tmp_path / "look").code == 1
    assert snapshot(data) == before


def test_links_that_go_in_circles(data: Path, run_cli: Run, tmp_path: Path) -> None:
    (data / "images" / "up").symlink_to(data)
    (data / "round").symlink_to(data / "round")
    (data / "masks" / "again").symlink_to(data / "masks")
    before = snapshot(data)
    looked = run_cli("inspect", data, "--out", tmp_path / "look")
    assert (looked.code, looked.err) == (0, "")
    assert "8 images and 8 masks" in looked.out and "no problem" in looked.out
    assert run_cli("train", data, "--out", tmp_path / "run", *QUICK).code == 0
    assert snapshot(data) == before


def _no_mask(data: Path) -> Path:
    (data / "masks" / "no 3.png").unlink()
    return data / "images" / "no 3.png"


def _no_image(data: Path) -> Path:
    (data / "images" / "no 3.png").unlink()
    return data / "masks" / "no 3.png"


def _other_size(data: Path) -> Path:
    draw_pair(3, (41, 50))[1].save(data / "masks" / "no 3.png")
    return data / "images" / "no 3.png"


def _turned(data: Path) -> Path:
    """The image says by its EXIF that it is to be seen on its side; its mask was drawn on it as it is stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_pair(3)[0].save(data / "images" / "no 3.png", exif=exif)
    return data / "images" / "no 3.png"


def _no_levels(data: Path) -> Path:
    Image.new("F", (50, 40), 0.5).save(data / "masks" / "no 3.png", "TIFF")
    return data / "masks" / "no 3.png"


def _no_range(data: Path) -> Path:
    Image.new("F", (50, 40), 0.5).save(data / "images" / "no 3.png", "TIFF")
    return data / "images" / "no 3.png"


PAIRS: dict[str, Callable[[Path], Path]] = {
    "an image without a mask": _no_mask,
    "a mask without an image": _no_image,
    "a mask of another size": _other_size,
    "an image that is turned": _turned,
    "a mask of fractions": _no_levels,
    "an image of fractions": _no_range,
}


@pytest.mark.parametrize("bad", PAIRS)
def test_a_pair_that_is_none(bad: str, data: Path, run_cli: Run, tmp_path: Path) -> None:
    assert_named(data, PAIRS[bad](data), run_cli, tmp_path / "out")


def plain(data: Path, name: str, size: tuple[int, int] = (40, 50)) -> None:
    """One more pair under a name, and with a suffix, of its own."""
    stem, _, suffix = name.rpartition(".")
    image, mask = draw_pair(9, size)
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF"}.get(suffix.lower(), suffix.upper())
    image.save(data / "images" / name, kind)
    mask.save(data / "masks" / f"{stem}.PNG", "PNG")


NAMES = [
    "UPPER.JPG",
    "Mixed.JpEg",
    "two  spaces and one at the end .png",
    "a narrow space\u202fas on a Mac.png",
    "100 % [bold] {x} $HOME & 'quotes' \"two\" <b>.png",
    "-starts-with-a-dash.png",
    "猫と犬.png",
    "صورة كلب.png",
    "😀 👩‍👩‍👧.png",
    unicodedata.normalize("NFD", "Äpfel é ñ.png"),
    "кошка и собака.WEBP",
    "two\nlines.png",
    "tab\tand bell\a.png",
    "\x1b]0;a title\a\x1b[2J.png",
    "n" * 240 + ".png",
    os.fsdecode(b"caf\xe9 as old archives have it.png"),
]


def as_told(path: Path) -> str:
    """A path as a message has it: on one line, and of what is no text, or would command the terminal, its code."""
    return "".join(rf"\x{ord(each):02x}" if each in "\t\a\x1b" else each for each in as_text(path)).replace("\n", " ")


def as_text(path: Path) -> str:
    return str(path).encode("utf-8", "backslashreplace").decode()


def test_names_in_any_script(data: Path, run_cli: Run, tmp_path: Path) -> None:
    for name in NAMES:
        plain(data, name)
    before = snapshot(data)
    looked = run_cli("inspect", data, "--out", tmp_path / "look")
    count = 8 + len(NAMES)
    assert looked.code == 0 and f"{count} images and {count} masks" in looked.out
    assert run_cli("train", data, "--out", tmp_path / "run", *QUICK).code == 0
    assert snapshot(data) == before


def test_damaged_files_of_any_name_are_named(data: Path, run_cli: Run, tmp_path: Path) -> None:
    for name in NAMES:
        plain(data, name)
    bad = [data / "images" / name for name in NAMES]
    for path in bad:
        whole = path.read_bytes()
        path.write_bytes(b"damaged")
        assert_one_line(run_cli("train", data, "--out", tmp_path / "stopped", *QUICK), as_told(path))
        path.write_bytes(whole)
    for path in bad:
        path.write_bytes(b"damaged")
    looked = run_cli("inspect", data, "--out", tmp_path / "look")
    assert looked.code == 1 and not set("\t\a\x1b") & set(looked.out + looked.err)
    problems = json.loads((tmp_path / "look" / "report.json").read_text(encoding="utf-8"))["problems"]
    assert {problem["file"] for problem in problems} == {str(path) for path in bad}
    page = html.unescape((tmp_path / "look" / "report.html").read_text(encoding="utf-8"))
    assert all(as_text(path) in page for path in bad)


def test_a_terminal_without_letters(data: Path, tmp_path: Path) -> None:
    plain(data, "猫.png")
    (data / "images" / "猫.png").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "pixelwise", "train", data, "--out", tmp_path / "run"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert_one_line(Ran(done.returncode, done.stdout, done.stderr), r"\u732b.png: not an image")


@pytest.mark.parametrize("folder", ["ordner mit ä", "资料 夹", "data.v2 [old]", "two\nlines"])
def test_folders_in_any_script(folder: str, run_cli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = draw_folder(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    looked = run_cli("inspect", data)
    assert looked.code == 0
    (report,) = tmp_path.glob("*/report.html")
    assert run_cli("train", data, "--plan", report.parent / "plan.yaml", "--out", "run", *QUICK).code == 0


@pytest.mark.parametrize("size", [(10, 20_000), (20_000, 10), (1, 1), (1, 50), (2, 2)], ids=str)
def test_odd_sizes_train(size: tuple[int, int], data: Path, run_cli: Run, tmp_path: Path) -> None:
    plain(data, "odd.png", size)
    before = snapshot(data)
    looked = run_cli("inspect", data, "--out", tmp_path / "look")
    assert looked.code == 0, looked
    plan = tmp_path / "look" / "plan.yaml"
    assert run_cli("train", data, "--plan", plan, "--out", tmp_path / "run", *QUICK).code == 0
    assert snapshot(data) == before


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_damage_after_the_look(kind: str, data: Path, run_cli: Run, tmp_path: Path) -> None:
    plan = tmp_path / "look" / "plan.yaml"
    assert run_cli("inspect", data, "--out", plan.parent).code == 0
    bad = data / kind / "no 3.png"
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    before = snapshot(data)
    for flag in ("--cache", "--no-cache"):
        flags = ("--plan", plan, *QUICK, flag)
        assert_one_line(run_cli("train", data, "--out", tmp_path / f"stopped {flag}", *flags), bad)
        ran = run_cli("train", data, "--out", tmp_path / f"run {flag}", *flags, "--skip-bad")
        assert ran.code == 0, ran
        told = [line for line in (ran.out + ran.err).splitlines() if line.startswith("left out")]
        assert len(told) == 1 and str(bad) in told[0]
    assert snapshot(data) == before


def test_a_file_that_is_gone_after_the_look(data: Path, run_cli: Run, tmp_path: Path) -> None:
    plan = tmp_path / "look" / "plan.yaml"
    assert run_cli("inspect", data, "--out", plan.parent).code == 0
    (data / "masks" / "no 3.png").unlink()
    ran = run_cli("train", data, "--plan", plan, "--out", tmp_path / "run", *QUICK)
    assert_one_line(ran, data / "images" / "no 3.png")


def test_a_value_that_the_map_does_not_name(data: Path, run_cli: Run, tmp_path: Path) -> None:
    odd = data / "masks" / "no 3.png"
    levels = np.array(Image.open(odd))
    levels[0, 0] = 7
    Image.fromarray(levels).save(odd)
    ran = run_cli("train", data, "--out", tmp_path / "run", *QUICK, "--mask-map", "0=rest", "1=cat", "2=dog")
    assert_one_line(ran, odd)
    assert "7" in ran.err and "--mask-map" in ran.err
    assert not (tmp_path / "run").exists()


def test_nothing_but_damage(data: Path, run_cli: Run, tmp_path: Path) -> None:
    for image in (data / "images").iterdir():
        image.write_bytes(b"")
    for flags in ([], ["--skip-bad"], ["--preset", "default", "--skip-bad"]):
        assert_one_line(run_cli("train", data, "--out", tmp_path / "run", *QUICK, *flags), data / "images")
    assert_one_line(run_cli("inspect", data, "--out", tmp_path / "look"), data / "images")
    assert not list(tmp_path.glob("[!d]*")), "nothing half-made stays"


UNPRIVILEGED = """
import contextlib, ctypes, io, json, os, sys
from pathlib import Path
if sys.argv[1:2] != ["again"]:
    # Root may read everything, unless it gives up these two capabilities before it starts anew.
    for capability in (1, 2) if os.getuid() == 0 else ():
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
            sys.exit(77)
    os.execv(sys.executable, [sys.executable, "-c", os.environ["PROGRAM"], "again", *sys.argv[1:]])
from pixelwise.cli import main
told = []
for command in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(command)
        except SystemExit as end:
            told.append((end.code, out.getvalue(), err.getvalue()))
print(json.dumps(told))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="gives up root's privileges as Linux does")
def test_files_that_may_not_be_read(data: Path, tmp_path: Path) -> None:
    closed = draw_folder(tmp_path / "closed")
    image, mask = data / "images" / "no 2.png", data / "masks" / "no 5.png"
    before = snapshot(data)
    commands = [
        ["inspect", data, "--out", tmp_path / "look"],
        ["train", data, "--out", tmp_path / "stopped", *QUICK],
        ["train", data, "--out", tmp_path / "run", *QUICK, "--skip-bad"],
        ["inspect", closed, "--out", tmp_path / "stopped"],
        ["train", closed, "--out", tmp_path / "stopped", *QUICK, "--skip-bad"],
    ]
    for path in (image, mask, closed / "masks"):
        path.chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, json.dumps(commands, default=str)],
        env=os.environ | {"PROGRAM": UNPRIVILEGED}, capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    for path in (image, mask, closed / "masks"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if done.returncode == 77:
        pytest.skip("this root may not give up its privileges")
    assert done.returncode == 0, done.stderr
    looked, stopped, trained, *of_folder = (Ran(*each) for each in json.loads(done.stdout.splitlines()[-1]))
    assert looked.code == 1, looked
    assert f"{image}: cannot be read (permission denied)" in looked.out and f"{mask}: may not be read" in looked.out
    assert_one_line(stopped, f"{image}: cannot be read (permission denied)")
    assert trained.code == 0 and "left out: 2 files" in trained.out
    for each in of_folder:
        assert_one_line(each, f"{closed / 'masks'}: ")
    assert snapshot(data) == before and not (tmp_path / "stopped").exists()


@settings(
    derandomize=True, deadline=None, max_examples=8, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    kind=st.sampled_from(["images", "masks"]),
    kept=st.one_of(st.floats(0, 0.95), st.none()),
    junk=st.binary(max_size=300),
)
def test_any_truncation_and_any_bytes(
    kind: str, kept: float | None, junk: bytes, run_cli: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    data = draw_folder(folder / "data")
    bad = data / kind / "no 3.png"
    whole = bad.read_bytes()
    bad.write_bytes(junk if kept is None else whole[: int(len(whole) * kept)])
    before = snapshot(data)
    assert_one_line(run_cli("train", data, "--out", folder / "stopped", *QUICK), bad)
    ran = run_cli("train", data, "--out", folder / "run", *QUICK, "--skip-bad")
    assert ran.code == 0 and bad.name in ran.out
    assert snapshot(data) == before


def encoded(kind: str, image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


FORMATS = ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA", "PCX", "JPEG2000", "AVIF", "DDS"]


@settings(derandomize=True, deadline=None, max_examples=150, phases=[Phase.explicit, Phase.generate])
@given(
    kind=st.sampled_from([kind for kind in FORMATS if kind != "AVIF" or features.check("avif")]),
    suffix=st.sampled_from([".jpg", ".tif"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6)), min_size=1, max_size=6),
)
def test_any_bytes_changed_in_any_kind_of_image(kind: str, suffix: str, edits: list[tuple[float, int, bytes]]) -> None:
    """Whatever a decoder makes of it: an image, or an error in one line that names the file."""
    image, _ = draw_pair(1, (8, 9))
    content = encoded(kind, image)
    for place, gone, put in edits:
        at = int(place**3 * len(content))  # heads are where decoders go astray
        content = content[:at] + put + content[at + gone :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        path.write_bytes(content)
        look = scan_record(Record(path, path))
        assert all(problem.file == str(path) and "\n" not in problem.message for problem in look.issues)
        try:
            image, mask = read_image_and_mask(Record(path, path), ReadSpec(LabelMap("index", {0: 0, 1: 1})))
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert image.shape[:2] == mask.shape and mask.max() <= 1


@pytest.mark.parametrize("back", [0, 1, 2], ids="to page {}".format)
def test_pages_of_a_tiff_that_follow_each_other_in_circles(back: int, tmp_path: Path) -> None:
    path = tmp_path / "bands.tif"
    with tifffile.TiffWriter(path) as writer:
        for level in range(3):
            writer.write(np.zeros((8 + level, 9), np.uint8), contiguous=False, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offsets = [page.offset for page in tiff.pages]
    content = bytearray(path.read_bytes())
    (tags,) = struct.unpack_from("<H", content, offsets[2])
    struct.pack_into("<I", content, offsets[2] + 2 + 12 * tags, offsets[back])
    path.write_bytes(content)

    def hangs(*args: object) -> None:
        pytest.fail("round and round")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANGS)
    try:
        look = scan_record(Record(path, None))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert look.image is not None or look.issues[0].file == str(path)


def test_a_decoder_of_its_own_mind(data: Path, run_cli: Run, tmp_path: Path) -> None:
    """Pillow's decoder of DDS says NotImplementedError, that of AVIF RuntimeError."""
    for kind in ("images", "masks"):
        bad = data / kind / "no 3.png"
        content = bytearray(encoded("DDS", draw_pair(3)[0]))
        content[80:84] = bytes(4)
        bad.write_bytes(content)
    assert_one_line(run_cli("train", data, "--out", tmp_path / "run", *QUICK), data / "images" / "no 3.png")


def test_class_names_that_a_table_would_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[bold]cat", "dog [/]", "[/red]"]
    print_metrics(Metrics.from_confusion(torch.eye(3, dtype=torch.int64), names, MULTICLASS, 3, "64"), "test")
    out = capsys.readouterr().out
    assert all(name in out for name in names)
