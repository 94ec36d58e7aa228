"""A training whose gradients do not depend on the number of processes. test_distributed.py runs it by torchrun."""

import atexit
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import pixelwise as pw
from pixelwise.models.decoders import DECODERS
from pixelwise.runtime.distributed import all_reduce_sum, launch_fabric

DECODER = "linear-without-norm"
BATCH_SIZES = (7, 3)
"""With 7 training images and two processes: one step of 4 + 3 images; and two steps, of 2 + 1 and 2 + 2 images."""


class LinearDecoder(nn.Module):
    """A 1x1 convolution. Batch norm would use the statistics of each process's own images."""

    def __init__(self, in_channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(in_channels[0], classes, 1)

    def forward(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return nn.functional.interpolate(self.head(features[0]), size)


def train_each_batch_size(data: Path, out: Path) -> list[pw.Run]:
    """Train one epoch with each batch size."""
    DECODERS.register(DECODER, LinearDecoder)
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
        DECODERS.unregister(DECODER)


def main(data: Path, out: Path) -> None:
    """Train, then sum over the processes, and write whether this process is in a group, now and at the end."""

    def write(text: str) -> None:
        with (out / f"rank-{os.environ['RANK']}.txt").open("a") as file:
            file.write(f"{text}, in a group: {torch.distributed.is_initialized()}\n")

    # The function that is registered first runs last.
    atexit.register(write, "at the end")
    train_each_batch_size(data, out)
    fabric = launch_fabric("cpu")
    total = int(all_reduce_sum(fabric, torch.tensor(fabric.global_rank + 1)))
    write(f"sum: {total}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
