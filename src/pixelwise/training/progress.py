"""The progress bar of a training."""

import time

from rich.progress import TaskID
from torch import Tensor

from pixelwise.runs.run_dir import Row
from pixelwise.runtime.progress import ProgressBars

_MIN_SECONDS = 0.5
"""Minimum time in seconds between two reads of the loss. Each read waits for the device."""


class TrainingProgress(ProgressBars):
    """A progress bar with the epoch, loss, last validation mIoU, images per second and remaining time of a training."""

    task: TaskID

    def start(self, epochs: int, steps_done: int, steps: int) -> None:
        """Start the bar.

        Args:
            epochs: number of epochs.
            steps_done: number of steps that were done before a resume. 0 for a new training.
            steps: number of steps in all epochs.
        """
        self.epochs, self.miou, self.last_update = epochs, "", 0.0
        self.task = self.progress.add_task("training", total=steps, completed=steps_done, note="")

    def step(self, epoch: int, loss_sum: Tensor, images: int, seconds: float) -> None:
        """Advance the bar by one step. Update the loss and the speed at most every `_MIN_SECONDS`.

        Args:
            epoch: number of the epoch, from 1.
            loss_sum: scalar, the sum of the losses of this epoch's images so far.
            images: number of these images.
            seconds: duration of the epoch so far, in seconds.
        """
        now = time.perf_counter()
        if self.progress.disable or now - self.last_update < _MIN_SECONDS:
            self.progress.advance(self.task)
            return
        self.last_update = now
        note = f"loss {loss_sum.item() / images:.3f}{self.miou} · {images / seconds:.0f} images/s"
        self.progress.update(self.task, advance=1, description=f"epoch {epoch}/{self.epochs}", note=note)

    def epoch(self, row: Row) -> None:
        """Keep the validation mIoU of an epoch for the bar.

        If progress is shown but stderr is not a terminal, print the metrics as a line of text.
        """
        score = row["val_miou"]
        self.miou = "" if score is None else f" · mIoU {score:.3f}"
        if self.progress.disable and self.shown:
            print(
                f"epoch {row['epoch']:.0f}/{self.epochs} · loss {row['train_loss']:.3f} · validation loss "
                f"{row['val_loss']:.3f}{self.miou} · {row['images_per_second']:.0f} images/s",
                flush=True,
            )
