"""Measure the speed of prediction, beside the programs that one writes with other packages.

usage: python benchmarks/predict_speed.py --data oxford-iiit-pet --out predict_speed.json [--run RUN] [--quick]
       [--weights FILE --peer-script FILE --peer-python FILE] [--yolo-python FILE]

pixelwise predicts with a run and with its exported files. A U-Net of segmentation_models_pytorch has the same encoder.
TensorFlow's tutorial and Ultralytics' network are measured if their interpreters are given. All networks have images of
128 px, and all files are the same JPEG files of 500x375 pixels. See README.md.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _common import (
    Child,
    Finding,
    Local,
    describe,
    existing,
    findings_table,
    finish,
    make_parser,
    parse,
    say,
    start,
)

if TYPE_CHECKING:
    from pixelwise.data.index import DatasetIndex

HERE = Path(__file__).resolve().parent
SIDES = HERE / "_predict_sides.py"
SIZE = 128
ENCODER, SMALL_ENCODER = "tf_efficientnet_lite0", "mobilenetv3_small_050"
YOLO = "yolo26n-sem"

EXPORTS: dict[str, tuple[str, dict[str, bool]]] = {
    "ONNX": ("model.onnx", {}),
    "ONNX, int8": ("model-int8.onnx", {"int8": True}),
    "OpenVINO": ("model.xml", {}),
    "OpenVINO, int8": ("model-int8.xml", {"int8": True}),
    "OpenVINO, bfloat16": ("model-bfloat16.xml", {"bfloat16": True}),
}
"""Names of the exported files in the table: the file, and the options of `export_model`."""

# --- what the sides read


def write_images(data: "DatasetIndex", folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write images of one size: the test images of the data set, resized, again and again until there are enough."""
    from PIL import Image

    folder.mkdir()
    for number, record in enumerate(itertools.islice(itertools.cycle(data.test), count)):
        Image.fromarray(data.read(record)[0]).resize(size).save(folder / f"{number:04}.jpg", quality=90)


def write_split(data: "DatasetIndex", split: str, path: Path) -> None:
    """Write the images and masks of a split at the size of the networks, (N, SIZE, SIZE, 3) and (N, SIZE, SIZE)."""
    import numpy as np

    import pixelwise as pw

    dataset = pw.SegmentationDataset(data.records(split), data.read_spec, SIZE)
    images, masks = zip(*(dataset[index] for index in range(len(dataset))), strict=True)
    pixels = np.stack([image.permute(1, 2, 0).numpy() for image in images])
    np.savez(path, images=pixels, masks=np.stack([mask.numpy() for mask in masks]))


def make_run(data: "DatasetIndex", out: Path, quick: bool) -> None:
    """Train the preset `default` for three epochs, so that masks and tables are those of a real model."""
    import pixelwise as pw

    if not quick:
        pw.train(data, out, preset="default", epochs=3, device="cpu")
        return
    model = pw.create_model(SMALL_ENCODER, classes=data.classes, encoder_weights="none", image_size=32)
    out.mkdir()
    model.save(out)


def export_files(run: Path, folder: Path, quick: bool) -> dict[str, Path]:
    """Export a run, and return the names and files.

    Formats whose packages are missing and those that this processor or the model does not allow are left out.
    """
    import pixelwise as pw

    folder.mkdir()
    files = {}
    for name, (file, options) in EXPORTS.items():
        target = "openvino" if file.endswith(".xml") else "onnx"
        if find_spec("onnxscript") is None or find_spec("onnxruntime" if target == "onnx" else target) is None:
            say(f"{name}: left out, a package is not installed")
        elif not (quick and (options or target == "openvino")):
            try:
                files[name] = pw.export_model(run, folder / name / file, target, **options).path
            except pw.PixelwiseError as error:
                say(f"{name}: left out, {error}")
    return files


# --- the comparison


