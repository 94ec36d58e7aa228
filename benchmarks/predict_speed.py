"""Measure the speed of prediction, beside the loop that one writes with segmentation_models_pytorch.

usage: python benchmarks/predict_speed.py --data oxford-iiit-pet --out predict_speed.json [--images 200] [--quick]

Both sides read the same JPEG files of 500x375 pixels, use the same encoder at 128 px, and write a mask and an overlay
of each image at its own size. pixelwise writes its tables as well. See README.md.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _common import (
    Finding,
    Turns,
    describe,
    existing,
    findings_table,
    finish,
    make_parser,
    parse,
    run_side,
    say,
    start,
)

SIZE, BATCH = 128, 16
ENCODER = "tf_efficientnet_lite0"

# --- the sides, each in a process of its own


def pixelwise_side(turns: Turns, folder: str, outputs: str, model: str, rounds: int) -> None:
    """Measure `predict_folder` as the command calls it, the network alone, and one image in Python."""
    import torch

    import pixelwise as pw
    from pixelwise.runtime.process import configure

    configure()
    predictor = pw.Predictor.load(model, "cpu")
    files = sorted(Path(folder).iterdir())
    batch = torch.zeros(BATCH, 3, *predictor.size, dtype=torch.uint8)

    def timed(function: Callable[[], Any], count: int) -> tuple[float, int]:
        started = time.perf_counter()
        function()
        return time.perf_counter() - started, count

    def predict() -> tuple[float, int]:
        out = tempfile.mkdtemp(dir=outputs)
        return timed(lambda: pw.predict_folder(predictor, files, out), len(files))

    def measure() -> dict[str, tuple[float, int]]:
        passes = max(1, len(files) // BATCH)
        return {
            "folder": predict(),
            "network": timed(lambda: [predictor.forward(batch) for _ in range(passes)], passes * BATCH),
            "single": timed(lambda: [predictor(file) for file in files[:BATCH]], len(files[:BATCH])),
        }

    measure()
    turns.wait()
    for _ in range(rounds):
        turns.wait(**measure())


def smp_side(turns: Turns, folder: str, outputs: str, rounds: int, encoder: str) -> None:
    """Measure a loop over the images with Pillow and a U-Net of segmentation_models_pytorch."""
    import numpy as np
    import segmentation_models_pytorch as smp
    import torch
    import torch.nn.functional as F
    from PIL import Image

    model = smp.Unet(f"tu-{encoder}", encoder_weights=None, classes=3).eval()
    colors = np.array([(230, 159, 0), (86, 180, 233), (0, 158, 115)], np.uint8)
    files = sorted(Path(folder).iterdir())

    def predict(file: Path, out: Path) -> None:
        image = Image.open(file).convert("RGB")
        pixels = torch.from_numpy(np.array(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR)))
        logits = model((pixels.permute(2, 0, 1)[None].float() - 127) / 128)
        logits = F.interpolate(logits, (image.height, image.width), mode="bilinear")
        mask = logits.argmax(1)[0].byte().numpy()
        Image.fromarray(mask).save(out / f"{file.stem}_mask.png")
        Image.blend(image, Image.fromarray(colors[mask]), 0.5).save(out / f"{file.stem}_overlay.png")

    def measure() -> float:
        out = Path(tempfile.mkdtemp(dir=outputs))
        with torch.inference_mode():
            started = time.perf_counter()
            for file in files:
                predict(file, out)
            return time.perf_counter() - started

    measure()
    turns.wait()
    for _ in range(rounds):
        turns.wait(folder=(measure(), len(files)))


JOBS = {"pixelwise": pixelwise_side, "smp": smp_side}

# --- the comparison


def write_images(data: Path, folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write images of one size: the test images of the data set, resized, again and again until there are enough."""
    from PIL import Image

    import pixelwise as pw

    index = pw.load_dataset(data)
    for number, record in enumerate(itertools.islice(itertools.cycle(index.test), count)):
        image = Image.fromarray(index.read(record)[0]).resize(size)
        image.save(folder / f"{number:04}.jpg", quality=90)


def make_run(data: Path, out: Path, quick: bool) -> None:
    """Train the preset `default` for three epochs, so that masks and tables are those of a real model."""
    import pixelwise as pw

    if not quick:
        pw.train(pw.load_dataset(data), out, preset="default", epochs=3, device="cpu")
        return
    model = pw.create_model("mobilenetv3_small_050", classes=("pet", "background", "border"), encoder_weights="none",
                            image_size=32)  # fmt: skip
    out.mkdir()
    model.save(out)


def measure(folder: str, outputs: str, model: str, rounds: int, quick: bool) -> dict[str, list[dict[str, Any]]]:
    """Let the sides take turns. segmentation_models_pytorch is left out if it is not installed.

    The output files of all rounds stay until the end: for some seconds after many files were removed, ext4 needs longer
    to make new ones.
    """
    common = {"folder": folder, "outputs": outputs, "rounds": rounds}
    sides = {"pixelwise": start(__file__, "pixelwise", quick, model=model, **common)}
    if find_spec("segmentation_models_pytorch") is None:
        say("segmentation_models_pytorch is not installed and left out")
    else:
        encoder = "mobilenetv3_small_050" if quick else ENCODER
        sides["smp"] = start(__file__, "smp", quick, encoder=encoder, **common)
    for name, side in sides.items():
        say(f"{name}: warming up")
        side.result()
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            measured[name].append(side.turn())
        say(f"round {number + 1} of {rounds}")
    for side in sides.values():
        side.__exit__(None, None, None)
    return measured


def results(measured: dict[str, list[dict[str, Any]]]) -> list[Finding]:
    """Return the rows of the table."""

    def rate(name: str, part: str) -> float:
        return statistics.median(turn[part][1] / turn[part][0] for turn in measured[name])

    ours = rate("pixelwise", "folder")
    rows = [Finding("images/s of `predict_folder`: masks, overlays and tables on disk", f"{ours:.1f} images/s")]
    if "smp" in measured:
        theirs = rate("smp", "folder")
        rows.append(
            Finding(
                "images/s of the loop with segmentation_models_pytorch: masks and overlays as PNG",
                f"{theirs:.1f} images/s (pixelwise: {ours / theirs:.1f}×)",
            )
        )
    rows.append(Finding("images/s of the network alone, batches of 16", f"{rate('pixelwise', 'network'):.0f} images/s"))
    rows.append(Finding("`predictor(path)`: one image in Python", f"{1000 / rate('pixelwise', 'single'):.1f} ms"))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", type=existing, help="a run of the data; default: three epochs are trained")
    arguments = parse(parser, argv)
    packages = ("torch", "segmentation-models-pytorch", "pillow", "numpy", "pixelwise")
    content = describe(arguments, packages)
    count, size, rounds = (6, (96, 64), 2) if arguments.quick else (arguments.images, (500, 375), arguments.rounds)
    with tempfile.TemporaryDirectory() as temporary:
        folder, outputs, run = (Path(temporary) / name for name in ("images", "outputs", "run"))
        folder.mkdir()
        outputs.mkdir()
        say(f"writing {count} images")
        write_images(arguments.data, folder, count, size)
        if arguments.run is None:
            make_run(arguments.data, run, arguments.quick)
        figures = measure(str(folder), str(outputs), str(arguments.run or run), rounds, arguments.quick)
    finish(arguments.out, content | {"rounds": figures, "table": findings_table(results(figures))})


if __name__ == "__main__" and not run_side(JOBS):
    main()
