"""Measure the memory that the command `predict` needs for each image of a long list.

usage: python benchmarks/prediction_memory.py --out prediction_memory.json [--images N] [--quick]

`predict_folder` predicts N and then 10 N images of a folder at a URL, each time in a process of its own. The folder
is a list of names, and the engine is a fake that gives a mark and three rows of predictions.csv for each image, without
an image or a mask. So the memory is that of the names, the checks, the tables and predictions.json. The difference of
the peaks of the two processes, by the difference of their images, is the memory of an image.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from _common import Turns, describe, finish, make_parser, parse, run_side, say, start


def listing(count: int) -> dict[str, str]:
    """Return the names of the images, with 100 folders, and the version of each, as in a listing of S3."""
    return {f"2024/camera-{number % 100:02}/{number:08}.jpg": f'"{number:032x}"' for number in range(count)}


def predict_names(count: int, out: Path) -> int:
    """Predict images that do not exist, and return the number of results."""
    from unittest.mock import patch

    from pixelwise.inference.batch import predict_folder
    from pixelwise.inference.output_set import ItemResult
    from pixelwise.inference.outputs import Mark
    from pixelwise.inference.predictor import Predictor
    from pixelwise.inference.result_tables import ImageRows
    from pixelwise.inference.tables import image_cell

    def fake(predictor: Any, items: Any, outputs: Any, part_progress: Any) -> Iterator[ItemResult]:
        for number, item in enumerate(items):
            shares = {"pet": number / count, "background": 0.25, "border": 0.25}
            mark = Mark(outputs.run.model, f"{number:032x}", 500, 375, shares)
            cell = image_cell(item.path)
            rows = ImageRows(cell, f"{cell},pet,1,0.5,1,1.0,0.9\n" * 3, f"{cell},pet,1,5,1,1,1,1,2,2\n", 1)
            yield ItemResult(mark, rows, None)

    predictor = Predictor.load()
    reset_peak()
    with (
        patch("pixelwise.inference.batch.get_engine", lambda name: fake),
        patch("pixelwise.inference.url_sources._ask", lambda url, use: listing(count)),
    ):
        result = predict_folder(predictor, ["memory://bucket/images/"], out)
    return result.image_count


def reset_peak() -> None:
    """Start the measurement of the peak again, where the system can: loading the model has a peak of its own."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_bytes() -> int:
    """Return the peak of the resident memory of this process since `reset_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return 1024 * int(fields["VmHWM"].split()[0])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(turns: Turns, count: int) -> None:
    """The side: predict images, and report their number, the peak of the memory and the seconds."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        images = predict_names(count, Path(folder) / "out")
    turns.report(images=images, peak_bytes=peak_bytes(), seconds=time.perf_counter() - begin)


JOBS = {"measure": measure}


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.set_defaults(cores=1)
    parser.add_argument("--images", type=int, default=10_000, help="images of the first process")
    arguments = parse(parser, argv)
    count = 20 if arguments.quick else arguments.images
    sides = []
    for images in (count, 10 * count):
        say(f"{images} images")
        with start(__file__, "measure", arguments.quick, count=images) as side:
            sides.append(side.result())
    few, many = sides
    each = (many["peak_bytes"] - few["peak_bytes"]) / (many["images"] - few["images"])
    table = [
        ("measurement", "measured"),
        *((f"peak with {side['images']} images", f"{side['peak_bytes'] / 2**20:.0f} MiB") for side in sides),
        ("memory of an image", f"{each:.0f} bytes"),
        ("time of an image without its prediction", f"{1e6 * many['seconds'] / many['images']:.0f} us"),
    ]
    content = describe(arguments, ("torch", "fsspec", "pixelwise"))
    finish(arguments.out, content | {"sides": sides, "bytes_per_image": each, "table": table})


if __name__ == "__main__":
    if not run_side(JOBS):
        main()
