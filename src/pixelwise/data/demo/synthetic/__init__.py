"""A drawn stand-in for Oxford-IIIT Pet: cartoon animals on busy backgrounds, for machines without a network.

Animals and the things around them pass through one painter with the same palettes, coats and shading, so
neither color nor texture tells them apart: a model has to learn shapes.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.demo.synthetic.figures import KINDS
from pixelwise.data.demo.synthetic.scene import BACKGROUND, BORDER, PET, draw_animal_scene
from pixelwise.errors import DataError

__all__ = ["BACKGROUND", "BORDER", "KINDS", "PET", "VERSION", "draw_animal_scene", "draw_dataset"]


VERSION = 1  # raise it whenever the images change: the copies that users keep carry it in their name


def _checked(root: Path, readme: str, count: int) -> Path:
    """`root`, if it is what the README line says, as cheaply as that can be seen."""
    note = root / "annotations" / "README"
    if (
        note.is_file()
        and note.read_text(encoding="utf-8") == readme
        and sum(1 for _ in (root / "images").glob("*")) == count
    ):
        return root
    raise DataError(f"{root}: exists and is not the drawn data set asked for; remove it or name another folder")


def draw_dataset(
    root: Path, train: int = 300, test: int = 150, seed: int = 0, size: tuple[int, int] = (320, 240)
) -> Path:
    """Write `train` + `test` images of about `size` = (width, height) laid out like Oxford-IIIT Pet.

    The same arguments give the same images. A `root` that such a call wrote before is returned as it is;
    any other existing `root` raises DataError. The folder gets its name only when it is complete.
    """
    readme = f"Drawn by pixelwise: train={train} test={test} seed={seed} size={size[0]}x{size[1]}\n"
    if root.exists():
        return _checked(root, readme, train + test)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        made = Path(scratch) / root.name
        notes = made / "annotations"
        (notes / "trimaps").mkdir(parents=True)
        (made / "images").mkdir()
        lines = []
        for index in range(train + test):
            rng, number = np.random.default_rng((seed, index)), index % len(KINDS)
            kind = list(KINDS)[number]
            name = f"{kind}_{index // len(KINDS) + 1}"
            wide, high = (round(side * rng.uniform(0.85, 1.2)) for side in size)
            image, trimap = draw_animal_scene(rng, (high, wide) if rng.random() < 0.4 else (wide, high), kind)
            Image.fromarray(image).save(made / "images" / f"{name}.jpg", quality=int(rng.integers(60, 96)))
            Image.fromarray(trimap).save(notes / "trimaps" / f"{name}.png")
            lines.append(f"{name} {number + 1} {number + 1} 1\n")  # each kind is a species with one breed
        for file, part in (("trainval", lines[:train]), ("test", lines[train:]), ("list", lines)):
            (notes / f"{file}.txt").write_text("".join(sorted(part)), encoding="utf-8")
        (notes / "README").write_text(readme, encoding="utf-8")
        try:
            made.rename(root)
        except OSError:  # another process was quicker
            return _checked(root, readme, train + test)
    return root
