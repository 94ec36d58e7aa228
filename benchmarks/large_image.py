"""Predict one large TIFF file with the command line, and measure the time and the peak memory of the process.

    python benchmarks/large_image.py --scale 0.25 --out large_image.json

The file is made first, tile by tile: smooth colors with noise, 512x512 pixels per tile, compressed (zlib), with a
georeference. The command is `pixelwise predict RUN FILE`, in a process of its own. Without --run, the model has random
weights (encoder tf_efficientnet_lite0, 3 classes, 224 px): the time and the memory do not depend on the weights.

Then windows of the file and of a mask are drawn as in a training without the cache. `--views` without a view measures
these only.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from _common import Finding, describe, existing, findings_table, finish, make_parser, parse, say
from _peak_memory import peak_memory

from pixelwise.data.schema import LabelMap, ReadSpec, Record
from pixelwise.data.window_dataset import WindowDataset
from pixelwise.inference import large_file
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.models.config import View
from pixelwise.models.model import create_model

TILE = 512

WINDOW, WINDOWS = 512, 50
"""Side in pixels and number of training windows."""

GEOREFERENCE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32611), True),
]
"""Tags of GeoTIFF: pixels of 0.5 m in UTM zone 11 north."""


def tiles(side: int) -> Iterator[np.ndarray]:
    """Yield the tiles of the image, (TILE, TILE, 3) uint8, row by row.

    Args:
        side: side of the image in pixels.
    """
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 60, (TILE, TILE, 3)).astype(np.uint8)
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            row, column = np.arange(top, top + TILE)[:, None], np.arange(left, left + TILE)
            waves = [np.sin(row / 90) + np.cos(column / 70), np.sin((row + column) / 150), np.cos((row - column) / 40)]
            colors = np.stack([np.broadcast_to(wave, (TILE, TILE)) for wave in waves], 2)
            yield (90 + 45 * colors).astype(np.uint8) + noise


def make_image(path: Path, side: int) -> None:
    """Write the image.

    Args:
        path: the file.
        side: side of the image in pixels.
    """
    tifffile.imwrite(
        path, tiles(side), shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb",
        compression="zlib", bigtiff=True, resolution=(100, 100), extratags=GEOREFERENCE, metadata=None,
    )  # fmt: skip


def check_mask(path: Path, side: int) -> None:
    """Exit if the mask has another size than the image or no georeference."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        missing = [code for code, *_ in GEOREFERENCE if code not in page.tags]
        if page.shape != (side, side) or not page.is_tiled or not tiff.is_bigtiff or missing:
            sys.exit(f"{path}: shape {page.shape}, tiled {page.is_tiled}, without the tags {missing}")


def main(argv: Sequence[str] | None = None) -> None:
    """Make the image, predict it with each view, and write the figures."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--run", type=existing, help="run directory")
    parser.add_argument("--side", type=int, default=20_000, help="side of the image in pixels")
    parser.add_argument("--views", nargs="*", default=["tiles", "whole"], help="views to measure")
    parser.add_argument("--scale", default="1", help="working pixels per image pixel of tiles")
    arguments = parse(parser, argv)
    side = 600 if arguments.quick else arguments.side
    content = describe(arguments, ["pixelwise", "torch", "tifffile"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tif"
        run = arguments.run or make_run(Path(folder))
        say(f"making an image of {side}x{side} pixels")
        make_image(path, side)
        content["file_bytes"] = path.stat().st_size
        content["views"] = {view: measure(arguments, run, path, view) for view in arguments.views}
        windows = content["training_windows"] = measure_training_windows(path, side)
    rows = [
        Finding(
            f"{side:,}x{side:,} pixels, `--view {view}`" + (f" `--scale {arguments.scale}`" * (view == "tiles")),
            f"{figures['peak_bytes'] / 2**30:.2f} GiB, {figures['seconds']:.0f} s",
        )
        for view, figures in content["views"].items()
    ]
    rows.append(
        Finding(
            f"training windows of {WINDOW} px of {side:,}x{side:,} pixels, without the cache",
            f"{windows['ms_per_window']:.0f} ms each, after {windows['seconds_to_find_classes']:.1f} s to find the "
            f"classes; {windows['peak_bytes'] / 2**20:.0f} MiB",
        )
    )
    finish(arguments.out, {**content, "table": findings_table(rows)})


def measure_training_windows(path: Path, side: int) -> dict[str, float]:
    """Draw training windows of an image and its mask, which are read from the files if the image is large.

    Args:
        path: the image.
        side: side of the image in pixels.

    Returns:
        The time of a window, the time to find the classes in the mask, which is spent once, and the peak of the memory
        that Python and NumPy allocate.
    """
    mask, tile = path.with_name("mask.tif"), np.zeros((TILE, TILE), np.uint8)
    tile[100:104] = 1
    tifffile.imwrite(
        mask, (tile for _ in range((-(-side // TILE)) ** 2)), shape=(side, side), dtype=np.uint8, tile=(TILE, TILE),
        photometric="minisblack", compression="zlib", metadata=None,
    )  # fmt: skip
    spec = ReadSpec(LabelMap("index", {0: 0, 1: 1}))
    windows = WindowDataset([Record(path, mask)], spec, 1.0, WINDOW, cache_images=False)
    started = time.perf_counter()
    windows.class_pixels(2)
    found = time.perf_counter()
    windows[0, 0]  # the first window finds the places of the classes
    first = time.perf_counter()
    windows.__getitems__([(index, index) for index in range(1, WINDOWS + 1)])
    last = time.perf_counter()
    tracemalloc.start()
    WindowDataset([Record(path, mask)], spec, 1.0, WINDOW, cache_images=False).__getitems__([(0, 0), (1, 1)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "ms_per_window": 1000 * (last - first) / WINDOWS,
        "seconds_to_find_classes": first - found,
        "seconds_to_count_classes": found - started,
        "peak_bytes": peak,
    }


def make_run(folder: Path) -> Path:
    """Write a model of random weights, and return its directory."""
    run = folder / "run"
    run.mkdir()
    create_model("tf_efficientnet_lite0", classes=3, image_size=224, encoder_weights="none").save(run)
    return run


def measure(arguments: argparse.Namespace, run: Path, path: Path, view: View) -> dict[str, float]:
    """Predict the image. Return the time and the peak memory of the process."""
    say(f"predicting it with --view {view}")
    out, started = path.parent / view, time.perf_counter()
    if arguments.quick:
        return predict_here(run, path, out, view)
    command = [sys.executable, "-m", "pixelwise", "predict", run, path, "--out", out, "--view", view]
    command += ["--device", "cpu"] + (["--scale", arguments.scale] if view == "tiles" else [])
    process = subprocess.Popen(list(map(str, command)), start_new_session=True)
    peak, code = peak_memory(process)
    if code:
        sys.exit(f"the prediction ended with exit code {code}")
    check_mask(out / "image_mask.tif", arguments.side)
    return {"peak_bytes": peak, "seconds": round(time.perf_counter() - started, 1)}


def predict_here(run: Path, path: Path, out: Path, view: View) -> dict[str, float]:
    """Predict a small image in this process, as if it were large. Its memory is not measured."""
    started, limit = time.perf_counter(), large_file.LARGE_PIXELS
    large_file.LARGE_PIXELS = 1
    try:
        predict_folder(Predictor.load(run, "cpu", view=view), [path], out)
    finally:
        large_file.LARGE_PIXELS = limit
    check_mask(out / "image_mask.tif", 600)
    return {"peak_bytes": 0, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    main()
