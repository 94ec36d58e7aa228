"""The progress bar of a training."""

import time

from rich.progress import TaskID
from torch import Tensor

from pixelwise.runs.metrics_file import Row
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.course import Course

_MIN_SECONDS = 0.5
"""Minimum time in seconds between two reads of the loss. Each read waits for the device."""


class TrainingProgress(ProgressBars):
    """A progress bar with the epoch, loss, last validation mIoU, images per second and remaining time of a training."""

    task: TaskID

    def start(self, course: Course, steps_done: int, steps: int) -> None:
        """Start the bar. It counts steps, or the seconds of a time budget.

        Args:
            course: the course of the training.
            steps_done: number of steps that were done before a resume. 0 for a new training.
            steps: number of steps in all epochs.
        """
        self.course, self.miou, self.last_update = course, "", 0.0
        self.budget = course.config.time_budget
        total, done = (steps, steps_done) if self.budget is None else (round(self.budget), round(course.seconds))
        self.task = self.progress.add_task("training", total=total, completed=done, note="")

    def step(self, epoch: int, loss_sum: Tensor, images: int, seconds: float) -> None:
        """Advance the bar by one step. Update the loss and the speed at most every `_MIN_SECONDS`.

        Args:
            epoch: number of the epoch, from 1.
            loss_sum: scalar, the sum of the losses of this epoch's images so far.
            images: number of these images.
            seconds: duration of the epoch so far, in seconds.
        """
        now = time.perf_counter()
        if self.budget is None:
            self.progress.advance(self.task)
        if self.progress.disable or now - self.last_update < _MIN_SECONDS:
            return
        self.last_update = now
        note = f"loss {loss_sum.item() / images:.3f}{self.miou} · {images / seconds:.0f} images/s"
        if self.budget is not None:
            self.progress.update(self.task, completed=min(round(self.course.seconds), round(self.budget)))
        self.progress.update(self.task, description=f"epoch {self._name(epoch)}", note=note)

    def epoch(self, row: Row) -> None:
        """Keep the validation mIoU of an epoch for the bar.

        If progress is shown but stderr is not a terminal, print the metrics as a line of text.
        """
        score, loss = row["val_miou"], row["val_loss"]
        self.miou = "" if score is None else f" · mIoU {score:.3f}"
        if self.progress.disable and self.shown:
            validation = "not validated" if loss is None else f"validation loss {loss:.3f}{self.miou}"
            print(
                f"epoch {self._name(int(row['epoch'] or 0))} · loss {row['train_loss']:.3f} · {validation} · "
                f"{row['images_per_second']:.0f} images/s",
                flush=True,
            )

    def _name(self, epoch: int) -> str:
        """Return the number of an epoch with the number of all epochs. With a time budget, the latter is not known."""
        return f"{epoch}/{self.course.config.epochs}" if self.budget is None else f"{epoch}"
