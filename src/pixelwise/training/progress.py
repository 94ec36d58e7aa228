"""TODO: module."""

import time

from rich.progress import TaskID
from torch import Tensor

from pixelwise.runs.run_dir import Row
from pixelwise.runtime.progress import ProgressBars

_SECONDS_BETWEEN_LOOKS = 0.5
"""The loss is fetched from the device this often at most: each time costs a wait for it."""


class TrainingProgress(ProgressBars):
    """Bars of a training: the epoch, its loss, the last validation mIoU, images a second, time left."""

    task: TaskID

    def start(self, epochs: int, steps_done: int, steps: int) -> None:
        """Start the bar of `steps` over all epochs, of which some may be done already."""
        self.epochs, self.miou, self.looked = epochs, "", 0.0
        self.task = self.progress.add_task("training", total=steps, completed=steps_done, note="")

    def step(self, epoch: int, loss_sum: Tensor, images: int, seconds: float) -> None:
        """Show one more step; `loss_sum` is over the epoch's `images` so far, which took `seconds`."""
        now = time.perf_counter()
        if self.progress.disable or now - self.looked < _SECONDS_BETWEEN_LOOKS:
            self.progress.advance(self.task)
            return
        self.looked = now
        note = f"loss {loss_sum.item() / images:.3f}{self.miou} · {images / seconds:.0f} images/s"
        self.progress.update(self.task, advance=1, description=f"epoch {epoch}/{self.epochs}", note=note)

    def epoch(self, row: Row) -> None:
        """Show an epoch's end; where no terminal watches, as a line of text."""
        score = row["val_miou"]
        self.miou = "" if score is None else f" · mIoU {score:.3f}"
        if self.progress.disable and self.shown:
            print(
                f"epoch {row['epoch']:.0f}/{self.epochs} · loss {row['train_loss']:.3f} · validation loss "
                f"{row['val_loss']:.3f}{self.miou} · {row['images_per_second']:.0f} images/s",
                flush=True,
            )
