"""Measure the time and memory to inspect ten thousand images.

usage: python benchmarks/inspect_speed.py --data oxford-iiit-pet --out inspect_speed.json [--images 10000] [--quick]

The images of 500x375 pixels are variants of real ones; see README.md.
"""

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _common import (
    MARK,
    Finding,
    Local,
    Turns,
    describe,
    existing,
    findings_table,
    finish,
    make_parser,
    parse,
    run_side,
    say,
)
from _peak_memory import peak_memory

SIZE = (500, 375)


def make(data: Path, folder: Path, images: int, size: tuple[int, int]) -> None:
    """Write images and masks of one size. All differ: some are mirrored, and each has its number in a corner."""
    import numpy as np
    from PIL import Image

    import pixelwise as pw

    dataset = pw.load_dataset(data)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    records = itertools.cycle(dataset.train + dataset.test)
    for index in range(images):
        pixels, class_indices = dataset.read(next(records))
        image = Image.fromarray(pixels).resize(size)
        mask = Image.fromarray(class_indices).resize(size, Image.Resampling.NEAREST)
        if index // 600 % 2:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        marked = np.array(image)
        marked[:8, :32] = [[(index >> bit & 1) * 255] * 3 for bit in range(32)]
        Image.fromarray(marked).save(folder / "images" / f"{index:06}.jpg", quality=90)
        mask.save(folder / "masks" / f"{index:06}.png")


def inspect_folder(turns: Turns, folder: str) -> None:
    """Inspect a directory and report the time. It runs in a process of its own."""
    from pixelwise.data.analysis.inspection import inspect

    result = inspect(folder, skip_unreadable=True)
    turns.report(seconds=result.seconds, images=result.image_count, masks=result.mask_count)


JOBS = {"inspect": inspect_folder}


def measure(folder: Path, quick: bool) -> dict[str, float]:
    """Return the seconds and the peak memory to inspect a directory."""
    if quick:
        import psutil

        figures = Local(inspect_folder, {"folder": str(folder)}).result()
        return figures | {"gib": psutil.Process().memory_info().rss / 2**30}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = [sys.executable, __file__, "--side", json.dumps(["inspect", {"folder": str(folder)}])]
        process = subprocess.Popen(command, stdout=output, start_new_session=True)
        peak, code = peak_memory(process)
        if code:
            sys.exit(f"inspecting {folder} failed: see above")
        output.seek(0)
        return json.loads(output.read().removeprefix(MARK)) | {"gib": peak / 2**30}


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parse(parser, argv)
    content = describe(arguments, ("numpy", "pillow", "scipy", "pixelwise"))
    images, size = (24, (64, 48)) if arguments.quick else (arguments.images, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        complete, quarter = Path(folder) / "complete", Path(folder) / "quarter"
        say(f"writing {images} images")
        make(arguments.data, complete, images, size)
        for name in ("images", "masks"):
            (quarter / name).mkdir(parents=True)
            for file in sorted((complete / name).iterdir())[: images // 4]:
                shutil.copy2(file, quarter / name)
        say("inspecting a quarter of them")
        of_quarter = measure(quarter, arguments.quick)
        say("inspecting all of them")
        of_all = measure(complete, arguments.quick)
    growth = of_all["gib"] / of_quarter["gib"]
    rows = [
        Finding(
            f"inspect {images:,} images of {size[0]}x{size[1]}",
            f"{of_all['seconds']:.0f} s ({of_all['images'] / of_all['seconds']:.0f} images/s)",
        ),
        Finding(
            f"peak memory of all processes, {images:,} images divided by {images // 4:,} images",
            f"{growth:.2f}× ({of_all['gib']:.2f} GiB over {of_quarter['gib']:.2f} GiB)",
        ),
    ]  # fmt: skip
    finish(arguments.out, content | {"quarter": of_quarter, "all": of_all, "table": findings_table(rows)})


if __name__ == "__main__" and not run_side(JOBS):
    main()
