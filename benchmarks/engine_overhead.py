"""Measure the overhead of a training engine: the time of a step that is so small that little else remains.

Compares a plain torch loop, Lightning Fabric and Accelerate in float32 and with bfloat16 autocast. Each is a process of
its own, and they take turns. The overhead is the difference to the plain loop in the same round. The script prints a
table and writes a JSON file.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from _common import Turns, describe, finish, make_parser, parse, run_side, say, start

PRECISIONS = ("float32", "bf16-mixed")
NEEDS = {"plain": "torch", "fabric": "lightning_fabric", "accelerate": "accelerate"}
NAMES = {"plain": "plain torch", "fabric": "Lightning Fabric", "accelerate": "Accelerate"}

Step = Callable[[], None]


def tiny_problem() -> tuple[Any, Any, Any]:
    """Return a model of two small layers, the optimizer that pixelwise uses, and a batch."""
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
    """Return a training step whose backward pass is run by an engine."""

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


def work(turns: Turns, engine: str, precision: str, steps: int, rounds: int) -> None:
    """Measure an engine's microseconds per step, one round per turn."""
    import torch

    # The step is too small for a second thread. Its time is that of Python code.
    torch.set_num_threads(1)
    step = ENGINES[engine](precision)
    for _ in range(max(10, steps // 10)):
        step()
    turns.wait()
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        turns.wait(microseconds=(time.perf_counter() - started) / steps * 1e6)


JOBS = {"work": work}


def measure(engines: list[str], precision: str, steps: int, rounds: int, quick: bool) -> dict[str, list[float]]:
    """Return the microseconds per step of each engine in each round."""
    with ExitStack() as stack:
        sides = {}
        for engine in engines:
            say(f"starting {NAMES[engine]}, {precision}")
            side = start(__file__, "work", quick, engine=engine, precision=precision, steps=steps, rounds=rounds)
            sides[engine] = stack.enter_context(side)
            side.result()
        measured: dict[str, list[float]] = {engine: [] for engine in engines}
        for number in range(rounds):
            for engine, side in sides.items():
                measured[engine].append(side.turn()["microseconds"])
            text = ", ".join(f"{NAMES[engine]} {values[-1]:.0f}" for engine, values in measured.items())
            say(f"  round {number + 1} of {rounds}: {text} µs per step")
    return measured


def table(measured: dict[str, dict[str, list[float]]]) -> list[Sequence[str]]:
    """Return rows with medians, ranges, and the median difference to the plain loop of the same round."""
    rows: list[Sequence[str]] = [("precision", "engine", "µs per step", "range", "added to plain torch")]
    for precision, engines in measured.items():
        for engine, values in engines.items():
            added = median(value - plain for value, plain in zip(values, engines["plain"], strict=True))
            spread = f"{min(values):.0f} to {max(values):.0f}"
            difference = "–" if engine == "plain" else f"{added:+.0f}"
            rows.append((precision, NAMES[engine], f"{median(values):.0f}", spread, difference))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps per round")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each engine")
    arguments = parse(parser, argv)
    steps, rounds = (10, 2) if arguments.quick else (arguments.steps, arguments.rounds)
    content = describe(arguments, ("torch", "lightning-fabric", "accelerate"))
    engines = [name for name, module in NEEDS.items() if importlib.util.find_spec(module)]
    for missing in NEEDS.keys() - engines:
        say(f"{NAMES[missing]} is not installed and is left out: pip install {NEEDS[missing].replace('_', '-')}")
    measured = {name: measure(engines, name, steps, rounds, arguments.quick) for name in PRECISIONS}
    finish(arguments.out, content | {"microseconds_per_step": measured, "table": table(measured)})


if __name__ == "__main__" and not run_side(JOBS):
    main()
