"""The live display of a training in a notebook."""

import math
import tempfile
import time
from pathlib import Path

from pixelwise.runs.metrics_file import summarize_history
from pixelwise.runs.run_html import newest_samples_tag
from pixelwise.runtime.durations import format_duration
from pixelwise.runtime.notebook import LiveOutput, in_notebook
from pixelwise.training.callbacks.base import Callback, warn_on_failure
from pixelwise.training.course import fraction_done
from pixelwise.training.state import TrainState
from pixelwise.visualization import html, plot_history

_MIN_SECONDS = 1.0
"""Minimum time in seconds between two updates within an epoch. Each reads the loss, which waits for the device."""

_MAX_DRAWING_FRACTION = 0.05
"""Maximum fraction of the time that is spent on drawing the curves."""


class NotebookDisplay(Callback):
    """Show the progress, the curves and the newest sample predictions of the training in a notebook.

    The display is one output that is replaced in place. The sample predictions are drawn by another callback, which
    must run before this one. Outside of a notebook, nothing is shown and nothing is drawn.
    """

    def __init__(self) -> None:
        self._output = LiveOutput()
        self._is_shown = False
        self._curves = self._pictures = ""
        self._started = self._next_update = self._next_curves = 0.0
        self._first_epoch = self._epoch_step = 0

    def on_train_start(self, state: TrainState) -> None:
        self._is_shown = in_notebook()
        self._started, self._first_epoch = time.monotonic(), state.epoch
        self._refresh(state)

    def on_step_end(self, state: TrainState) -> None:
        self._epoch_step += 1
        if self._is_shown and time.monotonic() >= self._next_update:
            self._show(self._progress(state))

    def on_epoch_end(self, state: TrainState) -> None:
        self._epoch_step = 0
        self._refresh(state)

    def on_train_end(self, state: TrainState) -> None:
        duration = format_duration(time.monotonic() - state.started)
        line = f"{summarize_history(state.history)} · {duration} · {state.run.path}"
        self._refresh(state, html.paragraph(html.text(line, max_length=300)))

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        line = f"stopped in epoch {state.epoch + 1} by {type(error).__name__}: {summarize_history(state.history)}"
        self._refresh(state, html.paragraph(html.text(line, max_length=300)))

    def _refresh(self, state: TrainState, status: str | None = None) -> None:
        """Read the images again, and show them below a status line. None shows the progress."""
        if not self._is_shown:
            return
        with warn_on_failure("the display in the notebook"):
            if state.history and (status is not None or time.monotonic() >= self._next_curves):
                self._draw_curves(state)
            self._pictures = self._curves + newest_samples_tag(state.run, state.epoch)
            self._show(self._progress(state) if status is None else status)

    def _draw_curves(self, state: TrainState) -> None:
        """Draw the curves of all epochs, and set the time from which on they may be drawn again."""
        started = time.monotonic()
        colors = dict(zip(state.data.classes, state.data.palette, strict=True))
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder) / "curves.png"
            plot_history(state.history, image, colors=colors)
            self._curves = html.image_file_tag(image, "losses and IoU by epoch", width=800)
        now = time.monotonic()
        self._next_curves = now + (now - started) / _MAX_DRAWING_FRACTION

    def _show(self, status: str) -> None:
        self._output.show(html.block(status, self._pictures))
        self._next_update = time.monotonic() + _MIN_SECONDS

    def _progress(self, state: TrainState) -> str:
        """Return a progress bar and a line with the epoch, the loss, the best validation mIoU and the time left."""
        config, now = state.run.config, time.monotonic()
        done, passed = state.epoch + self._epoch_fraction(state), now - state.started
        fraction = fraction_done(config, done, passed)
        if config.time_budget is None:
            epoch = f"epoch {min(math.floor(done) + 1, config.epochs)} of {config.epochs}"
            steps = done - self._first_epoch
            left = (now - self._started) / steps * (config.epochs - done) if steps > 0 else None
        else:
            epoch = f"epoch {math.floor(done) + 1}"
            left = max(0.0, config.time_budget - passed)
        loss = "" if state.loss is None else f"loss {state.loss.item():.3f}"
        history = summarize_history(state.history) if state.history else ""
        remaining = "" if left is None else f"{format_duration(left)} left"
        bar = f'<progress value="{fraction:.3f}" max="1" style="width:300px;margin-right:12px"></progress>'
        line = " · ".join(filter(None, (epoch, loss, history, remaining)))
        return html.paragraph(bar + html.text(line, max_length=300))

    def _epoch_fraction(self, state: TrainState) -> float:
        """Return the fraction of the current epoch's steps that are done, in [0, 1]. 0 right after an epoch."""
        if not state.datasets or self._epoch_step == 0:
            return 0.0
        steps = math.ceil(len(state.datasets[0]) / state.run.config.batch_size)
        return min(1.0, self._epoch_step / steps)
