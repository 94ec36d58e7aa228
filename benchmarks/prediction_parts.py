"""Measure the parts of a prediction, from a JPEG file to the PNG file of its mask, beside a floor of each part.

usage: python benchmarks/prediction_parts.py --data oxford-iiit-pet --out prediction_parts.json [--run RUN] [--quick]

The images are the test images of the data set as JPEG files of 500x375 pixels. One thread computes everything, one
image at a time. The floors are:

- decode: Pillow's decoding of the JPEG file, without a copy to an array.
- resize: reading the image and writing the small one at the speed of a copy in memory.
- network: its multiplications and additions at the speed of a product of large float32 matrices.
- mask: reading the logits and writing the mask at the speed of a copy in memory.
- encode: zlib, with the level and the strategy of the masks, on their bytes, without a file.
"""

import io
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from _common import describe, existing, finish, make_parser, parse, say
from device_limits import measure_limits, seconds_per_call
from predict_speed import make_run, write_images

PARTS = ("decode", "resize", "network", "mask", "encode")

CALLS = 5
"""Number of calls for each image. Their median counts."""


def make_parts(predictor: Any, file: Path, out: Path) -> dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]]:
    """Return the functions of the parts for an image, each with that of its floor or None for a computed one.

    Args:
        predictor: the run in float32.
        file: the JPEG file.
        out: the PNG file to write.
    """
    import torch
    from PIL import Image

    from pixelwise.data.resize import resize_image
    from pixelwise.inference.inputs import read_input
    from pixelwise.inference.make_prediction import make_prediction
    from pixelwise.visualization.save import save_image

    content = file.read_bytes()
    image = read_input(content, predictor.config)
    small = resize_image(image, predictor.size)[None]
    with torch.inference_mode():
        logits = predictor.forward(small)[0].clone()
    prediction = make_prediction(image, logits, predictor.config)
    raw = prediction.mask.tobytes()

    def encode() -> None:
        save_image(prediction.to_indexed_png(), out)

    def compress() -> None:
        packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
        packer.compress(raw)
        packer.flush()

    def decode_only() -> None:
        Image.open(io.BytesIO(content)).load()

    return {
        "decode": (lambda: read_input(content, predictor.config), decode_only),
        "resize": (lambda: resize_image(image, predictor.size), None),
        "network": (lambda: predictor.forward(small), None),
        "mask": (lambda: make_prediction(image, logits, predictor.config), None),
        "encode": (encode, compress),
    }


def count_flops(predictor: Any) -> float:
    """Return the multiplications and additions of the network for one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        predictor.forward(torch.zeros(1, 3, *predictor.size, dtype=torch.uint8))
    return float(counter.get_total_flops())


def measure(predictor: Any, files: Sequence[Path], out: Path, quick: bool) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each part and of its floor for each image."""
    import torch

    device = torch.device("cpu")
    limits = measure_limits(device, quick)
    size, classes = predictor.size, len(predictor.classes)
    flops = count_flops(predictor)
    seconds: dict[str, dict[str, list[float]]] = {part: {"measured": [], "floor": []} for part in PARTS}
    for number, file in enumerate(files):
        parts = make_parts(predictor, file, out / f"{number}.png")
        image = parts["decode"][0]()
        pixels, small = image.shape[0] * image.shape[1], size[0] * size[1]
        computed = {
            "resize": (image.nbytes + 3 * small) / limits["bytes_per_second"],
            "network": flops / limits["flops_per_second"],
            "mask": (4 * classes * small + pixels) / limits["bytes_per_second"],
        }
        for part, (function, floor) in parts.items():
            seconds[part]["measured"].append(seconds_per_call(function, device, CALLS))
            least = computed[part] if floor is None else seconds_per_call(floor, device, CALLS)
            seconds[part]["floor"].append(least)
    return seconds


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.set_defaults(cores=1)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--run", type=existing, help="a run of the data; default: three epochs are trained")
    arguments = parse(parser, argv)
    content = describe(arguments, ("torch", "pillow", "numpy", "pixelwise"))
    import torch

    import pixelwise as pw

    threads = torch.get_num_threads()
    data = pw.load_dataset(arguments.data)
    count, size = (2, (96, 64)) if arguments.quick else (arguments.images, (500, 375))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(data, folder / "images", count, size)
        if arguments.run is None:
            make_run(data, folder / "run", arguments.quick)
        predictor = pw.Predictor.load(arguments.run or folder / "run", "cpu", "32-true")
        say(f"measuring {count} images")
        torch.set_num_threads(1)
        try:
            seconds = measure(predictor, sorted((folder / "images").iterdir()), folder, arguments.quick)
        finally:
            torch.set_num_threads(threads)
    means = {part: {kind: 1000 * mean(values) for kind, values in both.items()} for part, both in seconds.items()}
    total = {kind: sum(both[kind] for both in means.values()) for kind in ("measured", "floor")}
    rows = [
        (part, f"{both['measured']:.2f} ms", f"{both['measured'] / total['measured']:.0%}", f"{both['floor']:.2f} ms")
        for part, both in (means | {"all": total}).items()
    ]
    table = [("part", "time of an image", "share", "floor"), *rows]
    note = f"Images of {size[0]}x{size[1]} pixels, one thread, mean of {count} images."
    finish(arguments.out, content | {"seconds": seconds, "note": note, "table": table})


if __name__ == "__main__":
    main()
