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
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from typing import Any

from common import Child, Finding, findings_table, machine, say, use_cores, write_json
from peak_memory import peak_memory

HERE = Path(__file__).resolve().parent
GIB = 2**30
BATCH_SIZE = 64


class Bench:
    """The arguments, functions that start child processes, and the measurements so far."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.figures: dict[str, Any] = {}

    def ours(self, job: str, settings: dict[str, Any], **more: Any) -> Child:
        """Start a pixelwise process with a job of tutorial_ours.py."""
        if settings["preset"] == "tutorial":
            settings = settings | {"encoder_weights": str(self.arguments.weights)}
        spec = {"job": job, "data": str(self.arguments.data), "settings": settings} | more
        return Child(sys.executable, HERE / "tutorial_ours.py", json.dumps(spec))

    def theirs(self, script: Path, *more: object) -> Child:
        """Start a process in the peer's interpreter."""
        return Child(self.arguments.peer_python, script, *map(str, more))

    @property
    def has_peer(self) -> bool:
        """True if the peer's curve was given or can be measured."""
        return bool(self.arguments.peer_json or (self.arguments.peer_script and self.arguments.peer_python))

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
            curve = json.loads(path.read_text(encoding="utf-8"))["curve"]
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
    pairs: dict[str, list[dict[str, float]]] = {"training": [], "predicting": []}
    say(f"throughput: {count} rounds in turns of {epochs * bench.steps_per_epoch} training steps, then of prediction")
    with bench.theirs(
        HERE / "tutorial_peer.py", arguments.peer_script, arguments.data, arguments.weights, count, epochs
    ) as peer:
        peer.result()
        with bench.ours("rounds", {"preset": "tutorial"}, rounds=count, epochs=epochs) as ours:
            ours.result()
            for name in ("training", "predicting"):
                for _ in range(count):
                    pair = {
                        "theirs": peer.turn()["images_per_second"],
                        "ours": ours.turn()["images_per_second"],
                    }
                    say(f"  {name}: {pair['theirs']:.1f} theirs, {pair['ours']:.1f} ours")
                    pairs[name].append(pair)
            # The default preset is compared with the same rounds of the peer.
            pairs["predicting, default"] = [
                pair | {"ours": ours.turn()["images_per_second"]} for pair in pairs["predicting"]
            ]
        versions = peer.turn()["versions"]
    bench.figures["throughput"] = {"versions": versions, "images_per_second": pairs}
    return [
        ratio_finding(f"images/s {what} over TensorFlow", target, pairs[name])
        for name, what, target in (
            ("training", "training, `--preset tutorial`, batches of 64,", 2.5),
            ("predicting", "predicting at 128 px, `--preset tutorial`", None),
            ("predicting, default", "predicting at 128 px, `--preset default`", None),
        )
    ]


def ratio_finding(what: str, target: float | None, pairs: list[dict[str, float]]) -> Finding:
    """Return a row with our rate over theirs."""
    ratios = [pair["ours"] / pair["theirs"] for pair in pairs]
    ours, theirs = (median(pair[side] for pair in pairs) for side in ("ours", "theirs"))
    measured = f"{median(ratios):.2f}× ({min(ratios):.2f}–{max(ratios):.2f}; {ours:.0f} over {theirs:.0f})"
    target_text = "–" if target is None else f"≥ {target}×"
    return Finding(what, target_text, measured, None if target is None else median(ratios) >= target)


