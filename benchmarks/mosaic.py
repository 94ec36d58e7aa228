"""Predict a mosaic of images with a model that was trained on single images, and compare it with the single images.

    python benchmarks/mosaic.py --data oxford-iiit-pet --run runs/pets --out mosaic.json

Without --run, a model is trained first, with the settings of the plan. The mosaic has 12x8 cells of 500x500 pixels:
test images, evenly spaced in the test split, resized to cells. The single images are the same cells. The mosaic
is predicted as a whole, in windows of the size of the training images, and in windows at the scale at which a cell has
the size of the model's input, as it has when it is predicted alone. The mean IoU is also measured without the pixels
near the edges of the cells, because only a single image shows the network where it ends.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from _common import Finding, describe, existing, findings_table, finish, make_parser, parse, say

import pixelwise as pw
from pixelwise.data.index import DatasetIndex
from pixelwise.data.input_size import mean_side
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.resize import resize_image, resize_mask
from pixelwise.evaluation.tally import count_pixels
from pixelwise.inference.predictor import Predictor
from pixelwise.metrics import Metrics
from pixelwise.palette import IGNORE_INDEX

CELL = 500
"""Side of a cell in pixels."""

MARGIN = 30
"""Distance in pixels from the edges of a cell, below which pixels are left out of the second mean IoU."""


def make_cells(data: DatasetIndex, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return test images with their masks, resized to cells.

    Args:
        data: the data set. Without a test split, its val split is used.
        count: number of images.
    """
    records = data.test or data.val
    cells = []
    for index in range(count):
        image, mask = read_image_and_mask(records[index * len(records) // count], data.read_spec)
        resized = resize_image(image, (CELL, CELL)).permute(1, 2, 0).contiguous().numpy()
        cells.append((resized, resize_mask(mask, (CELL, CELL)).numpy()))
    return cells


def join(cells: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Join images of one size to a mosaic.

    Args:
        cells: (H, W) or (H, W, 3) arrays, in the order of the rows.
        columns: number of cells in a row. It divides the number of cells.
    """
    rows = [np.concatenate(cells[start : start + columns], 1) for start in range(0, len(cells), columns)]
    return np.concatenate(rows)


def mean_ious(predictor: Predictor, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Return the mean IoU over all pixels of images with masks, and that over the pixels inside of the cells.

    Args:
        predictor: the model.
        pairs: images and masks. Their sides are multiples of `CELL`.
    """
    count = len(predictor.classes)
    totals = [predictor.task.zero_matrix(count) for _ in range(2)]
    for image, mask in pairs:
        predicted = torch.from_numpy(predictor(image).mask)
        for total, target in zip(totals, (mask, ignore_edges(mask)), strict=True):
            total += count_pixels(predictor.task, torch.from_numpy(target), predicted, count)
    every, inside = (
        Metrics.from_confusion(total, predictor.classes, predictor.task, len(pairs), "original").mean_iou
        for total in totals
    )
    return every, inside


def ignore_edges(mask: np.ndarray) -> np.ndarray:
    """Return a mask of cells whose pixels within `MARGIN` of the edge of a cell are ignored.

    Args:
        mask: (H, W) uint8 class indices, or 255 to ignore. The sides are multiples of `CELL`.
    """
    distances = np.minimum(np.arange(CELL), np.arange(CELL)[::-1])
    rows, columns = (np.tile(distances, side // CELL) for side in mask.shape)
    is_inside = np.minimum.outer(rows, columns) >= MARGIN
    return np.where(is_inside, mask, IGNORE_INDEX).astype(mask.dtype)


def train(data: DatasetIndex, folder: Path, quick: bool) -> Path:
    """Train a model with the settings of the plan, and return its run directory."""
    settings = {"image_size": 32, "epochs": 1, "encoder_training": "none", "num_workers": 0} if quick else {}
    return pw.train(data, folder / "run", plan=pw.make_plan(pw.inspect(data.root), settings, timed=not quick)).path


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the single images and both views of the mosaic, and write the figures."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--data", type=existing, required=True, help="folder of the data set")
    parser.add_argument("--run", type=existing, help="run directory of a model of this data set")
    arguments = parse(parser, argv)
    columns, rows = (3, 2) if arguments.quick else (12, 8)
    content = describe(arguments, ["pixelwise", "torch"])
    data = pw.load_dataset(arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.run or train(data, Path(folder), arguments.quick)
        whole, tiles = (Predictor.load(path, view=view) for view in ("whole", "tiles"))
        scale = round(mean_side(whole.size) / CELL, 3)
        scaled = Predictor.load(path, view="tiles", scale=scale)
    cells = make_cells(data, columns * rows)
    image, mask = (join(part, columns) for part in zip(*cells, strict=True))
    say(f"predicting {len(cells)} images, and a mosaic of {image.shape[1]}x{image.shape[0]} pixels")
    results = {}
    for name, predictor, pairs in (
        ("single images", whole, cells),
        ("mosaic, `--view tiles`", tiles, [(image, mask)]),
        (f"mosaic, `--view tiles --scale {scale:g}`, that of the cells", scaled, [(image, mask)]),
        ("mosaic, `--view whole`", whole, [(image, mask)]),
    ):
        started = time.perf_counter()
        every, inside = mean_ious(predictor, pairs)
        seconds = round(time.perf_counter() - started, 3)
        results[name] = {"miou": every, "miou_inside": inside, "seconds": seconds}
    findings = [
        Finding(name, f"mIoU {result['miou']:.3f}; {result['miou_inside']:.3f} inside of the cells")
        for name, result in results.items()
    ]
    finish(arguments.out, {**content, "results": results, "table": findings_table(findings)})


if __name__ == "__main__":
    main()
