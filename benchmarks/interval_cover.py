"""Measure how often the intervals of an evaluation contain the true value, in simulated data sets.

Each data set has images with three classes of objects that differ in size, and each image has a class with a
probability of 70 %. The true IoUs are those of 300,000 such images.
"""

import time
from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from _common import describe, finish, make_parser, parse, say

CLASSES = ("a", "b", "c")


def draw_counts(rng: np.random.Generator, images: int) -> npt.NDArray[np.int64]:
    """Return the true positives, false positives and false negatives of each image and class, (images, 3, 3) int64.

    Args:
        rng: the generator.
        images: number of images.
    """
    size = rng.lognormal(8, 0.8, (images, 3)) * (rng.random((images, 3)) < 0.7)
    found = size * rng.beta(6, 1.5, (images, 3))
    return np.stack([found, rng.gamma(1, 400, (images, 3)), size - found], -1).astype(np.int64)


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 40, 60, 100])
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=600)
    arguments = parse(parser, argv)
    content = describe(arguments, ("numpy", "scipy", "pixelwise"))

    from pixelwise.metrics import intervals

    note = f"Intervals of {arguments.resamples:,} resamples; `pixelwise evaluate` draws {intervals.RESAMPLES:,}."
    repeats = 10 if arguments.quick else arguments.data_sets
    rng = np.random.default_rng(0)
    total = draw_counts(rng, 300_000).sum(0)
    truth = total[:, 0] / total.sum(1)
    cover = {}
    for images in arguments.images:
        started = time.perf_counter()
        means, classes, widths = [], [], []
        for seed in range(repeats):
            with patch.object(intervals, "RESAMPLES", arguments.resamples):
                found = intervals.bootstrap_iou(draw_counts(rng, images), CLASSES, seed=seed)
            means.append(found.mean_iou.low <= truth.mean() <= found.mean_iou.high)
            widths.append(found.mean_iou.half_width)
            ends = found.classes.values()
            classes += [each.low <= value <= each.high for each, value in zip(ends, truth, strict=True) if each]
        cover[images] = {
            "mean": float(np.mean(means)),
            "class": float(np.mean(classes)),
            "half_width": float(np.mean(widths)),
            "seconds": time.perf_counter() - started,
        }
        say(f"{images} images: {cover[images]}")
    rows = [
        (str(images), f"{found['mean']:.1%}", f"{found['class']:.1%}", f"± {found['half_width']:.3f}")
        for images, found in cover.items()
    ]
    headings = ("images", "mIoU in its interval", "IoU of a class in its interval", "mean interval of the mIoU")
    finish(arguments.out, content | {"cover": cover, "table": [headings, *rows], "note": note})


if __name__ == "__main__":
    main()
