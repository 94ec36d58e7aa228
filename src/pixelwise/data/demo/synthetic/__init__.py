"""A synthetic replacement for Oxford-IIIT Pet: cartoon animals on cluttered backgrounds, for use without a network.

Animals and background objects have the same palettes, textures and shading, so that neither color nor texture separates
them. A model has to learn shapes.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.demo.synthetic.figures import KINDS
from pixelwise.data.demo.synthetic.scene import BACKGROUND, BORDER, PET, draw_animal_scene
from pixelwise.errors import DataError
from pixelwise.runtime.progress import Progress, no_progress

__all__ = ["BACKGROUND", "BORDER", "KINDS", "PET", "VERSION", "draw_animal_scene", "draw_dataset"]

VERSION = 1
"""Part of the name of the cached data set. Increase it when the images change."""


def draw_dataset(
    root: Path,
    train: int = 300,
    test: int = 150,
    seed: int = 0,
    size: tuple[int, int] = (320, 240),
    progress: Progress = no_progress,
) -> Path:
    """Write a synthetic data set in the layout of Oxford-IIIT Pet. The same arguments give the same images.

    Args:
        root: the folder to write. The files are written to a temporary folder, which is renamed to `root` when it is
            complete. If `root` is the result of a call with the same arguments, nothing is drawn.
        train: number of images of the training list.
        test: number of images of the test list.
        seed: random seed.
        size: mean (width, height) of the images in pixels.
        progress: reports the number of images that are drawn, see `Progress`.

    Returns:
        `root`.

    Raises:
        DataError: `root` exists and is not the result of a call with the same arguments.
    """
    readme = f"Drawn by pixelwise: train={train} test={test} seed={seed} size={size[0]}x{size[1]}\n"
    if root.exists():
        return _verify(root, readme, train + test)
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        folder = Path(scratch) / root.name
        annotations = folder / "annotations"
        (annotations / "trimaps").mkdir(parents=True)
        (folder / "images").mkdir()
        lines = [_draw_pair(folder, index, seed, size) for index in progress(range(train + test), train + test)]
        for name, part in (("trainval", lines[:train]), ("test", lines[train:]), ("list", lines)):
            (annotations / f"{name}.txt").write_text("".join(sorted(part)), encoding="utf-8")
        (annotations / "README").write_text(readme, encoding="utf-8")
        try:
            folder.rename(root)
        except OSError:  # another process has written it meanwhile
            return _verify(root, readme, train + test)
    return root


def _draw_pair(folder: Path, index: int, seed: int, size: tuple[int, int]) -> str:
    """Write one image and its trimap. Return its line in the list files."""
    rng, species = np.random.default_rng((seed, index)), index % len(KINDS)
    kind = list(KINDS)[species]
    name = f"{kind}_{index // len(KINDS) + 1}"
    width, height = (round(side * rng.uniform(0.85, 1.2)) for side in size)
    image, trimap = draw_animal_scene(rng, (height, width) if rng.random() < 0.4 else (width, height), kind)
    Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=int(rng.integers(60, 96)))
    Image.fromarray(trimap).save(folder / "annotations" / "trimaps" / f"{name}.png")
    return f"{name} {species + 1} {species + 1} 1\n"  # each kind is a species with one breed


def _verify(root: Path, readme: str, count: int) -> Path:
    """Return `root` if its README file and its number of images are as expected, else raise DataError."""
    file = root / "annotations" / "README"
    if (
        file.is_file()
        and file.read_text(encoding="utf-8") == readme
        and sum(1 for _ in (root / "images").glob("*")) == count
    ):
        return root
    raise DataError(f"{root}: exists and is not the requested synthetic data set; remove it or use another folder")
