"""Compare two ways to make images of mixed aspect ratios square: resizing, and padding (a letterbox).

    python benchmarks/padding.py --data oxford-iiit-pet --out padding.json

Each seed holds out a quarter of the training images. One copy of the data set has the images as they are, and
`pixelwise` resizes them to squares. In the other copy, each image is padded to a square of its longer side, with the
mean color of ImageNet, and its mask with 255, which the loss and the metrics ignore. So both networks have the same
number of input pixels, and both evaluations count the pixels of the images at their own size. The test split is not
used.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _common import describe, existing, finish, make_parser, parse, say
from PIL import Image

import pixelwise as pw
from pixelwise.data.index import DatasetIndex
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.palette import IGNORE_INDEX

FILL = (124, 116, 104)
"""The mean color of ImageNet."""

HELD_OUT = 0.25
"""Fraction of the training images that a seed holds out for validation."""


def pad_to_square(array: np.ndarray, value: int | Sequence[int]) -> np.ndarray:
    """Return an image or a mask in the middle of a square of its longer side.

    Args:
        array: (H, W) or (H, W, 3).
        value: the value of the other pixels.
    """
    height, width = array.shape[:2]
    side = max(height, width)
    square = np.full((side, side, *array.shape[2:]), value, array.dtype)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = array
    return square


def write_copy(data: DatasetIndex, folder: Path, seed: int, padded: bool, count: int | None) -> Path:
    """Write the training images as a data set with a train and a val split.

    Args:
        data: the data set.
        folder: the directory to write.
        seed: determines the images of the val split.
        padded: if True, pad the images to squares.
        count: number of images. None for all.
    """
    order = np.random.default_rng(seed).permutation(len(data.train))[:count]
    held_out = round(len(order) * HELD_OUT)
    for position, index in enumerate(order.tolist()):
        image, mask = read_image_and_mask(data.train[index], data.read_spec)
        if padded:
            image, mask = pad_to_square(image, FILL), pad_to_square(mask, IGNORE_INDEX)
        split = folder / ("val" if position < held_out else "train")
        for kind, array in (("images", image), ("masks", mask)):
            (split / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(split / kind / f"{index:05}.png", compress_level=1)
    return folder


def train(folder: Path, out: Path, seed: int, epochs: int, size: int, settings: dict[str, object]) -> float:
    """Train on a copy, and return the mIoU of the images that it holds out, at their own size."""
    data = pw.load_dataset(folder)  # 255 is detected as the value to ignore
    run = pw.train(data, out, preset="default", image_size=size, epochs=epochs, seed=seed, eval_scale=1.0, **settings)
    return pw.evaluate(run.path, data, split="val").metrics.mean_iou


def main(argv: Sequence[str] | None = None) -> None:
    """Train with each seed in both ways, and write the figures."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=existing, required=True, help="folder of the data set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds of the splits and trainings")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of each training")
    parser.add_argument("--size", type=int, default=96, help="side of the network's input in pixels")
    arguments = parse(parser, argv)
    content = describe(arguments, ["pixelwise", "torch"])
    settings: dict[str, object] = {}
    seeds, epochs, size, count = arguments.seeds, arguments.epochs, arguments.size, None
    if arguments.quick:
        settings |= {"encoder": "test_efficientnet", "encoder_weights": "none", "num_workers": 0}
        seeds, epochs, size, count = seeds[:1], 1, 32, 8
    source = pw.load_dataset(arguments.data)
    results: dict[str, dict[str, dict[str, float]]] = {"squares": {}, "padding": {}}
    with tempfile.TemporaryDirectory() as name:
        for seed in seeds:
            for way, scores in results.items():
                place, started = Path(name) / f"{way}-{seed}", time.perf_counter()
                copy = write_copy(source, place / "data", seed, way == "padding", count)
                miou = train(copy, place / "run", seed, epochs, size, settings)
                scores[str(seed)] = {"miou": miou, "seconds": time.perf_counter() - started}
                say(f"{way}, seed {seed}: mIoU {miou:.3f} ({scores[str(seed)]['seconds']:.0f} s)")
    rows = []
    for way, scores in results.items():
        mious = [score["miou"] for score in scores.values()]
        rows.append((way, ", ".join(f"{miou:.3f}" for miou in mious), f"{statistics.mean(mious):.3f}"))
    finish(arguments.out, {**content, "results": results, "table": [("images", "mIoU of the seeds", "mean"), *rows]})


if __name__ == "__main__":
    main()
