"""Large images of thin lines and small dots on a textured background, for tests and benchmarks of tiles."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("background", "line", "dot")
"""The classes. The values of a mask are 0, 1 and 2."""

LINE_WIDTHS = (3, 4)
"""Widths of lines in pixels."""

DOT_DIAMETER = 8
"""Diameter of dots in pixels."""


def draw_thin_structures(
    folder: Path, count: int, size: tuple[int, int] = (3000, 2000), seed: int = 0, names: bool = True
) -> Path:
    """Draw a data set: images/NUMBER.jpg, masks/NUMBER.png, and the class names in classes.txt.

    Args:
        folder: a new folder.
        count: number of images.
        size: width and height of the images in pixels.
        seed: random seed.
        names: write classes.txt.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    if names:
        (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    for number in range(count):
        image, mask = draw_image(rng, size)
        image.save(folder / "images" / f"{number:03}.jpg", quality=92)
        mask.save(folder / "masks" / f"{number:03}.png")
    return folder


def draw_image(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """Return an RGB image and its mask, see `CLASSES`.

    Args:
        rng: random numbers.
        size: width and height in pixels.
    """
    mask = Image.new("L", size)
    pen, area = ImageDraw.Draw(mask), size[0] * size[1]
    for _ in range(max(3, area // 500_000)):
        _draw_line(pen, rng, size)
    for _ in range(max(4, area // 60_000)):
        x, y = (int(rng.integers(DOT_DIAMETER, side - DOT_DIAMETER)) for side in size)
        pen.ellipse((x, y, x + DOT_DIAMETER - 1, y + DOT_DIAMETER - 1), fill=2)
    classes = np.asarray(mask)
    pixels = _texture(rng, size)
    for value, (low, high) in {1: (20, 70), 2: (190, 235)}.items():
        alpha = Image.fromarray((classes == value).astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(0.7))
        weight = np.asarray(alpha, np.float32)[..., None] / 255
        pixels += weight * (rng.uniform(low, high, 3).astype(np.float32) - pixels)
    pixels += rng.normal(0, 6, pixels.shape).astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), mask


def _draw_line(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int]) -> None:
    """Draw a curved line of class 1 from a random point, until it leaves the image or is as long as a side."""
    angle, position = rng.uniform(0, 2 * np.pi), rng.uniform((0, 0), size)
    points = [tuple(position)]
    step = 12.0
    for _ in range(int(max(size) / step)):
        angle += rng.normal(0, 0.12)
        position = position + step * np.array([np.cos(angle), np.sin(angle)])
        points.append(tuple(position))
        if not (0 <= position[0] < size[0] and 0 <= position[1] < size[1]):
            break
    pen.line(points, fill=1, width=int(rng.choice(LINE_WIDTHS)), joint="curve")


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return the background, (H, W, 3) float32: smooth random values at several scales, around a random color."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for cell, strength in ((400, 25), (100, 18), (25, 14), (8, 12), (3, 10)):
        small = rng.normal(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
        total += strength * np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))
    return total[..., None] + rng.uniform(105, 150, 3).astype(np.float32)
