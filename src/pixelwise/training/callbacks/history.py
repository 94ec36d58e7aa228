"""TODO: module."""

from pixelwise.runtime.notebook import show_in_notebook
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState
from pixelwise.visualization import plot_history


class HistoryHook(Callback):
    """Writes metrics.csv and draws the loss curve after every epoch."""

    def on_epoch(self, state: TrainState) -> None:
        state.run.write_metrics(state.history)
        self._draw(state)

    def on_end(self, state: TrainState) -> None:
        self._draw(state)
        show_in_notebook(state.run.history_image)

    def _draw(self, state: TrainState) -> None:
        colors = dict(zip(state.data.classes, state.data.palette, strict=True))
        plot_history(state.history, state.run.history_image, colors=colors)
