"""Measure the time of one image per call of `Predictor` while another process keeps a core busy.

usage: python benchmarks/latency_under_load.py --out latency_under_load.json [--size 256] [--rounds 7] [--quick]

Two sides predict the same images, one per call. The side "limited" is `Predictor` as it is. The side "fixed" has a
constant number of threads. Each round measures a side on the quiet machine, and then beside a process that computes
without a pause and that the operating system may run on any of the cores. See README.md.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from _common import Finding, Turns, describe, findings_table, finish, make_parser, parse, run_side, say, start

ENCODER, QUICK_ENCODER = "tf_efficientnet_lite0", "mobilenetv3_small_050"

SETTLE_SECONDS = 0.5
"""Time in seconds for the scheduler, and for `Predictor` to measure the idle cores, before calls are measured."""

# --- the sides, each in a process of its own


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy within the block."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def calls(function: Callable[[], Any], seconds: float) -> list[float]:
    """Call a function for some seconds and return the duration of each call in seconds. At least three are measured."""
    durations: list[float] = []
    while sum(durations) < seconds or len(durations) < 3:
        started = time.perf_counter()
        function()
        durations.append(time.perf_counter() - started)
    return durations


def side(turns: Turns, fixed: bool, size: int, encoder: str, seconds: float, settle: float, rounds: int) -> None:
    """Measure single calls of `Predictor` on the quiet machine and beside a busy process.

    Args:
        turns: the turns of this side.
        fixed: True for a constant number of threads.
        size: side in pixels of the model's input.
        encoder: name of the encoder. Its weights are random, because they do not change the time.
        seconds: duration of each measurement.
        settle: seconds of calls before each measurement.
        rounds: number of turns.
    """
    import numpy as np
    import torch

    import pixelwise as pw
    from pixelwise.runtime.process import configure

    if fixed:
        configure(torch.get_num_threads(), keep_freed_memory=False, quiet_warnings=False, log_level=None)
    model = pw.create_model(encoder, classes=("pet", "background", "border"), encoder_weights="none", image_size=size)
    predictor = pw.Predictor(model, "cpu")
    image = np.random.default_rng(0).integers(0, 256, (375, 500, 3), np.uint8)

    def measure() -> list[float]:
        calls(lambda: predictor(image), settle)
        return calls(lambda: predictor(image), seconds)

    try:
        measure()
        turns.wait()
        for _ in range(rounds):
            quiet = measure()
            with busy_process():
                loaded = measure()
            turns.wait(seconds_quiet=statistics.median(quiet), seconds_loaded=statistics.median(loaded))
    finally:
        configure(None, keep_freed_memory=False, quiet_warnings=False, log_level=None)  # --quick has one process


JOBS = {"side": side}

# --- the comparison


def results(measured: dict[str, list[dict[str, float]]]) -> list[Finding]:
    """Return the rows of the table: the medians of the rounds."""
    rows = []
    for name, turns in measured.items():
        quiet, loaded = (statistics.median(turn[f"seconds_{part}"] for turn in turns) for part in ("quiet", "loaded"))
        ratios = sorted(turn["seconds_loaded"] / turn["seconds_quiet"] for turn in turns)
        label = "`predictor(image)`" if name == "limited" else "the same with a constant number of threads"
        rows.append(Finding(f"{label}: quiet machine", f"{1000 * quiet:.1f} ms"))
        rows.append(
            Finding(
                f"{label}: beside a busy process",
                f"{1000 * loaded:.1f} ms ({statistics.median(ratios):.2f}×, {ratios[0]:.2f} to {ratios[-1]:.2f}×)",
            )
        )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=256, help="side in pixels of the model's input")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parse(parser, argv)
    content = describe(arguments, ("torch", "pixelwise"))
    shared: dict[str, Any] = {"size": arguments.size, "encoder": ENCODER, "seconds": 1.5, "settle": SETTLE_SECONDS}
    rounds = arguments.rounds
    if arguments.quick:
        rounds, shared = 1, {"size": 32, "encoder": QUICK_ENCODER, "seconds": 0.02, "settle": 0.0}
    sides = {
        name: start(__file__, "side", arguments.quick, fixed=name == "fixed", rounds=rounds, **shared)
        for name in ("limited", "fixed")
    }
    for each in sides.values():
        each.result()
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, each in sides.items():
            measured[name].append(each.turn())
        say(f"round {number + 1} of {rounds}")
    for each in sides.values():
        each.__exit__(None, None, None)
    finish(arguments.out, content | {"rounds": measured, "table": findings_table(results(measured))})


if __name__ == "__main__" and not run_side(JOBS):
    main()
