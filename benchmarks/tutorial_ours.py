"""pixelwise's side of against_tutorial.py: one job in a process of its own.

usage: tutorial_ours.py '{"job": "rounds", …}'   (the other keys: the arguments of the function of that name)
"""

import copy
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import report, rest

import pixelwise as pw
from pixelwise.data.task import MULTICLASS
from pixelwise.models.model import SegmentationModel
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.state import TrainState


class TestSplit:
    """The test split at the model's size, read once, and scored by pixelwise's own code.

    The figures are those of `pixelwise evaluate RUN DATA --resolution model`, which reads the images each time.
    """

    def __init__(self, data: pw.DatasetIndex, size: int) -> None:
        self.classes = data.classes
        items = pw.SegmentationDataset(data.records("test"), data.reading, size).items
        self.images = torch.stack([image for image, _ in items])
        self.masks = torch.stack([mask for _, mask in items])

    def score(self, model: SegmentationModel) -> dict[str, float | None]:
        """A model's accuracy and mean IoU over the whole split."""
        training = model.training
        model.eval()
        confusion = MULTICLASS.zero_matrix(len(self.classes))
        for images, masks in zip(self.images.split(16), self.masks.split(16), strict=True):
            confusion += MULTICLASS.confusion(masks, predict(model, images), len(self.classes))
        model.train(training)
        metrics = pw.Metrics.from_confusion(confusion, self.classes, MULTICLASS, len(self.masks), "model")
        return {"accuracy": metrics.accuracy, "miou": metrics.miou}


def predict(model: SegmentationModel, images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) uint8 images of the model's size → (N, H, W) class indices."""
    return pw.Predictor(model).batch_logits(images).argmax(1)


class TakeTurns(Callback):
    """Rests after the first epoch, which warms up, and after every `epochs` from then on."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(self, state: TrainState) -> None:
        if state.epoch == 1:
            rest(ready=True)
        elif (state.epoch - 1) % self.epochs == 0:
            # Epochs show equally many images, so the rate over all of them is the harmonic mean.
            rates = [row["images_per_second"] for row in state.history[-self.epochs :]]
            rest(images_per_second=statistics.harmonic_mean(rates))


class KeepWeights(Callback):
    """Keeps the best weights by validation and the last ones, of the epochs that ended within `seconds` of training."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.kept: dict[str, tuple[dict[str, float | None], dict[str, torch.Tensor]]] = {}

    def on_epoch_end(self, state: TrainState) -> None:
        self.model, row = state.model, state.history[-1]
        if row["train_seconds"] <= self.seconds:
            self.kept["last"] = (row, copy.deepcopy(state.model.state_dict()))
            if state.best_epoch == state.epoch:
                self.kept["best"] = self.kept["last"]

    def scores(self, split: TestSplit) -> dict[str, Any]:
        """The figures of both on the test split, with when they were reached."""
        found = {}
        for name, (row, weights) in self.kept.items():
            self.model.load_state_dict(weights)
            when = {key: row[key] for key in ("epoch", "step", "train_seconds", "val_miou")}
            found[name] = when | split.score(self.model)
        return found


class TargetReached(Exception):  # noqa: N818 - it is good news
    """The test split's mean IoU is as high as asked."""


class WatchTestSplit(Callback):
    """Scores the test split after each epoch, outside the timed training, until it reaches the target."""

    def __init__(self, split: TestSplit, target: float) -> None:
        self.split, self.target = split, target
        self.curve: list[dict[str, Any]] = []

    def on_epoch_end(self, state: TrainState) -> None:
        row = state.history[-1]
        score = self.split.score(state.model)
        self.curve.append({key: row[key] for key in ("epoch", "step", "train_seconds", "val_miou")} | score)
        print(f"test mIoU {score['miou']:.4f} after {row['train_seconds']:.1f} s of training", flush=True)
        if score["miou"] >= self.target:
            raise TargetReached


def rounds(data: str, out: str, settings: dict[str, Any], rounds: int, epochs: int) -> None:
    """Training, then prediction by both presets, in rounds of `epochs` passes and of the test split, by turns."""
    dataset = pw.load_dataset(data)
    pw.train(dataset, f"{out}/run", callbacks=[TakeTurns(epochs)], defaults=False, epochs=1 + rounds * epochs, **settings)
    size = pw.Config.of(**settings).size
    images = TestSplit(dataset, size).images
    for config in (pw.Config.of(**settings), pw.Config.of("default", size=size)):
        model = config.create_model(dataset.classes, dataset.palette).eval()
        predict(model, images[:64])
        for _ in range(rounds):
            started = time.perf_counter()
            for batch in images.split(64):
                predict(model, batch)
            rest(images_per_second=len(images) / (time.perf_counter() - started))


def figures(data: str, out: str, settings: dict[str, Any]) -> None:
    """A whole training; the best and the last weights on the test split."""
    dataset = pw.load_dataset(data)
    keep = KeepWeights(math.inf)
    pw.train(dataset, f"{out}/run", callbacks=[keep], defaults=False, **settings)
    report(**keep.scores(TestSplit(dataset, pw.Config.of(**settings).size)))


def within(data: str, out: str, settings: dict[str, Any], seconds: float) -> None:
    """A training whose epochs fill so many seconds; its best and last weights by then, on the test split.

    How many epochs fill them is found by three epochs of another run; 5 % is left for a machine that slows down.
    """
    dataset = pw.load_dataset(data)
    trial = pw.train(dataset, f"{out}/trial", callbacks=["history_plot"], defaults=False, epochs=3, **settings).read_metrics()
    each = (trial[-1]["train_seconds"] - trial[0]["train_seconds"]) / (len(trial) - 1)
    epochs = max(1, int(0.95 * seconds / each))
    print(f"{each:.2f} s an epoch: {epochs} epochs", flush=True)
    keep = KeepWeights(seconds)
    pw.train(dataset, f"{out}/run", callbacks=[keep], defaults=False, epochs=epochs, **settings)
    report(epochs=epochs, **keep.scores(TestSplit(dataset, pw.Config.of(**settings).size)))


def until(data: str, out: str, settings: dict[str, Any], miou: float) -> None:
    """Train until the test split's mean IoU is `miou`, at the latest to the settings' last epoch."""
    dataset = pw.load_dataset(data)
    config = pw.Config.of(**settings)
    watch = WatchTestSplit(TestSplit(dataset, config.size), miou)
    reached = False
    try:
        pw.train(dataset, f"{out}/run", callbacks=[watch], defaults=False, **settings)
    except TargetReached:
        reached = True
    seconds = watch.curve[-1]["train_seconds"] if reached else None
    report(seconds=seconds, epochs=config.epochs, curve=watch.curve)


JOBS = {job.__name__: job for job in (rounds, figures, within, until)}


def main() -> None:
    spec = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="pixelwise-") as folder:
        JOBS[spec.pop("job")](out=str(Path(folder)), **spec)


if __name__ == "__main__":
    main()
