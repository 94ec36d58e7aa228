"""Tests of image files: atomic writes, and imports that stay cheap."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pixelwise.errors import OutputError
from pixelwise.runtime.files import atomic_write
from pixelwise.visualization import make_gif, save_image
from tests.visualization.helpers import GREEN, RED, count_pixels


def test_failed_write_keeps_previous_file(tmp_path: Path) -> None:
    save_image(Image.new("RGB", (4, 4), RED), tmp_path / "a.png")
    old = (tmp_path / "a.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(old[:30])
    with pytest.raises((OSError, OutputError)):
        make_gif([tmp_path / "broken.png"], tmp_path / "a.png")
    with pytest.raises(OutputError, match=r"a\.png: cannot be written \(cannot write mode CMYK as PNG\)"):
        save_image(Image.new("CMYK", (4, 4)), tmp_path / "a.png")
    with pytest.raises(ValueError):
        save_image(Image.new("RGB", (4, 4)), tmp_path / "b.nonsense")
    assert (tmp_path / "a.png").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "broken.png"]


def test_interrupted_write_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a.png") as path:
        assert (path.parent.parent, path.name) == (tmp_path, "a.png")
        path.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_save_image_creates_directories_and_replaces_file(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder" / "a.png"
    for color in (RED, GREEN):
        save_image(Image.new("RGB", (4, 4), color), out)
    assert count_pixels(out, GREEN) == 16
    assert [path.name for path in out.parent.iterdir()] == ["a.png"]


def test_texts_are_stored_in_png_and_jpeg_files(tmp_path: Path) -> None:
    texts = {"author": "somebody ä"}
    for name, key in (("a.png", "author"), ("a.jpg", "comment")):
        save_image(Image.new("RGB", (4, 4), RED), tmp_path / name, texts)
        with Image.open(tmp_path / name) as stored:
            text = stored.info[key]
            assert (text.decode() if isinstance(text, bytes) else text) == "somebody ä"
    assert count_pixels(tmp_path / "a.png", RED) == 16
    save_image(Image.new("RGB", (4, 4), RED), tmp_path / "b.jpg", {"long": "x" * 70_000})
    with Image.open(tmp_path / "b.jpg") as stored:
        assert "comment" not in stored.info


def test_an_image_too_wide_for_jpeg_is_scaled_down(tmp_path: Path) -> None:
    save_image(Image.new("RGB", (80_000, 4), RED), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.size == (65_500, 3)


def test_importing_visualization_does_not_import_matplotlib() -> None:
    code = "import sys, pixelwise.visualization; print('matplotlib' in sys.modules)"
    paths = ":".join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
