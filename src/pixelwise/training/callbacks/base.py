"""TODO: module."""

from pixelwise.training.state import TrainState


class Callback:
    """Called before the first epoch, after every epoch (its row is in `state.rows`), and after the last."""

    def on_start(self, state: TrainState) -> None:
        """Before the first epoch of this process; `state.epoch` is above 0 after a resume."""

    def on_epoch(self, state: TrainState) -> None:
        """After each epoch."""

    def on_end(self, state: TrainState) -> None:
        """After the last epoch."""
