"""Tests of animated GIFs: frames, durations and file size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from pixelwise.visualization import make_gif
from tests.visualization.helpers import BLUE, GREEN, RED, WHITE


def make_images(folder: Path, *colors: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> list[Path]:
    paths = [folder / f"{i}.png" for i in range(len(colors))]
    for path, color in zip(paths, colors, strict=True):
        Image.new("RGB", size, color).save(path)
    return paths


def test_gif_repeats_images_in_order_forever(tmp_path: Path) -> None:
    make_gif(make_images(tmp_path, BLUE, RED, GREEN), tmp_path / "out.gif", milliseconds=250)
    with Image.open(tmp_path / "out.gif") as gif:
        assert gif.info["loop"] == 0
        frames = [(frame.convert("RGB").getpixel((30, 20)), frame.size) for frame in ImageSequence.Iterator(gif)]
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert frames == [(BLUE, (60, 40)), (RED, (60, 40)), (GREEN, (60, 40))]
    assert durations == [250, 250, 1000]


def test_each_gif_frame_is_complete(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    still = rng.integers(0, 8, (50, 50, 3)) * 30
    expected = []
    for i in range(4):
        pixels = still.copy()
        pixels[10 * i : 10 * i + 8, 5:30] = (250, 20 * i, 0)
        expected.append(pixels // 30 // 4 * 120)  # few colors, which a palette represents exactly
        Image.fromarray(expected[-1].astype(np.uint8)).save(tmp_path / f"{i}.png")
    make_gif([tmp_path / f"{i}.png" for i in range(4)], tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as gif:
        frames = [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]
    assert len(frames) == 4
    for frame, pixels in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame, pixels)


def test_gif_stores_only_changed_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 7, (200, 200, 3)) * 40).astype(np.uint8)  # 343 colors, nothing to compress
    for i in range(8):
        for strip in (
            noise[:10],
            noise[-10:],
        ):  # far apart: to store one box around all changes is not enough
            strip[:] = np.roll(strip, 7, axis=1)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    make_gif([tmp_path / "0.png"], tmp_path / "one.gif")
    make_gif([tmp_path / f"{i}.png" for i in range(8)], tmp_path / "eight.gif")
    one, eight = (tmp_path / "one.gif").stat().st_size, (tmp_path / "eight.gif").stat().st_size
    assert eight < 2 * one


def test_gif_scales_wide_images_and_pads_small_ones(tmp_path: Path) -> None:
    Image.new("RGB", (1800, 600), RED).save(tmp_path / "wide.png")
    Image.new("RGB", (900, 800), GREEN).save(tmp_path / "high.png")
    make_gif([tmp_path / "wide.png", tmp_path / "high.png"], tmp_path / "out.gif")
    with Image.open(tmp_path / "out.gif") as gif:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(gif)]
    assert [frame.size for frame in frames] == [(900, 400), (900, 400)]
    assert frames[0].getpixel((899, 299)) == RED and frames[0].getpixel((899, 301)) == WHITE
    assert frames[1].getpixel((449, 399)) == GREEN and frames[1].getpixel((451, 0)) == WHITE


def test_make_gif_rejects_no_images_and_short_frames(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        make_gif([], tmp_path / "out.gif")
    with pytest.raises(ValueError, match="20 milliseconds"):
        make_gif(make_images(tmp_path, RED), tmp_path / "out.gif", milliseconds=5)
