"""Measure the time and memory to inspect ten thousand images.

usage: python benchmarks/inspect_speed.py --data oxford-iiit-pet [--out inspect_speed.json] [--images 10000] [--quick]

The images of 500x375 pixels are variants of real ones; see README.md.
"""

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Finding, findings_table, machine, report, say, use_cores, write_json
from peak_memory import peak_memory
from PIL import Image

SIZE = (500, 375)
SECONDS = 120
"""Target for all images on two cores."""

GROWTH = 1.15
"""Target for the memory with all images over that with a quarter of them."""


def make(data: Path, folder: Path, images: int) -> None:
    """Write images and masks of one size. All differ: some are mirrored, and each has its number in a corner."""
    import numpy as np

    from pixelwise.data.io.mask import read_image_and_mask
    from pixelwise.data.load import load_dataset

    dataset = load_dataset(data)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    records = itertools.cycle(dataset.train + dataset.test)
    for index in range(images):
        pixels, class_indices = read_image_and_mask(next(records), dataset.read_spec)
        image = Image.fromarray(pixels).resize(SIZE)
        mask = Image.fromarray(class_indices).resize(SIZE, Image.Resampling.NEAREST)
        if index // 600 % 2:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        marked = np.array(image)
        marked[:8, :32] = [[(index >> bit & 1) * 255] * 3 for bit in range(32)]
        Image.fromarray(marked).save(folder / "images" / f"{index:06}.jpg", quality=90)
        mask.save(folder / "masks" / f"{index:06}.png")


def inspect_folder(folder: str) -> None:
    """Inspect a directory and report the time. It runs in a process of its own."""
    from pixelwise.data.analysis.inspection import inspect

    result = inspect(folder, skip_unreadable=True)
    report(seconds=result.seconds, images=result.image_count, masks=result.mask_count, classes=len(result.classes))


def measure(folder: Path) -> dict[str, float]:
    """Return the seconds and the peak memory to inspect a directory."""
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, __file__, "--inspect", str(folder)]
        process = subprocess.Popen(command, stdout=output, start_new_session=True)
        peak, code = peak_memory(process)
        if code:
            sys.exit(f"inspecting {folder} failed: see above")
        output.seek(0)
        figures = json.loads(output.read().partition(" ")[2])
    return figures | {"gib": peak / 2**30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--out", type=Path, default=Path("inspect_speed.json"))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few images: check that the script runs")
    parser.add_argument("--inspect", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inspect:
        inspect_folder(arguments.inspect)
        return
    if arguments.data is None:
        parser.error("--data is required")
    use_cores(arguments.cores)
    about = machine(["numpy", "pillow", "scipy", "pixelwise"])
    images = 400 if arguments.quick else arguments.images
    with tempfile.TemporaryDirectory() as folder:
        complete, quarter = Path(folder) / "complete", Path(folder) / "quarter"
        say(f"writing {images} images")
        make(arguments.data, complete, images)
        for name in ("images", "masks"):
            (quarter / name).mkdir(parents=True)
            for file in sorted((complete / name).iterdir())[: images // 4]:
                shutil.copy2(file, quarter / name)
        say("inspecting a quarter of them")
        of_quarter = measure(quarter)
        say("inspecting all of them")
        of_all = measure(complete)
    growth = of_all["gib"] / of_quarter["gib"]
    rows = [
        Finding(
            f"inspect {images:,} images of {SIZE[0]}x{SIZE[1]}", f"< {SECONDS} s",
            f"{of_all['seconds']:.0f} s ({of_all['images'] / of_all['seconds']:.0f} images/s)",
            of_all["seconds"] < SECONDS,
        ),
        Finding(
            f"peak memory, all processes: {images:,} images over {images // 4:,}", f"< {GROWTH}×",
            f"{growth:.2f}× ({of_all['gib']:.2f} GiB over {of_quarter['gib']:.2f})", growth < GROWTH,
        ),
    ]  # fmt: skip
    print(findings_table(rows))
    write_json(arguments.out, {"machine": about, "quarter": of_quarter, "all": of_all}, rows)


if __name__ == "__main__":
    main()
