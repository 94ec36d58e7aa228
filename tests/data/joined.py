"""Drawn data sets whose classes differ, for tests of joined data sets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHAPES = {"square": (220, 60, 40), "disc": (40, 80, 220)}
"""Class name → color of its objects. Each image has one object of each class, the square at the left."""


def draw_shapes(
    folder: Path, classes: Sequence[str], count: int = 6, seed: int = 0, size: int = 32, background: str = "background"
) -> Path:
    """Draw images with a square and a disc each, and masks in which only some of them are labeled.

    Args:
        folder: the folder to create: images/, masks/ and classes.txt.
        classes: the labeled classes. The mask value of the first is 1. All other pixels have the value 0.
        count: number of images.
        seed: random seed.
        size: side of the images in pixels.
        background: the name of the value 0.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        image, mask = rng.normal(110, 12, (size, size, 3)), np.zeros((size, size), np.uint8)
        for place, (name, color) in enumerate(SHAPES.items()):
            radius = size * rng.uniform(0.14, 0.2)
            x = size * (0.25 + 0.5 * place) + rng.uniform(-0.03, 0.03) * size
            y = rng.uniform(0.25, 0.75) * size
            distances = np.maximum(abs(rows - y), abs(columns - x)), np.hypot(rows - y, columns - x)
            region = distances[place] < radius
            image[region] = rng.normal(color, 12, (region.sum(), 3))
            if name in classes:
                mask[region] = classes.index(name) + 1
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / f"{index:03}.png")
        Image.fromarray(np.ascontiguousarray(mask)).save(folder / "masks" / f"{index:03}.png")
    (folder / "classes.txt").write_text("\n".join([background, *classes]) + "\n")
    return folder
