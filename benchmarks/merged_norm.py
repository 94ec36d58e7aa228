"""Measure training steps with batch norms that are computed in the convolutions before them, and separately.

The model is the default one, as `pixelwise train` trains it on a CPU: the batch norms of the encoder keep their
statistics, and depthwise convolutions do not train. Both sides take turns in one process. The encoder has random
weights, which cost as much as pretrained ones. The script prints a table and writes a JSON file.
"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

from _common import Turns, describe, finish, make_parser, parse, run_side, say, start

CLASSES = 3


def work(turns: Turns, encoder: str, size: int, batch: int, rounds: int) -> None:
    """Report the time of a training step of both sides in each round.

    Args:
        turns: the turns of this side.
        encoder: timm's name of the encoder.
        size: side of the images in pixels.
        batch: images per step.
        rounds: number of rounds.
    """
    import torch

    from pixelwise.config import Config
    from pixelwise.losses.multiclass import cross_entropy
    from pixelwise.models.merged_norm import split_norms
    from pixelwise.runtime.process import configure

    configure(threads=None)  # freed memory is kept, as in the command line
    config = Config.from_preset(
        encoder=encoder,
        encoder_weights="none",
        encoder_training="all",
        freeze_depthwise=True,
        freeze_batchnorm=True,
        image_size=size,
    )
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    masks = torch.randint(0, CLASSES, (batch, size, size), dtype=torch.uint8)
    sides = {}
    for name in ("separate", "merged"):
        torch.manual_seed(0)
        model = config.create_model([f"class {index}" for index in range(CLASSES)]).train()
        if name == "separate":
            split_norms(model)
        weights = [each for each in model.parameters() if each.requires_grad]
        sides[name] = model, torch.optim.AdamW(weights, fused=True)
    for index in range(rounds + 1):
        seconds = {}
        for name, (model, optimizer) in sides.items():
            started = time.perf_counter()
            loss = cross_entropy(model(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds[name] = time.perf_counter() - started
        if index:  # the first steps allocate memory
            turns.report(**{f"seconds_{name}": value for name, value in seconds.items()})


JOBS = {"work": work}


def measure(encoder: str, quick: bool, rounds: int, **arguments: Any) -> dict[str, Any]:
    """Return the seconds of a step of both sides in each round.

    Args:
        encoder: timm's name of the encoder.
        quick: run the side in this process.
        rounds: number of rounds.
        arguments: the other arguments of `work`.
    """
    with start(__file__, "work", quick, encoder=encoder, rounds=rounds, **arguments) as side:
        measured = [side.result() for _ in range(rounds)]
    say(f"{encoder}: {measured[-1]}")
    return {"encoder": encoder, **{key: [each[key] for each in measured] for key in measured[0]}}


def table(results: Sequence[dict[str, Any]]) -> list[Sequence[str]]:
    """Return a row for each encoder: the times of a step, and their ratio in the rounds."""
    rows: list[Sequence[str]] = [("encoder", "separate", "merged", "merged / separate")]
    for result in results:
        separate, merged = result["seconds_separate"], result["seconds_merged"]
        ratios = [two / one for one, two in zip(separate, merged, strict=True)]
        times = [f"{1000 * statistics.median(seconds):.0f} ms" for seconds in (separate, merged)]
        middle = statistics.median(ratios)
        rows.append((result["encoder"], *times, f"{middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=192, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=16, help="images per step")
    parser.add_argument("--rounds", type=int, default=11, help="rounds of each encoder")
    arguments = parse(parser, argv)
    size, batch, rounds = arguments.size, arguments.batch, arguments.rounds
    encoders = ["tf_efficientnet_lite0", "tf_efficientnet_lite2"]
    if arguments.quick:
        size, batch, rounds = 32, 2, 1
    about = describe(arguments, ["torch", "timm"])
    results = [measure(encoder, arguments.quick, rounds, size=size, batch=batch) for encoder in encoders]
    note = f"Times of a training step with {batch} images of {size}x{size} pixels in float32."
    finish(arguments.out, {**about, "results": results, "table": table(results), "note": note})


if __name__ == "__main__":
    if not run_side(JOBS):
        main()
