"""TODO: module."""

from collections.abc import Iterator, Sequence

import numpy as np

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.inference.predictor import Predictor
from pixelwise.runtime.notebook import show_in_notebook
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState
from pixelwise.visualization import (
    make_gif,
    prediction_grid,
    save_image,
    to_display_image,
)


class SamplePredictions(Callback):
    """Draws the same validation images with what the model makes of them: before training and after every epoch.

    In a notebook the images are shown as well; after the last epoch they are joined into one animation.
    """

    def on_start(self, state: TrainState) -> None:
        self.pairs = list(_readable(state.sample_records, state.data.read_spec, state.run.config.skip_unreadable))
        if state.epoch == 0:
            self._draw(state, "before training")

    def on_epoch(self, state: TrainState) -> None:
        score = state.history[-1]["val_miou"]
        self._draw(state, f"epoch {state.epoch}" + (f" · validation mIoU {score:.3f}" if score is not None else ""))

    def on_end(self, state: TrainState) -> None:
        if self.pairs:
            make_gif(state.run.sample_images(state.epoch), state.run.samples_animation)

    def _draw(self, state: TrainState, title: str) -> None:
        if not self.pairs:
            return
        training = state.model.training
        predictor = Predictor(state.model, state.model.mean.device)
        images, truths = zip(*self.pairs, strict=True)
        predictions = [prediction.mask for prediction in predictor.predict_batch(images)]
        state.model.train(training)
        images = [to_display_image(image) for image in images]
        task = state.model.config.task
        true, made = ([task.to_display(mask) for mask in masks] for masks in (truths, predictions))
        classes, palette = task.display_classes(state.data.classes, state.data.palette)
        sheet = prediction_grid(images, true, made, classes, palette, title)
        save_image(sheet, state.run.sample_image(state.epoch))
        show_in_notebook(state.run.sample_image(state.epoch))


def _readable(records: Sequence[Record], reading: ReadSpec, skip_bad: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for record in records:
        try:
            yield read_image_and_mask(record, reading)
        except DataError:
            if not skip_bad:
                raise
