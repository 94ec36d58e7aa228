"""Measure training steps with each decoder on the default encoder: images per second, CPU time, and weights.

A step is the forward pass, the cross-entropy, the backward pass and the optimizer, with the parts of the encoder frozen
that `pixelwise train` freezes on a CPU. The encoder has random weights, which cost as much as pretrained ones. The
decoders are measured one after another, each in a process of its own. The script prints a table and writes a JSON file.
"""

import time
from collections.abc import Sequence
from typing import Any

from _common import Turns, describe, finish, make_parser, parse, run_side, say, start

BASE = "fpn"
CLASSES = 3


def work(turns: Turns, spec: Any, size: int, batch: int, steps: int, rounds: int) -> None:
    """Report the weights of a decoder, then the speed of training steps in each round.

    Args:
        turns: the turns of this side.
        spec: the setting of the decoder: a name, or a mapping with a name and parameters.
        size: side of the images in pixels.
        batch: images per step.
        steps: steps per round.
        rounds: number of rounds.
    """
    import torch

    from pixelwise.config import Config
    from pixelwise.losses.multiclass import cross_entropy

    torch.manual_seed(0)
    config = Config.from_preset(
        encoder_weights="none",
        encoder_training="all",
        freeze_depthwise=True,
        freeze_batchnorm=True,
        decoder=spec,
        image_size=size,
    )
    model = config.create_model([f"class {index}" for index in range(CLASSES)]).train()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], fused=True)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    masks = torch.randint(0, CLASSES, (batch, size, size), dtype=torch.uint8)

    def step() -> None:
        loss = cross_entropy(model(images), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    turns.report(weights=sum(each.numel() for each in model.decoder.parameters()))
    for _ in range(rounds):
        started, cpu_started = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        turns.report(
            images_per_second=steps * batch / (time.perf_counter() - started),
            cpu_seconds=(time.process_time() - cpu_started) / steps / batch,
        )


JOBS = {"work": work}


def label_of(spec: Any) -> str:
    """Return the text of a decoder in the table."""
    if isinstance(spec, str):
        return spec
    return f"{spec['name']}, " + ", ".join(f"{key} {value}" for key, value in spec.items() if key != "name")


def measure(spec: Any, quick: bool, rounds: int, **arguments: Any) -> dict[str, Any]:
    """Return the weights of a decoder, and the images per second and CPU seconds per image of each round.

    Args:
        spec: the setting of the decoder.
        quick: run the side in this process.
        rounds: number of rounds.
        arguments: the other arguments of `work`.
    """
    with start(__file__, "work", quick, spec=spec, rounds=rounds, **arguments) as side:
        result = {"decoder": label_of(spec), **side.result()}
        measured = [side.result() for _ in range(rounds)]
    say(f"{result['decoder']}: {measured[-1]['images_per_second']:.1f} images/s")
    return result | {key: [each[key] for each in measured] for key in measured[0]}


def table(results: Sequence[dict[str, Any]]) -> list[Sequence[str]]:
    """Return a row for each decoder: weights, images per second, and CPU time relative to the first decoder."""
    rows: list[Sequence[str]] = [("decoder", "weights", "images/s", f"CPU time, {BASE} = 1")]
    base = min(results[0]["cpu_seconds"])
    for result in results:
        rate, cpu = max(result["images_per_second"]), min(result["cpu_seconds"])
        rows.append((f"`{result['decoder']}`", f"{result['weights'] / 1e6:.2f} M", f"{rate:.1f}", f"{cpu / base:.1f}"))
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    from pixelwise.models.decoders import list_decoders

    parser = make_parser(__doc__)
    parser.add_argument("--size", type=int, default=192, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=16, help="images per step")
    parser.add_argument("--steps", type=int, default=3, help="steps per round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each decoder")
    arguments = parse(parser, argv)
    size, batch, steps, rounds = arguments.size, arguments.batch, arguments.steps, arguments.rounds
    specs: list[Any] = [BASE, {"name": BASE, "stages": 5}, *(name for name in list_decoders() if name != BASE)]
    if arguments.quick:
        size, batch, steps, rounds, specs = 32, 2, 1, 1, [*specs[:2], specs[-1]]
    about = describe(arguments, ["torch", "timm", "segmentation-models-pytorch"])
    results = [measure(spec, arguments.quick, rounds, size=size, batch=batch, steps=steps) for spec in specs]
    note = f"Steps with {batch} images of {size}x{size} pixels in float32, {CLASSES} classes, best round."
    finish(arguments.out, {**about, "results": results, "table": table(results), "note": note})


if __name__ == "__main__":
    if not run_side(JOBS):
        main()