class Sides:
    """The processes that take turns, and their measurements.

    Attributes:
        first: the report of each side after its start.
        rounds: the measurements of each side, one for each round.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._sides: dict[str, Child | Local] = {}
        self.first: dict[str, dict[str, Any]] = {}
        self.rounds: dict[str, list[dict[str, Any]]] = {}

    def add(self, name: str, side: Child | Local) -> None:
        """Start a side, and wait until it is warm."""
        say(f"{name}: warming up")
        self._sides[name] = self._stack.enter_context(side)
        self.first[name] = side.result()
        self.rounds[name] = []

    def measure(self, rounds: int) -> None:
        """Let the sides take turns."""
        for number in range(rounds):
            for name, side in self._sides.items():
                self.rounds[name].append(side.turn())
            say(f"round {number + 1} of {rounds}")

    def rate(self, name: str, part: str) -> float:
        """Return the median of the images per second."""
        return statistics.median(turn[part][1] / turn[part][0] for turn in self.rounds[name])

    def percentile(self, name: str, share: float) -> float:
        """Return a percentile of the latencies in milliseconds."""
        values = sorted(value for turn in self.rounds[name] for value in turn["latency"])
        return values[min(len(values) - 1, int(share * len(values)))]


def add_peers(sides: Sides, arguments: argparse.Namespace, folder: Path, rounds: int, common: dict[str, Any]) -> None:
    """Start the peers that are installed or given."""
    quick = arguments.quick
    if find_spec("segmentation_models_pytorch") is None:
        say("segmentation_models_pytorch: left out, it is not installed")
    else:
        encoder, steps = (SMALL_ENCODER, 1) if quick else (ENCODER, 38)
        options = common | {"train": str(folder / "train.npz"), "encoder": encoder, "steps": steps}
        sides.add("smp", start(SIDES, "smp", quick, **options))
    if arguments.peer_script and arguments.peer_python and arguments.weights:
        inputs = (arguments.peer_script, arguments.data, arguments.weights, 0, 1, rounds)
        sides.add("TensorFlow", Child(arguments.peer_python, HERE / "_tutorial_peer.py", *map(str, inputs)))
    else:
        say("TensorFlow: left out, --weights, --peer-script and --peer-python are needed")
    if arguments.yolo_python:
        path = folder / "yolo.onnx"
        command = [arguments.yolo_python, HERE / "_yolo_export.py", YOLO, str(SIZE), path]
        subprocess.run(command, check=True, stdout=sys.stderr)
        sides.add(YOLO, start(SIDES, "yolo", quick, path=str(path), rounds=rounds, count=1200))
    else:
        say(f"{YOLO}: left out, --yolo-python is needed")


def time_command(path: Path, image: Path, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds and the peak memory in MiB of `pixelwise predict`, from the shell to the mask on disk."""
    measured: dict[str, list[float]] = {"seconds": [], "mebibytes": []}
    for number in range(rounds + 1):
        out = folder / f"command-{number}"
        words = ["predict", str(path), str(image), "--out", str(out), "--write", "mask"]
        command = [sys.executable, "-S", HERE / "_peak_memory.py", sys.executable, "-m", "pixelwise", *words]
        result = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        if number:  # the first one reads the packages from the disk
            measured["seconds"].append(result["seconds"])
            measured["mebibytes"].append(result["peak"] / 2**20)
    return measured


def results(sides: Sides, exports: Sequence[str], command: dict[str, list[float]] | None) -> list[Finding]:
    """Return the rows of the table."""
    rows = network_rows(sides, exports) + file_rows(sides, exports)
    for name in ("run", *exports):
        what = f"latency of one image, from the bytes of a JPEG file to its mask: {name}"
        median, high = sides.percentile(name, 0.5), sides.percentile(name, 0.95)
        rows.append(Finding(what, f"{median:.1f} ms (95th percentile {high:.1f} ms)"))
    if command is not None:
        seconds, memory = command["seconds"], max(command["mebibytes"])
        rows.append(
            Finding(
                f"`pixelwise predict {EXPORTS[exports[0]][0]} IMAGE`, shell to mask on disk",
                f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), {memory:.0f} MiB",
            )
        )
    return rows


