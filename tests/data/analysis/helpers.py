"""Small data sets with known statistics."""

from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.schema import Record


def noise(seed: int, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Return a random RGB image, (height, width, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def background(size: tuple[int, int] = (20, 30)) -> np.ndarray:
    """Return a mask of zeros, (height, width) uint8."""
    return np.zeros(size, np.uint8)


def save_pair(folder: Path, name: str, image: np.ndarray | None, mask: np.ndarray | None) -> None:
    """Write images/NAME.png and masks/NAME.png. A name may start with a split: "train/a"."""
    split, _, stem = name.rpartition("/")
    for role, pixels in (("images", image), ("masks", mask)):
        if pixels is not None:
            (folder / split / role).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / split / role / f"{stem}.png")


def write_records(folder: Path, count: int) -> list[Record]:
    """Write `count` pairs p000, p001, … with rectangles of classes 1 to 3."""
    for number in range(count):
        mask = background()
        mask[number % 7 : 9, 3 : 5 + number % 20] = 1 + number % 3
        save_pair(folder, f"p{number:03}", noise(number), mask)
    return [Record(folder / f"images/p{n:03}.png", folder / f"masks/p{n:03}.png") for n in range(count)]


def scene(seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Return an image of smooth random shapes, (height, width, 3) uint8. Unlike noise, it can be resized."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))
