"""What happens around the training loop: pictures, events, checkpoints. HOOKS lists them in their order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.data.masks import read_pair
from pixelwise.data.records import Dataset, Reading, Record
from pixelwise.errors import DataError
from pixelwise.models.describe import architecture_steps
from pixelwise.models.segmenter import Segmenter
from pixelwise.predict import Predictor
from pixelwise.run import Row, Run
from pixelwise.visualize import (
    all_as_shown,
    animate,
    draw_architecture,
    photo_as_shown,
    plot_history,
    sample_sheet,
    save_picture,
)


@dataclass
class TrainState:
    """What a training shows to its hooks; `rows` has one row an epoch so far, as in metrics.csv."""

    run: Run
    data: Dataset
    model: Segmenter
    samples: Sequence[Record]
    rows: list[Row] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.rows)

    @property
    def best_epoch(self) -> int:
        """The first epoch with the highest validation mIoU; 0 before any."""
        scores = [-1.0 if row["val_miou"] is None else row["val_miou"] for row in self.rows]
        return scores.index(max(scores)) + 1 if scores else 0


class Hook:
    """Called before the first epoch, after every epoch (its row is in `state.rows`), and after the last."""

    def on_start(self, state: TrainState) -> None:
        """Before the first epoch of this process; `state.epoch` is above 0 after a resume."""

    def on_epoch(self, state: TrainState) -> None:
        """After each epoch."""

    def on_end(self, state: TrainState) -> None:
        """After the last epoch."""


class SampleHook(Hook):
    """Draws the same validation photos with what the model makes of them: before training and after every epoch.

    In a notebook the pictures are shown as well; after the last epoch they are joined into one animation.
    """

    def on_start(self, state: TrainState) -> None:
        self.pairs = list(_readable(state.samples, state.data.reading, state.run.config.skip_bad))
        if state.epoch == 0:
            self._draw(state, "before training")

    def on_epoch(self, state: TrainState) -> None:
        score = state.rows[-1]["val_miou"]
        self._draw(state, f"epoch {state.epoch}" + (f" · validation mIoU {score:.3f}" if score is not None else ""))

    def on_end(self, state: TrainState) -> None:
        if self.pairs:
            animate(state.run.sample_pictures(state.epoch), state.run.samples_animation)

    def _draw(self, state: TrainState, title: str) -> None:
        if not self.pairs:
            return
        training = state.model.training
        predictor = Predictor(state.model, state.model.mean.device)
        photos, truths = zip(*self.pairs, strict=True)
        predictions = predictor.masks(photos)
        state.model.train(training)
        photos = [photo_as_shown(photo) for photo in photos]
        (true, made), classes, palette = all_as_shown([truths, predictions], state.data.classes, state.data.palette)
        sheet = sample_sheet(photos, true, made, classes, palette, title)
        save_picture(sheet, state.run.sample_picture(state.epoch))
        show_in_notebook(state.run.sample_picture(state.epoch))


def _readable(records: Sequence[Record], reading: Reading, skip_bad: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for record in records:
        try:
            yield read_pair(record, reading)
        except DataError:
            if not skip_bad:
                raise


class HistoryHook(Hook):
    """Writes metrics.csv and draws the loss curve after every epoch."""

    def on_epoch(self, state: TrainState) -> None:
        state.run.write_metrics(state.rows)
        self._draw(state)

    def on_end(self, state: TrainState) -> None:
        self._draw(state)
        show_in_notebook(state.run.history_picture)

    def _draw(self, state: TrainState) -> None:
        colours = dict(zip(state.data.classes, state.data.palette, strict=True))
        plot_history(state.rows, state.run.history_picture, colours=colours)


class BestModelHook(Hook):
    """Keeps the model of the epoch with the best validation mIoU."""

    def on_epoch(self, state: TrainState) -> None:
        if state.best_epoch == state.epoch:
            state.run.write_best(state.model, state.rows[-1])


class ArchitectureHook(Hook):
    """Draws the model with the shape at each step, once."""

    def on_start(self, state: TrainState) -> None:
        if state.epoch == 0:
            card = state.model.card
            title = f"{card.encoder} encoder, {card.decoder} decoder"
            draw_architecture(architecture_steps(state.model), state.run.architecture_picture, title)


class TensorBoardHook(Hook):
    """Writes each epoch's row and sample predictions as TensorBoard events."""

    def on_start(self, state: TrainState) -> None:
        # Imported here: TensorBoard takes a second, and predicting does without it.
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(state.run.tensorboard_folder), purge_step=state.epoch + 1)

    def on_epoch(self, state: TrainState) -> None:
        for name, value in state.rows[-1].items():
            if value is not None and name not in ("epoch", "step"):
                self.writer.add_scalar(name, value, state.epoch)
        if state.run.sample_picture(state.epoch).exists():  # SampleHook may be left out
            with Image.open(state.run.sample_picture(state.epoch)) as picture:
                self.writer.add_image("samples", np.array(picture), state.epoch, dataformats="HWC")
        self.writer.flush()

    def on_end(self, state: TrainState) -> None:
        self.writer.close()


def show_in_notebook(picture: Path) -> None:
    """Show a picture below the running cell; nothing where this is no notebook."""
    try:
        from IPython import display, get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is not None and "IPKernelApp" in shell.config:
        display.display(display.Image(filename=str(picture)))


HOOKS: tuple[type[Hook], ...] = (SampleHook, HistoryHook, BestModelHook, ArchitectureHook, TensorBoardHook)
