"""TODO: module."""

import numpy as np
from PIL import Image

from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState


class TensorBoardLogger(Callback):
    """Writes each epoch's row and sample predictions as TensorBoard events."""

    def on_start(self, state: TrainState) -> None:
        # Imported here: TensorBoard takes a second, and predicting does without it.
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(state.run.tensorboard_folder), purge_step=state.epoch + 1)

    def on_epoch(self, state: TrainState) -> None:
        for name, value in state.history[-1].items():
            if value is not None and name not in ("epoch", "step"):
                self.writer.add_scalar(name, value, state.epoch)
        if state.run.sample_image(state.epoch).exists():  # SamplePredictions may be left out
            with Image.open(state.run.sample_image(state.epoch)) as image:
                self.writer.add_image("samples", np.array(image), state.epoch, dataformats="HWC")
        self.writer.flush()

    def on_end(self, state: TrainState) -> None:
        self.writer.close()
