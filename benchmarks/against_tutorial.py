"""Compare TensorFlow's segmentation tutorial and pixelwise: the same images and encoder weights, in one run.

The script prints a table and writes a JSON file; see README.md beside this file. Each measured process is a child that
works alone while the others sleep. This process only controls them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import Any

from _common import (
    Child,
    Finding,
    Local,
    describe,
    existing,
    findings_table,
    make_parser,
    parse,
    render,
    say,
    start,
    write_json,
)
from _peak_memory import peak_memory

HERE = Path(__file__).resolve().parent
GIB = 2**30
BATCH_SIZE = 64
FAST_EPOCHS = 24


class Bench:
    """The arguments, functions that start the sides, and the measurements so far.

    Attributes:
        peer_load_seconds: seconds in which the peer read its images, after `peer_curve`. None if they are not known.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.figures: dict[str, Any] = {}
        self.peer_load_seconds: float | None = None

    def ours(self, job: str, settings: dict[str, Any], **more: Any) -> Child | Local:
        """Start pixelwise's side with a job of _tutorial_ours.py."""
        arguments = self.arguments
        if arguments.quick:
            settings = {"image_size": 32, "encoder_weights": "none", "encoder_training": "none", "epochs": 2} | settings
        elif settings["preset"] == "tutorial":
            settings = settings | {"encoder_weights": str(arguments.weights)}
        options = {"data": str(arguments.data), "settings": settings} | more
        return start(HERE / "_tutorial_ours.py", job, arguments.quick, **options)

    def theirs(self, script: Path, *more: object) -> Child:
        """Start a process in the peer's interpreter."""
        return Child(self.arguments.peer_python, script, *map(str, more))

    @property
    def can_run_peer(self) -> bool:
        """True if the peer's script and an interpreter for it were given."""
        return bool(self.arguments.peer_script and self.arguments.peer_python)

    @property
    def has_curve(self) -> bool:
        """True if the peer's curve was given or can be measured."""
        return self.can_run_peer or self.arguments.peer_json is not None

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps of a pass over the training images. The last batch has fewer than 64 images on both sides."""
        listed = (self.arguments.data / "annotations" / "trainval.txt").read_text().splitlines()
        images = len([line for line in listed if line.strip() and not line.startswith("#")])
        return -(-images // BATCH_SIZE)

    @cached_property
    def peer_curve(self) -> list[dict[str, Any]]:
        """The peer's test metrics every 25 steps up to --steps, of this run or measured earlier."""
        arguments = self.arguments
        with tempfile.TemporaryDirectory(prefix="peer-") as folder:
            path = arguments.peer_json or Path(folder, "curve.json")
            if path != arguments.peer_json:
                say(f"TensorFlow's tutorial, {arguments.steps} steps")
                command = (arguments.peer_script, arguments.data, arguments.weights, arguments.steps, path)
                with self.theirs(*command) as peer:
                    peer.finish()
            content = json.loads(path.read_text(encoding="utf-8"))
            curve, self.peer_load_seconds = content["curve"], content.get("load_s")
        self.figures["peer"] = {"measured_in_this_run": arguments.peer_json is None, "curve": curve}
        points = [point for point in curve if point["step"] <= arguments.steps]
        if not points:
            sys.exit(f"{arguments.peer_json}: has no measurement up to step {arguments.steps}")
        return points

    @property
    def peer_best(self) -> dict[str, Any]:
        """The point of the peer's curve with the best test mIoU."""
        return max(self.peer_curve, key=lambda point: point["miou"])