def network_rows(sides: Sides, exports: Sequence[str]) -> list[Finding]:
    """Return the rows on images of the networks' size."""
    what = f"images/s at {SIZE} px"
    rows = [Finding(f"{what}: run with PyTorch, network alone", f"{sides.rate('run', 'network'):.0f} images/s")]
    for name in exports:
        measured = f"{sides.rate(name, 'network'):.0f} images/s, test mIoU at {SIZE} px {sides.first[name]['miou']:.3f}"
        rows.append(Finding(f"{what}: exported file, {name}", measured))
    peers = {}
    if "TensorFlow" in sides.rounds:
        rates = [turn["images_per_second"] for turn in sides.rounds["TensorFlow"]]
        peers["TensorFlow's tutorial"] = statistics.median(rates)
    if "smp" in sides.rounds:
        peers["U-Net of segmentation_models_pytorch"] = sides.rate("smp", "network")
    if YOLO in sides.rounds:
        parts = ("all threads", "a thread each")
        peers[f"Ultralytics {YOLO} in ONNX Runtime"] = max(sides.rate(YOLO, part) for part in parts)
    fastest = max(exports, key=lambda name: sides.rate(name, "network"), default=None)
    for peer, rate in peers.items():
        ratio = "" if fastest is None else f" ({fastest}: {sides.rate(fastest, 'network') / rate:.1f}×)"
        rows.append(Finding(f"{what}: {peer}", f"{rate:.0f} images/s{ratio}"))
    return rows


def file_rows(sides: Sides, exports: Sequence[str]) -> list[Finding]:
    """Return the rows on JPEG files of 500x375 pixels."""
    rows = []
    ours = {name: sides.rate(name, "masks") for name in ("run", *exports)}
    for name, rate in ours.items():
        rows.append(Finding(f"images/s from JPEG files to masks as PNG files: {name}", f"{rate:.1f} images/s"))
    if "smp" in sides.rounds:
        theirs = sides.rate("smp", "masks")
        best = max(ours, key=ours.__getitem__)
        what = "the same with segmentation_models_pytorch, a DataLoader and Pillow"
        rows.append(Finding(what, f"{theirs:.1f} images/s ({best}: {ours[best] / theirs:.1f}×)"))
    folder = sides.rate("run", "folder")
    rows.append(Finding("images/s of `predict_folder`: masks, overlays and tables", f"{folder:.1f} images/s"))
    if "smp" in sides.rounds:
        theirs = sides.rate("smp", "folder")
        what = "the same with segmentation_models_pytorch one by one: masks and overlays as PNG"
        rows.append(Finding(what, f"{theirs:.1f} images/s (pixelwise: {folder / theirs:.1f}×)"))
    rows.append(Finding("`predictor(path)`: one image in Python", f"{1000 / sides.rate('run', 'single'):.1f} ms"))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    import pixelwise as pw

    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", type=existing, help="a run of the data at 128 px; default: three epochs are trained")
    parser.add_argument("--weights", type=existing, help="see against_tutorial.py")
    parser.add_argument("--peer-script", type=existing, help="see against_tutorial.py")
    parser.add_argument("--peer-python", help="an interpreter with tensorflow-cpu")
    parser.add_argument("--yolo-python", help="an interpreter with ultralytics and onnx")
    arguments = parse(parser, argv)
    packages = ("torch", "onnxruntime", "openvino", "segmentation-models-pytorch", "pillow", "numpy", "pixelwise")
    content = describe(arguments, packages)
    quick = arguments.quick
    count, size, rounds = (6, (96, 64), 2) if quick else (arguments.images, (500, 375), arguments.rounds)
    data = pw.load_dataset(arguments.data)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        say(f"writing {count} images")
        write_images(data, folder / "images", count, size)
        write_split(data, "train", folder / "train.npz")
        write_split(data, "test", folder / "test.npz")
        if arguments.run is None:
            make_run(data, folder / "run", quick)
        run = arguments.run or folder / "run"
        say("exporting")
        exports = export_files(run, folder / "exports", quick)
        # The files of all rounds stay until the end: for some seconds after many files were removed, ext4 needs longer
        # to make new ones.
        (folder / "outputs").mkdir()
        common = {"folder": str(folder / "images"), "outputs": str(folder / "outputs"), "rounds": rounds}
        sides = Sides(stack)
        sides.add("run", start(SIDES, "run", quick, model=str(run), **common))
        for name, path in exports.items():
            sides.add(name, start(SIDES, "exported", quick, path=str(path), split=str(folder / "test.npz"), **common))
        add_peers(sides, arguments, folder, rounds, common)
        sides.measure(rounds)
        image = next((folder / "images").iterdir())
        command = time_command(exports["ONNX"], image, folder, rounds) if "ONNX" in exports else None
        table = findings_table(results(sides, list(exports), command))
    finish(arguments.out, content | {"first": sides.first, "rounds": sides.rounds, "command": command, "table": table})


if __name__ == "__main__":
    main()