def tutorial(bench: Bench) -> list[Finding]:
    """Train the tutorial preset for as many steps as the peer."""
    steps = bench.arguments.steps
    settings = {"preset": "tutorial", "epochs": max(1, steps // bench.steps_per_epoch)}
    results = over_seeds(bench, "figures", settings)
    bench.figures["tutorial"] = results
    what = f"test mIoU of `--preset tutorial` at 128 px after {results[0]['last']['step']:.0f} steps"
    findings = miou_findings(what, 0.66, results)
    if bench.has_peer:
        best, earlier = bench.peer_best, " (measured earlier)" if bench.arguments.peer_json else ""
        measured = f"{best['miou']:.3f} (accuracy {best['accuracy']:.3f}), at step {best['step']}"
        findings.append(Finding(f"TensorFlow's best test mIoU in {steps} steps{earlier}", "–", measured))
    return findings


def default(bench: Bench) -> list[Finding]:
    """Train the default preset for a minute."""
    seconds = 5 if bench.arguments.quick else 60
    results = over_seeds(bench, "within", {"preset": "default"}, seconds=seconds)
    bench.figures["default"] = {"seconds": seconds, "seeds": results}
    return miou_findings(f"test mIoU of `--preset default` at 128 px after {seconds} s of training", 0.73, results)


def over_seeds(bench: Bench, job: str, settings: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Run a job for each seed."""
    results = []
    for seed in range(bench.arguments.seeds):
        say(f"{job}: --preset {settings['preset']}, {settings.get('epochs', 'its')} epochs, seed {seed}")
        with bench.ours(job, settings | {"seed": seed}, **more) as child:
            results.append({"seed": seed} | child.result())
    return results


def miou_findings(what: str, target: float, results: list[dict[str, Any]]) -> list[Finding]:
    """Return rows with the mean over seeds, of the last weights and of the best by validation."""
    if not all("last" in result for result in results):
        return [Finding(what, f"≥ {target}", "no epoch ended in that time", False)]
    findings = []
    for kind, name in (("last", "last weights"), ("best", "best by validation")):
        mious = [result[kind]["miou"] for result in results]
        accuracy = mean(result[kind]["accuracy"] for result in results)
        measured = f"{mean(mious):.3f} (min {min(mious):.3f} of {len(mious)} seeds; accuracy {accuracy:.3f})"
        findings.append(Finding(f"{what}, {name}", f"≥ {target}", measured, mean(mious) >= target))
    return findings


def until(bench: Bench) -> list[Finding]:
    """Measure the seconds of training until the test split's mIoU is TensorFlow's best."""
    best = bench.peer_best
    earlier = ", measured earlier" if bench.arguments.peer_json else ""
    bench.figures["until"] = {"target": best["miou"], "their_seconds": best["train_s"], "runs": {}}
    findings = []
    short = 2 if bench.arguments.quick else bench.arguments.short_epochs
    for name, settings in (("as it is", {}), (f"--epochs {short}", {"epochs": short})):
        results = over_seeds(bench, "until", {"preset": "default"} | settings, miou=best["miou"])
        bench.figures["until"]["runs"][name] = results
        reached = [result["seconds"] for result in results if result["seconds"] is not None]
        what = (
            f"seconds until TensorFlow's best ({best['miou']:.3f}), TensorFlow over "
            f"`--preset default` ({name}){earlier}"
        )
        if len(reached) < len(results):
            measured = f"reached by {len(reached)} of {len(results)} seeds"
            findings.append(Finding(what, "≥ 20×", measured, False))
            continue
        theirs, ours = best["train_s"], median(reached)
        measured = f"{theirs / ours:.1f}× ({theirs:.0f} s over {ours:.1f} s; slowest seed {max(reached):.1f} s)"
        findings.append(Finding(what, "≥ 20×", measured, theirs / ours >= 20))
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
        command = [sys.executable, "-m", "pixelwise", "demo", "--out", str(Path(folder, "run"))]
        started = time.perf_counter()
        peak, code = peak_memory(subprocess.Popen(command, env=env, stdout=sys.stderr, start_new_session=True))
        seconds = time.perf_counter() - started
    if code:
        sys.exit(f"pixelwise demo ended with exit code {code}: see above")
    bench.figures["demo"] = {"peak_bytes": peak, "seconds": seconds}
    return [
        Finding("peak memory of `pixelwise demo`", "< 3 GiB", f"{peak / GIB:.2f} GiB", peak < 3 * GIB),
        Finding("time of `pixelwise demo`", "< 180 s", f"{seconds:.0f} s", seconds < 180),
    ]


PARTS: dict[str, Callable[[Bench], list[Finding]]] = {
    part.__name__: part for part in (throughput, tutorial, until, default, demo)
}


def read_arguments() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory of Oxford-IIIT Pet")
    parser.add_argument(
        "--weights", type=Path, required=True, help="safetensors file of mobilenetv2_100 for both sides"
    )
    parser.add_argument("--peer-script", type=Path, help="TensorFlow's tutorial: SCRIPT DATA WEIGHTS STEPS OUT")
    parser.add_argument("--peer-python", default=None, help="an interpreter with tensorflow-cpu")
    parser.add_argument("--peer-json", type=Path, help="take the peer's curve from an earlier run's file")
    parser.add_argument("--steps", type=int, default=150, help="training steps for both sides")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--short-epochs", type=int, default=10, help="epochs of the short default run")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores for either side")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="the parts to measure")
    parser.add_argument("--quick", action="store_true", help="few steps: check that the script runs")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.steps, arguments.seeds = min(arguments.steps, 25), 1
    if arguments.only is None:
        arguments.only = [name for name in PARTS if not (arguments.quick and name == "demo")]
    for name in ("data", "weights", "peer_script", "peer_json"):
        path = getattr(arguments, name)
        if path is not None and not path.exists():
            parser.error(f"--{name.replace('_', '-')} {path}: no such file or directory")
        setattr(arguments, name, path and path.resolve())
    needs_peer = "throughput" in arguments.only or ("until" in arguments.only and not arguments.peer_json)
    if needs_peer and not (arguments.peer_script and arguments.peer_python and shutil.which(arguments.peer_python)):
        parser.error("these parts need --peer-script and an interpreter as --peer-python")
    if arguments.out.exists():
        parser.error(f"--out {arguments.out}: exists already")
    return arguments


def main() -> None:
    arguments = read_arguments()
    use_cores(arguments.cores)
    bench = Bench(arguments)
    options = {name: getattr(arguments, name) for name in ("steps", "seeds", "short_epochs", "quick", "only")}
    bench.figures |= {
        "machine": machine(("pixelwise", "torch", "timm", "lightning-fabric")),
        "options": options,
    }
    findings = []
    for name in arguments.only:
        started = time.perf_counter()
        findings += PARTS[name](bench)
        say(f"{name}: measured in {time.perf_counter() - started:.0f} s\n")
        write_json(arguments.out, bench.figures, findings)  # after each part: a later one may fail
    print(findings_table(findings))
    say(f"\nfigures: {arguments.out}")


if __name__ == "__main__":
    main()
