"""Predict one large TIFF file with the command line, and measure the time and the peak memory of the process.

    python benchmarks/large_image.py runs/pets --side 20000 --out large_image.json

The file is made first, tile by tile: smooth colors with noise, 512x512 pixels per tile, compressed (zlib), with a
georeference. The command is `pixelwise predict RUN FILE`, in a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from _common import Finding, describe, existing, findings_table, finish, make_parser, parse, say
from _peak_memory import peak_memory

TILE = 512

GEOREFERENCE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32611), True),
]
"""Tags of GeoTIFF: pixels of 0.5 m in UTM zone 11 north."""


def tiles(side: int) -> Iterator[np.ndarray]:
    """Yield the tiles of the image, row by row."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 60, (TILE, TILE, 3)).astype(np.uint8)
    for top in range(0, side, TILE):
        for left in range(0, side, TILE):
            row, column = np.arange(top, top + TILE)[:, None], np.arange(left, left + TILE)
            waves = [np.sin(row / 90) + np.cos(column / 70), np.sin((row + column) / 150), np.cos((row - column) / 40)]
            colors = np.stack([np.broadcast_to(wave, (TILE, TILE)) for wave in waves], 2)
            yield (90 + 45 * colors).astype(np.uint8) + noise


def make_image(path: Path, side: int) -> None:
    """Write the image."""
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
    parser.add_argument("run", type=existing, help="run directory")
    parser.add_argument("--side", type=int, default=20_000, help="side of the image in pixels")
    parser.add_argument("--views", nargs="+", default=["tiles", "whole"], help="views to measure")
    parser.add_argument("--scale", default="1", help="working pixels per image pixel of tiles")
    arguments = parse(parser, argv)
    side = 8_500 if arguments.quick else arguments.side
    content = describe(arguments, ["pixelwise", "torch", "tifffile"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.tif"
        say(f"making an image of {side}x{side} pixels")
        make_image(path, side)
        content["file_bytes"] = path.stat().st_size
        content["views"] = {view: measure(arguments, path, side, view) for view in arguments.views}
    rows = [
        Finding(
            f"{side:,}x{side:,} pixels, `--view {view}`" + (f" `--scale {arguments.scale}`" * (view == "tiles")),
            f"{figures['peak_bytes'] / 2**30:.2f} GiB, {figures['seconds']:.0f} s",
        )
        for view, figures in content["views"].items()
    ]
    finish(arguments.out, {**content, "table": findings_table(rows)})


def measure(arguments: argparse.Namespace, path: Path, side: int, view: str) -> dict[str, float]:
    """Predict the image in a process of its own. Return its time and its peak memory."""
    say(f"predicting it with --view {view}")
    out = path.parent / view
    command = [sys.executable, "-m", "pixelwise", "predict", arguments.run, path, "--out", out, "--view", view]
    command += ["--device", "cpu"] + (["--scale", arguments.scale] if view == "tiles" else [])
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), start_new_session=True, env=dict(os.environ))
    peak, code = peak_memory(process)
    if code:
        sys.exit(f"the prediction ended with exit code {code}")
    check_mask(out / "image_mask.tif", side)
    return {"peak_bytes": peak, "seconds": round(time.perf_counter() - started, 1)}


if __name__ == "__main__":
    main()