def throughput(bench: Bench) -> list[Finding]:
    """Measure images per second in training and in prediction.

    The sides take turns, and ratios are computed for each pair of turns, because a machine's speed drifts.
    """
    arguments = bench.arguments
    count, epochs = (2, 1) if arguments.quick else (5, 2)
    rates: dict[str, dict[str, list[float]]] = {}
    say(f"throughput: {count} rounds in turns of {epochs * bench.steps_per_epoch} training steps, then of prediction")
    with ExitStack() as stack:
        peer = None
        if bench.can_run_peer:
            inputs = (arguments.peer_script, arguments.data, arguments.weights)
            peer = stack.enter_context(bench.theirs(HERE / "_tutorial_peer.py", *inputs, count, epochs, count))
            peer.result()
        else:
            say("  TensorFlow is left out: --peer-script and --peer-python are needed")
        ours = stack.enter_context(bench.ours("rounds", {"preset": "tutorial"}, rounds=count, epochs=epochs))
        ours.result()
        for name in ("training", "prediction"):
            turns = rates[name] = {"theirs": [], "ours": []}
            for _ in range(count):
                if peer is not None:
                    turns["theirs"].append(peer.turn()["images_per_second"])
                turns["ours"].append(ours.turn()["images_per_second"])
                say(f"  {name}: " + ", ".join(f"{values[-1]:.1f} {side}" for side, values in turns.items() if values))
        # The default preset is compared with the same rounds of the peer.
        defaults = [ours.turn()["images_per_second"] for _ in range(count)]
        rates["prediction, default"] = rates["prediction"] | {"ours": defaults}
        versions = {} if peer is None else peer.turn()["versions"]
    bench.figures["throughput"] = {"versions": versions, "images_per_second": rates}
    return [
        ratio_finding(f"images/s in {what}", rates[name])
        for name, what in (
            ("training", "training, batches of 64, `--preset tutorial`"),
            ("prediction", "prediction at 128 px, `--preset tutorial`"),
            ("prediction, default", "prediction at 128 px, `--preset default`"),
        )
    ]


def ratio_finding(what: str, rates: dict[str, list[float]]) -> Finding:
    """Return a row with our rate divided by theirs, or with our rate if theirs was not measured."""
    ours = median(rates["ours"])
    if not rates["theirs"]:
        return Finding(what, f"{ours:.0f}")
    ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates["theirs"], strict=True)]
    spread = f"{min(ratios):.2f}–{max(ratios):.2f}"
    measured = f"{median(ratios):.2f}× ({spread}; {ours:.0f} over {median(rates['theirs']):.0f})"
    return Finding(f"{what} divided by TensorFlow", measured)


def tutorial(bench: Bench) -> list[Finding]:
    """Train the tutorial preset for as many steps as the peer."""
    steps = bench.arguments.steps
    epochs = {} if bench.arguments.quick else {"epochs": max(1, steps // bench.steps_per_epoch)}
    results = over_seeds(bench, "figures", {"preset": "tutorial"} | epochs)
    bench.figures["tutorial"] = results
    what = f"test mIoU of `--preset tutorial` at 128 px after {results[0]['last']['step']:.0f} steps"
    findings = miou_findings(what, results)
    if bench.has_curve:
        best, earlier = bench.peer_best, " (measured earlier)" if bench.arguments.peer_json else ""
        measured = f"{best['miou']:.3f} (accuracy {best['accuracy']:.3f})"
        findings.append(Finding(f"TensorFlow's best test mIoU in {steps} steps{earlier}", measured))
    return findings


def default(bench: Bench) -> list[Finding]:
    """Train the default preset for a minute."""
    seconds = 60
    limit = {"max_epochs": 2} if bench.arguments.quick else {}
    results = over_seeds(bench, "within", {"preset": "default"}, seconds=seconds, **limit)
    bench.figures["default"] = {"seconds": seconds, "seeds": results}
    return miou_findings(f"test mIoU of `--preset default` at 128 px after {seconds} s of training", results)


def over_seeds(bench: Bench, job: str, settings: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Run a job for each seed."""
    results = []
    for seed in range(bench.arguments.seeds):
        say(f"{job}: --preset {settings['preset']}, {settings.get('epochs', 'its')} epochs, seed {seed}")
        with bench.ours(job, settings | {"seed": seed}, **more) as child:
            results.append({"seed": seed} | child.result())
    return results


def miou_findings(what: str, results: list[dict[str, Any]]) -> list[Finding]:
    """Return rows with the mean over seeds, of the last weights and of the best by validation."""
    if not all("last" in result for result in results):
        return [Finding(what, "no epoch ended in that time")]
    findings = []
    for kind, name in (("last", "weights of the last epoch"), ("best", "weights of the best epoch by validation")):
        mious = [result[kind]["miou"] for result in results]
        accuracy = mean(result[kind]["accuracy"] for result in results)
        measured = f"{mean(mious):.3f} (min {min(mious):.3f} of {len(mious)} seeds; accuracy {accuracy:.3f})"
        findings.append(Finding(f"{what}, {name}", measured))
    return findings


def until(bench: Bench) -> list[Finding]:
    """Measure the seconds of training until the test split's mIoU is TensorFlow's best.

    Each ratio is given with and without the time to read and decode the images.
    """
    if not bench.has_curve:
        say("  left out: --peer-json, or --peer-script and --peer-python, are needed")
        return []
    best = bench.peer_best
    earlier = ", measured earlier" if bench.arguments.peer_json else ""
    bench.figures["until"] = {"target": best["miou"], "their_seconds": best["train_s"], "runs": {}}
    findings = []
    short = bench.arguments.short_epochs
    runs = {
        "`--preset default`": {"preset": "default"},
        f"`--preset default --epochs {short}`": {"preset": "default", "epochs": short},
        f"`--preset fast --epochs {FAST_EPOCHS}`": {
            "preset": "fast",
            "epochs": 1 if bench.arguments.quick else FAST_EPOCHS,
        },
    }
    for name, settings in runs.items():
        results = over_seeds(bench, "until", settings, miou=best["miou"])
        bench.figures["until"]["runs"][name] = results
        reached = [result["seconds"] for result in results if result["seconds"] is not None]
        what = f"seconds of training until TensorFlow's best test mIoU, TensorFlow divided by {name}{earlier}"
        if len(reached) < len(results):
            measured = f"reached by {len(reached)} of {len(results)} seeds"
            findings.append(Finding(what, measured))
            continue
        theirs, ours = best["train_s"], median(reached)
        measured = f"{theirs / ours:.1f}× ({theirs:.0f} s over {ours:.1f} s; slowest seed {max(reached):.1f} s)"
        if bench.peer_load_seconds is not None:
            load = median(result["load_seconds"] for result in results)
            measured += f"; with reading the images {(theirs + bench.peer_load_seconds) / (ours + load):.1f}×"
        findings.append(Finding(what, measured))
    return findings


def demo(bench: Bench) -> list[Finding]:
    """Measure the demo's peak memory and time with empty caches."""
    say("pixelwise demo")
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        home = Path(folder, "home")
        images = Path(folder, "data", "oxford-iiit-pet")
        home.mkdir()
        images.parent.mkdir()
        images.symlink_to(bench.arguments.data, target_is_directory=True)
        env = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "TORCH_HOME", "HF_"))}
        env |= {"HOME": str(home), "PIXELWISE_DATA": str(images.parent), "CUDA_VISIBLE_DEVICES": ""}
        demo = ["--version"] if bench.arguments.quick else ["demo", "--out", str(Path(folder, "run"))]
        command = [sys.executable, "-m", "pixelwise", *demo]
        started = time.perf_counter()
        peak, code = peak_memory(subprocess.Popen(command, env=env, stdout=2, start_new_session=True))
        seconds = time.perf_counter() - started
    if code:
        sys.exit(f"pixelwise demo ended with exit code {code}: see above")
    bench.figures["demo"] = {"peak_bytes": peak, "seconds": seconds}
    return [
        Finding("peak memory of `pixelwise demo`, real images", f"{peak / GIB:.2f} GiB"),
        Finding("time of `pixelwise demo`, real images", f"{seconds:.0f} s"),
    ]


