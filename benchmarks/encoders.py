"""Measure how fast encoders are: a whole training step and a prediction of pixelwise with each, at random weights.

usage: python benchmarks/encoders.py --out encoders.json [--encoders NAME …] [--size 192] [--quick]

The decoder, the loss and the optimizer are those of pixelwise's defaults. A training step has the parts of a CPU
training in which the encoder trains: its depthwise convolutions and the statistics of its batch norms are frozen. Each
encoder is a process of its own, and they take turns. The ratios are those of the same round. With `--cores 1`, times
are CPU times of one thread, on which other programs have little influence. See README.md.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from _common import Turns, describe, finish, make_parser, parse, run_side, say, start

BASE = "tf_efficientnet_lite0"
ENCODERS = (
    BASE,
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "hgnetv2_b0",
    "hgnetv2_b1",
    "mobilenetv4_conv_small",
    "mobilenetv3_large_100",
    "efficientvit_b1",
)
QUICK_ENCODERS = ("mobilenetv3_small_050", "test_efficientnet")


def work(turns: Turns, encoder: str, size: int, batch: int, steps: int, rounds: int) -> None:
    """Measure the seconds of a training step and of a prediction, one round per turn.

    Args:
        turns: the turns of this side.
        encoder: timm's name of the encoder.
        size: side of the images in pixels.
        batch: images per step.
        steps: steps per round.
        rounds: number of turns.
    """
    import torch

    import pixelwise as pw
    from pixelwise.losses import get_loss
    from pixelwise.runtime.process import configure
    from pixelwise.runtime.threads import available_cpus

    configure()
    torch.set_num_threads(available_cpus())
    config = pw.Config(encoder=encoder, encoder_weights="none", encoder_training="all", image_size=size, device="cpu",
                       freeze_depthwise=True, freeze_batchnorm=True)  # fmt: skip
    model = config.create_model(("one", "two", "three"))
    loss = get_loss(config.loss, pw.MULTICLASS)
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-4, fused=True)
    images = torch.randint(256, (batch, 3, size, size)).to(torch.uint8).contiguous(memory_format=torch.channels_last)
    masks = torch.randint(3, (batch, size, size)).to(torch.uint8)

    def train() -> None:
        loss(model(images), masks, None).backward()
        optimizer.step()
        optimizer.zero_grad()

    def predict() -> None:
        with torch.inference_mode():
            model(images)

    clock = time.perf_counter if torch.get_num_threads() > 1 else time.process_time

    def seconds(function: Callable[[], None]) -> float:
        started = clock()
        for _ in range(steps):
            function()
        return (clock() - started) / steps

    def measure() -> tuple[float, float]:
        model.train()
        training = seconds(train)
        model.eval()
        return training, seconds(predict)

    measure()
    weights = sum(each.numel() for each in model.encoder.parameters())
    turns.wait(weights=weights)
    for _ in range(rounds):
        training, prediction = measure()
        turns.wait(seconds_per_step=training, seconds_per_prediction=prediction)


JOBS = {"work": work}


def measure(encoders: Sequence[str], quick: bool, rounds: int, **arguments: int) -> dict[str, dict[str, Any]]:
    """Return the number of weights, and the seconds of each round, of each encoder.

    Args:
        encoders: timm's names.
        quick: run the sides in this process.
        rounds: number of rounds.
        arguments: the other arguments of `work`.
    """
    measured: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        sides = {}
        for encoder in encoders:
            say(f"{encoder}: warming up")
            side = stack.enter_context(start(__file__, "work", quick, encoder=encoder, rounds=rounds, **arguments))
            sides[encoder] = side
            measured[encoder] = {**side.result(), "seconds_per_step": [], "seconds_per_prediction": []}
        for number in range(rounds):
            for encoder, side in sides.items():
                for name, seconds in side.turn().items():
                    measured[encoder][name].append(seconds)
            say(f"round {number + 1} of {rounds}")
    return measured


def table(measured: dict[str, dict[str, Any]]) -> list[Sequence[str]]:
    """Return a row per encoder. Ratios are relative to the first encoder, in the same round: median and range."""
    base = next(iter(measured.values()))
    rows: list[Sequence[str]] = [("encoder", "weights", "training step", "prediction")]
    for encoder, figures in measured.items():
        cells = []
        for name in ("seconds_per_step", "seconds_per_prediction"):
            ratios = [ours / other for ours, other in zip(figures[name], base[name], strict=True)]
            middle, seconds = statistics.median(ratios), statistics.median(figures[name])
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            cells.append(f"{middle:.2f}× ({spread}); {1000 * seconds:.0f} ms")
        rows.append((encoder, f"{figures['weights'] / 1e6:.1f} million", *cells))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--encoders", nargs="+", default=list(ENCODERS), help="timm's names; ratios are to the first")
    parser.add_argument("--size", type=int, default=192, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--steps", type=int, default=3, help="steps per round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each encoder")
    arguments = parse(parser, argv)
    content = describe(arguments, ("torch", "timm", "pixelwise"))
    names, size, batch, steps, rounds = (
        arguments.encoders,
        arguments.size,
        arguments.batch,
        arguments.steps,
        arguments.rounds,
    )
    if arguments.quick:
        names, size, batch, steps, rounds = QUICK_ENCODERS, 32, 2, 1, 2
    measured = measure(names, arguments.quick, rounds, size=size, batch=batch, steps=steps)
    finish(arguments.out, content | {"encoders": measured, "table": table(measured)})


if __name__ == "__main__" and not run_side(JOBS):
    main()
