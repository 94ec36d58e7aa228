"""TODO: module."""

from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState


class ModelCheckpoint(Callback):
    """Keeps the model of the epoch with the best validation mIoU."""

    def on_epoch(self, state: TrainState) -> None:
        if state.best_epoch == state.epoch:
            state.run.save_best_model(state.model, state.history[-1])