PARTS: dict[str, Callable[[Bench], list[Finding]]] = {
    part.__name__: part for part in (throughput, tutorial, until, default, demo)
}


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--data", type=existing, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument("--weights", type=existing, help="safetensors file of mobilenetv2_100 for both sides")
    parser.add_argument("--peer-script", type=existing, help="TensorFlow's tutorial: SCRIPT DATA WEIGHTS STEPS OUT")
    parser.add_argument("--peer-python", help="an interpreter with tensorflow-cpu")
    parser.add_argument("--peer-json", type=existing, help="take the peer's curve from an earlier run's file")
    parser.add_argument("--steps", type=int, default=150, help="training steps for both sides")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--short-epochs", type=int, default=10, help="epochs of the short default run")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="the parts to measure")
    arguments = parse(parser, argv)
    if arguments.quick:
        arguments.steps, arguments.seeds, arguments.short_epochs = min(arguments.steps, 25), 1, 1
    if arguments.weights is None and (arguments.peer_script or not arguments.quick):
        parser.error("--weights is required")
    if arguments.peer_python and not shutil.which(arguments.peer_python):
        parser.error(f"--peer-python {arguments.peer_python}: not found")
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = read_arguments(argv)
    bench = Bench(arguments)
    content = describe(arguments, ("pixelwise", "torch", "timm", "lightning-fabric"))
    findings = []
    for name in arguments.only:
        started = time.perf_counter()
        findings += PARTS[name](bench)
        say(f"{name}: measured in {time.perf_counter() - started:.0f} s\n")
        table = {"table": findings_table(findings)}
        write_json(arguments.out, content | bench.figures | table)  # after each part: a later one may fail
    print(render(content | table))


if __name__ == "__main__":
    main()
