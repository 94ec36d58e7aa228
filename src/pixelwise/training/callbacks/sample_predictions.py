"""Drawings of predictions on a few validation images."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.record_parts import open_undecodable, read_parts
from pixelwise.data.schema import ReadSpec, Record
from pixelwise.errors import DataError
from pixelwise.inference.predictor import Predictor
from pixelwise.runs.metrics_file import Row
from pixelwise.training.callbacks.base import Callback, is_drawing_epoch, warn_on_failure
from pixelwise.training.loggers.base import ImageLogger
from pixelwise.training.state import TrainState
from pixelwise.visualization import make_gif, prediction_grid, save_image, to_display_image

Array = npt.NDArray[np.generic]


_LOGGED_WIDTH = 600
"""Maximum width in pixels of the drawings that are passed to loggers. The files in the run directory can be larger."""


class SamplePredictions(Callback):
    """Draw a few validation images with their true masks and predictions.

    The images are drawn before the training, after epochs 1, 2, 4, 8, …, and after the last one. When the training ends
    or is interrupted, they are also drawn for the best epoch. The drawings are saved in the run directory. Those made
    after an epoch are passed to the loggers that accept images. At the end, all drawings are joined into an animated
    GIF.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[Array, Array]] = []

    def on_train_start(self, state: TrainState) -> None:
        with warn_on_failure("samples"):
            self._pairs = list(
                _read_pairs(state.sample_records, state.data.read_spec, state.run.config.skip_unreadable)
            )
        if state.epoch == 0:
            self._draw(state, "before training")

    def on_epoch_end(self, state: TrainState) -> None:
        if is_drawing_epoch(state.epoch):
            self._draw(state, _title(state.epoch, state.history))

    def on_train_end(self, state: TrainState) -> None:
        if state.epoch > 0 and not state.run.sample_image(state.epoch).exists():
            self._draw(state, _title(state.epoch, state.history))
        self._draw_best(state)
        self._animate(state)

    def on_exception(self, state: TrainState, error: BaseException) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._draw_best(state)
            self._animate(state)

    def _draw_best(self, state: TrainState) -> None:
        """Draw the predictions of the best model, unless its epoch is drawn already."""
        out = state.run.sample_image(state.best_epoch)
        if not self._pairs or state.best_epoch == 0 or out.exists():
            return
        with warn_on_failure(f"{out.parent.name}/{out.name}"):
            predictor = Predictor.load_run(state.run.path, state.model.mean.device)
            save_image(self._grid(state, predictor, _title(state.best_epoch, state.history)), out)

    def _animate(self, state: TrainState) -> None:
        images = state.run.sample_images(state.epoch)
        if images:
            with warn_on_failure(state.run.samples_animation.name):
                make_gif(images, state.run.samples_animation)

    def _draw(self, state: TrainState, title: str) -> None:
        if not self._pairs:
            return
        out = state.run.sample_image(state.epoch)
        training = state.model.training
        try:
            with warn_on_failure(f"{out.parent.name}/{out.name}"):
                save_image(self._grid(state, Predictor(state.model, state.model.mean.device), title), out)
                _log_image(state, "samples", out)
        finally:
            state.model.train(training)

    def _grid(self, state: TrainState, predictor: Predictor, title: str) -> Image.Image:
        images, masks = zip(*self._pairs, strict=True)
        predictions = [prediction.mask for prediction in predictor.predict_batch(images)]
        task, labels = state.model.config.task, state.data.read_spec.partial_labels
        true_masks = [labels.to_background(mask) for mask in masks]
        true, predicted = ([task.to_display(mask) for mask in group] for group in (true_masks, predictions))
        classes, palette = task.display_classes(state.data.classes, state.data.palette)
        return prediction_grid([to_display_image(image) for image in images], true, predicted, classes, palette, title)


def _title(epoch: int, history: Sequence[Row]) -> str:
    score = history[epoch - 1]["val_miou"]
    return f"epoch {epoch}" + ("" if score is None else f" · validation mIoU {score:.3f}")


def _log_image(state: TrainState, key: str, file: object) -> None:
    """Pass a drawing to the loggers that accept images, unless it was made before the training."""
    if state.epoch == 0:
        return
    with Image.open(str(file), formats=("PNG",)) as image:
        image.thumbnail((_LOGGED_WIDTH, image.height), Image.Resampling.LANCZOS)
        pixels = np.array(image)
    for logger in state.loggers:
        if isinstance(logger, ImageLogger):
            logger.log_image(key, [pixels], step=state.epoch)


def _read_pairs(records: Sequence[Record], read_spec: ReadSpec, skip_unreadable: bool) -> Iterator[tuple[Array, Array]]:
    """Yield the image and the mask of each record. With `skip_unreadable`, unreadable records are left out."""
    for record in records:
        try:
            yield _read_pair(record, read_spec)
        except DataError:
            if not skip_unreadable:
                raise


def _read_pair(record: Record, read_spec: ReadSpec) -> tuple[Array, Array]:
    """Return an image and its mask, or a part of them if the image is too large to be decoded."""
    windows = open_undecodable(record, read_spec)
    if windows is None:
        return read_image_and_mask(record, read_spec)
    with windows:
        return read_parts(windows)[0]
