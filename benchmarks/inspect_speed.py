"""How long a look at ten thousand images takes, and whether its memory grows with their number.

usage: python benchmarks/inspect_speed.py --data oxford-iiit-pet [--out inspect_speed.json] [--images 10000] [--quick]

Images of 500x375 with their masks are made out of real ones; see README.md.
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
"""Wanted for all images, on two cores."""

GROWTH = 1.15
"""Memory with all images may be at most so much larger than with a quarter of them."""


def make(data: Path, folder: Path, images: int) -> None:
    """Images and masks of one size in two folders, no two alike: turned, mirrored and with a mark in a corner."""
    import numpy as np

    from pixelwise.data.io.mask import read_image_and_mask
    from pixelwise.data.load import load_dataset

    found = load_dataset(data)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    records = itertools.cycle(found.train + found.test)
    for index in range(images):
        pixels, mask = read_image_and_mask(next(records), found.reading)
        image, levels = (
            Image.fromarray(pixels).resize(SIZE),
            Image.fromarray(mask).resize(SIZE, Image.Resampling.NEAREST),
        )
        if index // 600 % 2:
            image, levels = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (image, levels))
        marked = np.array(image)
        marked[:8, :32] = [[(index >> bit & 1) * 255] * 3 for bit in range(32)]
        Image.fromarray(marked).save(folder / "images" / f"{index:06}.jpg", quality=90)
        levels.save(folder / "masks" / f"{index:06}.png")


def look(folder: str) -> None:
    """In a process of its own: a look at everything, and what it took."""
    from pixelwise.data.analysis.inspection import inspect
    from pixelwise.data.label_map.options import LabelOptions

    found = inspect(folder, LabelOptions(skip_unreadable=True))
    report(seconds=found.seconds, images=found.image_count, masks=found.mask_count, classes=len(found.classes))


def measure(folder: Path) -> dict[str, float]:
    """Seconds and peak memory of a look at a folder."""
    with tempfile.TemporaryFile("w+") as told:
        command = [sys.executable, __file__, "--look", str(folder)]
        process = subprocess.Popen(command, stdout=told, start_new_session=True)
        most, code = peak_memory(process)
        if code:
            sys.exit(f"the look at {folder} failed: see above")
        told.seek(0)
        figures = json.loads(told.read().partition(" ")[2])
    return figures | {"gib": most / 2**30}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of Oxford-IIIT Pet, from which images are made")
    parser.add_argument("--out", type=Path, default=Path("inspect_speed.json"))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--look", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.look:
        look(arguments.look)
        return
    if arguments.data is None:
        parser.error("--data is needed")
    use_cores(arguments.cores)
    about = machine(["numpy", "pillow", "scipy", "pixelwise"])
    images = 400 if arguments.quick else arguments.images
    with tempfile.TemporaryDirectory() as place:
        whole, part = Path(place) / "whole", Path(place) / "part"
        say(f"making {images} images")
        make(arguments.data, whole, images)
        for name in ("images", "masks"):
            (part / name).mkdir(parents=True)
            for file in sorted((whole / name).iterdir())[: images // 4]:
                shutil.copy2(file, part / name)
        say("a quarter of them")
        few = measure(part)
        say("all of them")
        all_of_them = measure(whole)
    growth = all_of_them["gib"] / few["gib"]
    rows = [
        Finding(
            f"inspect {images:,} images of {SIZE[0]}x{SIZE[1]}", f"< {SECONDS} s",
            f"{all_of_them['seconds']:.0f} s ({all_of_them['images'] / all_of_them['seconds']:.0f} images/s)",
            all_of_them["seconds"] < SECONDS,
        ),
        Finding(
            f"peak memory, all processes: {images:,} images over {images // 4:,}", f"< {GROWTH}×",
            f"{growth:.2f}× ({all_of_them['gib']:.2f} GiB over {few['gib']:.2f})", growth < GROWTH,
        ),
    ]  # fmt: skip
    print(findings_table(rows))
    write_json(arguments.out, {"machine": about, "quarter": few, "all": all_of_them}, rows)


if __name__ == "__main__":
    main()
