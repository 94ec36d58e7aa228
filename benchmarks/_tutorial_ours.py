"""pixelwise's side of against_tutorial.py: one job, in a process of its own."""

import copy
import functools
import math
import os
import statistics
import tempfile
import time
from typing import Any
from unittest.mock import patch

import timm  # noqa: F401  TensorFlow's imports are not measured either
import torch
from _common import Job, Turns, run_side, say

import pixelwise as pw
from pixelwise.data.input_size import InputSize, to_pair
from pixelwise.data.task import MULTICLASS
from pixelwise.models.model import SegmentationModel
from pixelwise.runtime import configure
from pixelwise.runtime.cpu import apply_thread_policy
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState


class TestSplit:
    """The test split at the model's size, read once.

    The metrics are those of `pixelwise evaluate RUN DATA --resolution model`, which reads the images at each call.

    Args:
        data: the data set.
        size: the size of the images in pixels.
        resolution: the size at which masks are compared. If it is not `size`, logits are resized to it.
    """

    def __init__(self, data: pw.DatasetIndex, size: InputSize, resolution: int | None = None) -> None:
        self.classes, self.size = data.classes, to_pair(resolution or size)
        images = pw.SegmentationDataset(data.records("test"), data.read_spec, size)
        masks = pw.SegmentationDataset(data.records("test"), data.read_spec, resolution or size)
        self.images = torch.stack([images[index][0] for index in range(len(images))])
        self.masks = torch.stack([masks[index][1] for index in range(len(masks))])

    def score(self, model: SegmentationModel) -> dict[str, float | None]:
        """Return a model's accuracy and mean IoU over the split."""
        training = model.training
        model.eval()
        confusion = MULTICLASS.zero_matrix(len(self.classes))
        for images, masks in zip(self.images.split(16), self.masks.split(16), strict=True):
            labels = resize_antialiased(predict(model, images), self.size).argmax(1)
            confusion += MULTICLASS.confusion(masks, labels, len(self.classes))
        model.train(training)
        metrics = pw.Metrics.from_confusion(confusion, self.classes, MULTICLASS, len(self.masks), "model")
        return {"accuracy": metrics.accuracy, "miou": metrics.mean_iou}


def predict(model: SegmentationModel, images: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, C, H, W) of (N, 3, H, W) uint8 images of the model's size."""
    return pw.Predictor(model).forward(images)


