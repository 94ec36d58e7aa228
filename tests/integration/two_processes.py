"""The program that test_distributed.py runs by torchrun: commands, trainings and evaluations in two processes."""

import atexit
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

import pixelwise as pw
from pixelwise.cli import main
from pixelwise.models.decoders import DECODERS
from pixelwise.runs.checkpoint import Checkpoint
from pixelwise.runtime.distributed import all_reduce_sum, launch_fabric

DECODER = "linear-without-norm"
BATCH_SIZES = (7, 3)
"""With 7 training images and two processes: one step of 4 + 3 images; and two steps, of 2 + 1 and 2 + 2 images."""

METRICS = ("boundary_iou", "image_iou")

TRAIN_FLAGS = {
    "preset": "default", "encoder": "test_efficientnet", "encoder-weights": "none", "size": 64, "epochs": 2,
    "batch-size": 2, "precision": "32-true", "device": "cpu", "val-fraction": 0.3, "lr": 0.01,
}  # fmt: skip


class LinearDecoder(nn.Module):
    """A 1x1 convolution. Batch norm would use the statistics of each process's own images."""

    def __init__(self, in_channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(in_channels[0], classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return nn.functional.interpolate(self.head(features[0]), size)


def train_each_batch_size(data: Path, out: Path) -> list[pw.Run]:
    """Train one epoch with each batch size. The gradients do not depend on the number of processes.

    The checkpoints keep the moments of the optimizer, which have the gradients.
    """
    DECODERS.register(DECODER, LinearDecoder)
    compact = Checkpoint.compact
    setattr(Checkpoint, "compact", lambda checkpoint: checkpoint)  # noqa: B010 (mypy refuses an assignment)
    try:
        return [
            pw.train(
                pw.load_dataset(data), out / f"batch-{batch_size}", encoder="test_efficientnet", encoder_weights="none",
                encoder_training="none", decoder=DECODER, image_size=64, epochs=1, batch_size=batch_size,
                val_fraction=0.3, augmentation="none", precision="32-true", device="cpu", lr_schedule="constant",
                defaults=False,
            )
            for batch_size in BATCH_SIZES
        ]  # fmt: skip
    finally:
        setattr(Checkpoint, "compact", compact)  # noqa: B010
        DECODERS.unregister(DECODER)


def train_for_a_time(data: Path, out: Path) -> None:
    """Train with a time budget. The process with rank 0 decides when to end, or the others would wait forever."""
    pw.train(
        pw.load_dataset(data), out / "budget", encoder="test_efficientnet", encoder_weights="none", image_size=64,
        batch_size=2, val_fraction=0.3, precision="32-true", device="cpu", defaults=False, time_budget="4s",
    )  # fmt: skip


def run_command(output: Path, *tokens: object) -> None:
    """Run a command, and write what this process prints to `output`.out and `output`.err."""
    with ExitStack() as stack:
        for suffix, redirect in {".out": redirect_stdout, ".err": redirect_stderr}.items():
            stack.enter_context(redirect(stack.enter_context(output.with_suffix(suffix).open("w"))))
        try:
            main([str(token) for token in tokens])
        except SystemExit as ended:
            if ended.code != 0:
                raise RuntimeError(f"exit code {ended.code}") from None


def evaluate_damaged(run: Path, folder: Path, out: Path) -> dict[str, object]:
    """Evaluate on a data set with unreadable masks, and on one of these records alone. Return what this process got."""
    data = pw.load_dataset(folder)
    result = pw.evaluate(run, data, out=out, device="cpu", skip_unreadable=True, metrics=METRICS)
    one_record = replace(data, test=data.test[1:2])  # unreadable, and the only record: the second process has none
    try:
        pw.evaluate(run, one_record, device="cpu", skip_unreadable=True)
        error = None
    except pw.DataError as caught:
        error = str(caught)
    return {
        "confusion": result.metrics.confusion,
        "images": result.metrics.image_count,
        "extra": result.extra,
        "skipped": [str(error) for error in result.skipped],
        "written": result.path is not None,
        "error": error,
    }


def run_all(data: Path, damaged: Path, out: Path) -> None:
    """Do all that the tests need. Write whether this process is in a group, after the work and at the end."""
    rank = os.environ["RANK"]

    def write(text: str) -> None:
        with (out / f"group-{rank}.txt").open("a") as file:
            file.write(f"{text}, in a group: {torch.distributed.is_initialized()}\n")

    # The function that is registered first runs last.
    atexit.register(write, "at the end")
    flags = [part for name, value in TRAIN_FLAGS.items() for part in (f"--{name}", value)]
    run_command(out / f"train-{rank}", "train", data, "--out", out / "runs" / "run", *flags)
    run_command(
        out / f"evaluate-{rank}", "evaluate", out / "runs" / "run", data, "--out", out / "two.json", "--device", "cpu"
    )
    train_each_batch_size(data, out)
    train_for_a_time(data, out)
    result = evaluate_damaged(out / "runs" / "run", damaged, out / "damaged.json")
    (out / f"damaged-{rank}.json").write_text(json.dumps(result))
    fabric = launch_fabric("cpu")
    write(f"sum: {int(all_reduce_sum(fabric, torch.tensor(fabric.global_rank + 1)))}")


if __name__ == "__main__":
    run_all(*map(Path, sys.argv[1:]))
