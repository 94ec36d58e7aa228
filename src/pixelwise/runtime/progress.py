"""Progress of long operations: the type of callable that library functions accept, and progress bars for a terminal."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""A function (items, total) → items. It yields the items unchanged and can report how many it has yielded."""


def no_progress(items: Iterable[Any], total: int) -> Iterable[Any]:
    """Return the items unchanged. This is a `Progress` that reports nothing.

    Args:
        items: the items.
        total: the number of items.
    """
    return items


class ProgressBars:
    """Progress bars on stderr that disappear when they are complete.

    Args:
        shown: if False, neither bars nor lines are written. Bars are drawn only if stderr is a terminal.
    """

    def __init__(self, shown: bool = True) -> None:
        self.console = Console(stderr=True)
        self.shown = shown
        self.progress = rich.progress.Progress(
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

    def print(self, line: str) -> None:
        """Print a line on stderr, above the bars. Print nothing if `shown` is False."""
        if self.shown:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def track(self, description: str) -> Progress:
        """Return a `Progress` that draws a bar with a description."""

        def track(items: Iterable[Any], total: int) -> Iterable[Any]:
            task = self.progress.add_task(description, total=total, note="")
            try:
                for item in items:
                    yield item
                    self.progress.advance(task)
            finally:  # also if the caller stops at an error
                self.progress.remove_task(task)

        return track
