"""A plot of the losses and IoUs by epoch."""

from pixelwise.training.callbacks.base import Callback, is_drawing_epoch, warn_on_failure
from pixelwise.training.state import TrainState
from pixelwise.visualization import plot_history


class HistoryPlot(Callback):
    """Draw history.png after epochs 1, 2, 4, 8, … and when the training ends or is interrupted."""

    def on_epoch_end(self, state: TrainState) -> None:
        if is_drawing_epoch(state.epoch):
            self._draw(state)

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._draw(state)

    def on_train_end(self, state: TrainState) -> None:
        self._draw(state)

    def _draw(self, state: TrainState) -> None:
        if not state.history:
            return
        with warn_on_failure(state.run.history_image.name):
            colors = dict(zip(state.data.classes, state.data.palette, strict=True))
            plot_history(state.history, state.run.history_image, colors=colors)