def resize_antialiased(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return logits (N, C, H, W) at another size."""
    if tuple(logits.shape[-2:]) == size:
        return logits
    return torch.nn.functional.interpolate(logits, size, mode="bilinear", antialias=True)


def wait_for_turn(turns: Turns, **figures: float) -> None:
    """Send measurements, wait for the next turn, and measure the idle cores.

    Otherwise the next update of the thread count would count the cores that the other side used during its turn as
    busy, and this side would have one thread for 10 seconds.
    """
    turns.wait(**figures)
    apply_thread_policy()


class TakeTurns(Callback):
    """Waits for the next turn after the first epoch, which warms up, and then after every `epochs` epochs."""

    def __init__(self, turns: Turns, epochs: int) -> None:
        self.turns, self.epochs = turns, epochs

    def on_epoch_end(self, state: TrainState) -> None:
        if state.epoch == 1:
            wait_for_turn(self.turns)
        elif (state.epoch - 1) % self.epochs == 0:
            # Epochs have the same number of images, so the rate over all of them is the harmonic mean.
            rates = [row["images_per_second"] or 0.0 for row in state.history[-self.epochs :]]
            wait_for_turn(self.turns, images_per_second=statistics.harmonic_mean(rates))


class KeepWeights(Callback):
    """Keeps the best weights by validation and the last ones, of epochs that end within `seconds` of training."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.kept: dict[str, tuple[dict[str, float | None], dict[str, torch.Tensor]]] = {}

    def on_epoch_end(self, state: TrainState) -> None:
        self.model, row = state.model, state.history[-1]
        if (row["train_seconds"] or 0.0) <= self.seconds:
            self.kept["last"] = (row, copy.deepcopy(state.model.state_dict()))
            if state.best_epoch == state.epoch:
                self.kept["best"] = self.kept["last"]

    def scores(self, split: TestSplit) -> dict[str, Any]:
        """Return the metrics of both on the test split, and the epoch and time of each."""
        scores = {}
        for name, (row, weights) in self.kept.items():
            self.model.load_state_dict(weights)
            times = {key: row[key] for key in ("epoch", "step", "train_seconds", "val_miou")}
            scores[name] = times | split.score(self.model)
        return scores


class StopAtTarget(Callback):
    """Scores the test split after each epoch, outside the timed training, and stops when it reaches the target.

    Attributes:
        curve: the time and the score of each epoch.
        load_seconds: seconds before the first step: the images are read, and the model is made.
    """

    def __init__(self, split: TestSplit, target: float) -> None:
        self.split, self.target = split, target
        self.curve: list[dict[str, Any]] = []
        self.load_seconds = 0.0

    def on_train_start(self, state: TrainState) -> None:
        self.load_seconds = time.monotonic() - state.started

    def on_epoch_end(self, state: TrainState) -> None:
        row = state.history[-1]
        score = self.split.score(state.model)
        self.curve.append({key: row[key] for key in ("epoch", "step", "train_seconds", "val_miou")} | score)
        say(f"test mIoU {score['miou']:.4f} after {row['train_seconds']:.1f} s of training")
        state.should_stop = self.reached

    @property
    def reached(self) -> bool:
        """True if the last epoch reached the target."""
        return self.curve[-1]["miou"] >= self.target


def rounds(turns: Turns, data: str, out: str, settings: dict[str, Any], rounds: int, epochs: int) -> None:
    """Train in rounds of `epochs` epochs, then predict the test split in rounds with both presets."""
    dataset = pw.load_dataset(data)
    train(dataset, f"{out}/run", [TakeTurns(turns, epochs)], **settings | {"epochs": 1 + rounds * epochs})
    size = pw.Config.from_preset(**settings).image_size
    images = TestSplit(dataset, size).images
    for config in (pw.Config.from_preset(**settings), pw.Config.from_preset("default", image_size=size)):
        model = config.create_model(dataset.classes, dataset.palette).eval()
        predict(model, images[:64]).argmax(1)
        for _ in range(rounds):
            started = time.perf_counter()
            for batch in images.split(64):
                predict(model, batch).argmax(1)
            wait_for_turn(turns, images_per_second=len(images) / (time.perf_counter() - started))


def figures(turns: Turns, data: str, out: str, settings: dict[str, Any]) -> None:
    """Train, and score the best and the last weights on the test split."""
    dataset = pw.load_dataset(data)
    keep = KeepWeights(math.inf)
    train(dataset, f"{out}/run", [keep], **settings)
    turns.report(**keep.scores(TestSplit(dataset, pw.Config.from_preset(**settings).image_size)))


def within(
    turns: Turns, data: str, out: str, settings: dict[str, Any], seconds: float, max_epochs: int | None = None
) -> None:
    """Train for a number of seconds, and score the best and the last weights of that time on the test split.

    The number of epochs that fill the time is computed from three epochs of another run. 5 % are left for a machine
    that slows down.
    """
    dataset = pw.load_dataset(data)
    trial = train(dataset, f"{out}/trial", [], **settings | {"epochs": 3}).read_metrics()
    first, last = trial[0]["train_seconds"] or 0.0, trial[-1]["train_seconds"] or 0.0
    seconds_per_epoch = (last - first) / (len(trial) - 1)
    epochs = max(1, int(0.95 * seconds / seconds_per_epoch))
    epochs = epochs if max_epochs is None else min(epochs, max_epochs)
    say(f"{seconds_per_epoch:.2f} s per epoch: {epochs} epochs")
    keep = KeepWeights(seconds)
    train(dataset, f"{out}/run", [keep], **settings | {"epochs": epochs})
    turns.report(epochs=epochs, **keep.scores(TestSplit(dataset, pw.Config.from_preset(**settings).image_size)))


def until(
    turns: Turns, data: str, out: str, settings: dict[str, Any], miou: float, resolution: int | None = None
) -> None:
    """Train until the mean IoU of the test split is `miou`, at most for the settings' number of epochs.

    The training begins with an empty cache of images. Masks are compared at `resolution`, or at the model's size.
    """
    dataset = pw.load_dataset(data)
    config = pw.Config.from_preset(**settings)
    stop = StopAtTarget(TestSplit(dataset, config.eval_size, resolution), miou)
    with patch.dict(os.environ, {"PIXELWISE_CACHE": f"{out}/cache"}):
        train(dataset, f"{out}/run", [stop], **settings)
    seconds = stop.curve[-1]["train_seconds"] if stop.reached else None
    turns.report(seconds=seconds, load_seconds=stop.load_seconds, epochs=config.epochs, curve=stop.curve)


def train(dataset: pw.DatasetIndex, out: str, callbacks: list[Callback], **settings: Any) -> pw.Run:
    """Train without drawings, which are no part of the comparison."""
    return pw.train(dataset, out, callbacks=callbacks, defaults=False, **settings)


def in_temporary_folder(job: Job) -> Job:
    """Give a job a temporary folder as `out`."""

    @functools.wraps(job)
    def run(turns: Turns, **arguments: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="pixelwise-") as folder:
            job(turns, out=folder, **arguments)

    return run


JOBS = {job.__name__: in_temporary_folder(job) for job in (rounds, figures, within, until)}

if __name__ == "__main__":
    configure()  # the threads and the memory settings of the command line
    run_side(JOBS)
