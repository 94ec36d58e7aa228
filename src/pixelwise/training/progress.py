"""Progress of a training on a terminal."""

import time

from rich.progress import TaskID
from torch import Tensor

from pixelwise.runs.run_dir import Row
from pixelwise.runtime.progress import ProgressBars

_MIN_SECONDS = 0.5
"""Minimum interval between two reads of the loss. Each read waits for the device."""


class TrainingProgress(ProgressBars):
    """Progress bars of a training: epoch, loss, last validation mIoU, images per second, remaining time."""

    task: TaskID

    def start(self, epochs: int, steps_done: int, steps: int) -> None:
        """Start the bar of all steps.

        Args:
            epochs: number of epochs.
            steps_done: number of steps before this process, after a resume.
            steps: number of steps in all epochs.
        """
        self.epochs, self.miou, self.last_update = epochs, "", 0.0
        self.task = self.progress.add_task("training", total=steps, completed=steps_done, note="")

    def step(self, epoch: int, loss_sum: Tensor, images: int, seconds: float) -> None:
        """Advance the bar by one step.

        Args:
            epoch: number of the epoch, from 1.
            loss_sum: scalar, the sum of the losses of this epoch's images so far.
            images: number of these images.
            seconds: duration of the epoch so far.
        """
        now = time.perf_counter()
        if self.progress.disable or now - self.last_update < _MIN_SECONDS:
            self.progress.advance(self.task)
            return
        self.last_update = now
        note = f"loss {loss_sum.item() / images:.3f}{self.miou} · {images / seconds:.0f} images/s"
        self.progress.update(self.task, advance=1, description=f"epoch {epoch}/{self.epochs}", note=note)

    def epoch(self, row: Row) -> None:
        """Show the metrics of an epoch. Without a terminal, print them as a line of text."""
        score = row["val_miou"]
        self.miou = "" if score is None else f" · mIoU {score:.3f}"
        if self.progress.disable and self.shown:
            print(
                f"epoch {row['epoch']:.0f}/{self.epochs} · loss {row['train_loss']:.3f} · validation loss "
                f"{row['val_loss']:.3f}{self.miou} · {row['images_per_second']:.0f} images/s",
                flush=True,
            )
