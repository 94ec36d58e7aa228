"""What an engine under the training loop costs: microseconds of a step so small that little else is left.

Compares a plain torch loop, Lightning Fabric and Accelerate, in float32 and under bfloat16 autocast. Each is a
process of its own; they take turns, and an engine's cost is its rounds against the plain rounds beside them.
Prints one table and writes one JSON.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from common import Child, machine, markdown_table, report, rest, say, use_cores, write_json

PRECISIONS = ("float32", "bf16-mixed")
NEEDS = {"plain": "torch", "fabric": "lightning_fabric", "accelerate": "accelerate"}
NAMES = {"plain": "plain torch", "fabric": "Lightning Fabric", "accelerate": "Accelerate"}

Step = Callable[[], None]


def tiny_problem() -> tuple[Any, Any, Any]:
    """A model of two small layers, pixelwise's optimizer for it, and a batch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True), torch.randn(8, 16)


def plain(precision: str) -> Step:
    import torch

    model, optimizer, batch = tiny_problem()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32"):
            loss = model(batch).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def engine_step(engine: Any, model: Any, optimizer: Any, batch: Any) -> Step:
    """A training step that leaves the backward pass to an engine."""

    def step() -> None:
        loss = model(batch).float().square().mean()
        engine.backward(loss)
        optimizer.step()
        optimizer.zero_grad()

    return step


def fabric(precision: str) -> Step:
    from lightning_fabric import Fabric

    engine = Fabric(accelerator="cpu", devices=1, precision="32-true" if precision == "float32" else "bf16-mixed")
    model, optimizer, batch = tiny_problem()
    model, optimizer = engine.setup(model, optimizer)

    return engine_step(engine, model, optimizer, batch)


def accelerate(precision: str) -> Step:
    from accelerate import Accelerator

    engine = Accelerator(cpu=True, mixed_precision="no" if precision == "float32" else "bf16")
    model, optimizer, batch = tiny_problem()
    model, optimizer = engine.prepare(model, optimizer)

    return engine_step(engine, model, optimizer, batch)


ENGINES: dict[str, Callable[[str], Step]] = {"plain": plain, "fabric": fabric, "accelerate": accelerate}


def work(engine: str, precision: str, steps: int, rounds: int) -> None:
    """A child's part: its engine's microseconds a step, round by round, by turns."""
    import torch

    # So small a step gives a second thread nothing to do but wait, and what is measured is Python.
    torch.set_num_threads(1)
    step = ENGINES[engine](precision)
    for _ in range(max(10, steps // 10)):
        step()
    figures: dict[str, Any] = {"ready": True}
    for _ in range(rounds):
        rest(**figures)
        started = time.perf_counter()
        for _ in range(steps):
            step()
        figures = {"microseconds": (time.perf_counter() - started) / steps * 1e6}
    report(**figures)


def measure(engines: list[str], precision: str, steps: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds a step of each engine, one figure a round."""
    children = {}
    for engine in engines:
        say(f"starting {NAMES[engine]}, {precision}")
        children[engine] = Child(
            sys.executable, __file__, "--work", engine, precision, f"--steps={steps}", f"--rounds={rounds}"
        )
        children[engine].result()
    found: dict[str, list[float]] = {engine: [] for engine in engines}
    for number in range(rounds):
        for engine, child in children.items():
            found[engine].append(child.turn()["microseconds"])
        shown = ", ".join(f"{NAMES[engine]} {values[-1]:.0f}" for engine, values in found.items())
        say(f"  round {number + 1} of {rounds}: {shown} µs a step")
    for child in children.values():
        with child:
            child.finish()
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Medians and ranges; what an engine adds is the median over rounds of its figure less the plain one beside it."""
    rows = []
    for precision, engines in found.items():
        for engine, values in engines.items():
            added = median(value - plain for value, plain in zip(values, engines["plain"], strict=True))
            spread = f"{min(values):.0f}–{max(values):.0f}"
            rows.append((precision, NAMES[engine], f"{median(values):.0f}", spread, f"{added:+.0f}"))
    return markdown_table(("precision", "engine", "µs a step", "range", "over plain"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="steps a round")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each engine")
    parser.add_argument("--cores", type=int, default=2, help="CPU cores")
    parser.add_argument("--quick", action="store_true", help="see whether it runs; the figures mean nothing")
    parser.add_argument("--out", type=Path, help="the JSON")
    parser.add_argument("--work", nargs=2, metavar=("ENGINE", "PRECISION"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work, arguments.steps, arguments.rounds)
        return
    if arguments.out is None or arguments.out.exists():
        parser.error("--out is needed" if arguments.out is None else f"--out {arguments.out}: is already there")
    if arguments.quick:
        arguments.steps, arguments.rounds = 100, 3
    use_cores(arguments.cores)
    engines = [name for name, module in NEEDS.items() if importlib.util.find_spec(module)]
    for missing in NEEDS.keys() - engines:
        say(f"{NAMES[missing]} is not installed and left out: pip install {NEEDS[missing].replace('_', '-')}")
    figures = {
        "machine": machine(("torch", "lightning-fabric", "accelerate")),
        "options": {"steps": arguments.steps, "rounds": arguments.rounds},
    }
    found = {each: measure(engines, each, arguments.steps, arguments.rounds) for each in PRECISIONS}
    write_json(arguments.out, figures | {"microseconds_per_step": found})
    print(table(found))


if __name__ == "__main__":
    main()
