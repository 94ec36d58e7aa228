"""Progress bars: live on a terminal, one line an epoch elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

from pixelwise.data.streams import Progress as ProgressFunction
from pixelwise.run import Row

_SECONDS_BETWEEN_LOOKS = 0.5
"""The loss is fetched from the device this often at most: each time costs a wait for it."""


class Bars:
    """Progress bars that go away when they are done; nothing where `shown` is False or no terminal watches."""

    def __init__(self, shown: bool = True) -> None:
        self.console = Console(stderr=True)
        self.shown = shown
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not (shown and self.console.is_terminal and not self.console.is_jupyter),
        )

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, line: str) -> None:
        """Print a line on stderr, above the bars."""
        if self.shown:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def over(self, description: str) -> ProgressFunction:
        """A `pixelwise.data.streams.Progress` that draws a bar with this description."""

        def track(items: Iterable[Any], total: int) -> Iterable[Any]:
            task = self.progress.add_task(description, total=total, note="")
            for item in items:
                yield item
                self.progress.advance(task)
            self.progress.remove_task(task)

        return track


class TrainBars(Bars):
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
