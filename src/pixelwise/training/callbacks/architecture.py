"""TODO: module."""

from pixelwise.reporting.model_summary import summarize_model
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState
from pixelwise.visualization import draw_architecture


class ArchitectureDiagram(Callback):
    """Draws the model with the shape at each step, once."""

    def on_start(self, state: TrainState) -> None:
        if state.epoch == 0:
            card = state.model.config
            title = f"{card.encoder} encoder, {card.decoder} decoder"
            draw_architecture(summarize_model(state.model), state.run.architecture_image, title)
