"""Tests of image files: atomic writes, and imports that stay cheap."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import OutputError
from pixelwise.runtime.atomic import atomic_write
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


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (37, 23)], ids=str)
def test_a_gray_png_of_several_bands_has_all_values(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    pixels = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    for band_pixels in (1, 60, 1 << 20):
        monkeypatch.setattr("pixelwise.visualization.save._BAND_PIXELS", band_pixels)
        save_image(Image.fromarray(pixels), tmp_path / "a.png", {"key": "text ä"})
        with Image.open(tmp_path / "a.png") as stored:
            stored.verify()
        with Image.open(tmp_path / "a.png") as stored:
            assert stored.mode == "L" and stored.info["key"] == "text ä"
            np.testing.assert_array_equal(np.asarray(stored), pixels)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), pixels)


def test_a_mask_takes_few_bytes(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:300, :400]
    disc = ((rows - 150) ** 2 + (columns - 200) ** 2 < 100**2).astype(np.uint8)
    save_image(Image.fromarray(disc), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 1500


def test_importing_visualization_does_not_import_matplotlib() -> None:
    code = "import sys, pixelwise.visualization; print('matplotlib' in sys.modules)"
    paths = ":".join(path for path in sys.path if path)
    result = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": paths}, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
