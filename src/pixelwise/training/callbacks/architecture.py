"""Callback that draws a diagram of the model."""

from pixelwise.registry import name_of
from pixelwise.reporting.model_summary import summarize_model
from pixelwise.training.callbacks.base import Callback, warn_on_failure
from pixelwise.training.state import TrainState
from pixelwise.visualization import draw_architecture


class ArchitectureDiagram(Callback):
    """Draws architecture.png when a training starts: the stages of the model with their output shapes."""

    def on_train_start(self, state: TrainState) -> None:
        if state.epoch > 0:
            return
        image = state.run.architecture_image
        with warn_on_failure(image.name):
            config = state.model.config
            title = f"{config.encoder} encoder, {name_of(config.decoder)} decoder"
            draw_architecture(summarize_model(state.model), image, title)
