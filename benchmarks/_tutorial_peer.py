"""TensorFlow's side of the throughput rounds: runs the unchanged peer script in turns with pixelwise.

usage, in the peer's interpreter: _tutorial_peer.py SCRIPT DATA WEIGHTS TRAINING_ROUNDS EPOCHS PREDICTION_ROUNDS

The script's calls of `next` and `train_on_batch` are timed in the way of the script: a step is fetching a batch and
training on it. A round of training is EPOCHS passes over the images. One pass before the first round warms up.
"""

import os
import runpy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import Turns, installed_versions

BATCH_SIZE = 64


class StepTimer:
    """Counts the seconds of training steps, and waits for the next turn after each round."""

    def __init__(self, turns: Turns, images: int, epochs: int) -> None:
        self.turns, self.images, self.epochs = turns, images, epochs
        self.steps_per_epoch = -(-images // BATCH_SIZE)  # the last batch is smaller
        self.steps, self.seconds, self.started = 0, 0.0, 0.0
        self.round_ends = self.steps_per_epoch  # the warm-up
        self.warm = False

    def fetch(self, batches: Any) -> Any:
        """Stand in for `next` in the peer's script, which starts a step, after any evaluation."""
        if self.steps == self.round_ends:
            self.end_round()
        self.started = time.perf_counter()
        return next(batches)

    def step_done(self) -> None:
        """Add the time of a step."""
        self.seconds += time.perf_counter() - self.started
        self.steps += 1

    def end_round(self) -> None:
        """Report the rate of the round, or that the warm-up is over, and wait for the next turn."""
        rate = self.epochs * self.images / self.seconds
        self.turns.wait(**({"images_per_second": rate} if self.warm else {"ready": True}))
        self.warm, self.seconds = True, 0.0
        self.round_ends += self.epochs * self.steps_per_epoch


def main() -> None:
    script, data, weights, training_rounds, epochs, prediction_rounds = sys.argv[1:]
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before TensorFlow is imported, as in the script
    import keras

    listed = Path(data, "annotations", "trainval.txt").read_text(encoding="utf-8").splitlines()
    images = len([line for line in listed if line.strip() and not line.startswith("#")])
    turns = Turns()
    timer = StepTimer(turns, images, int(epochs))
    train_on_batch = keras.Model.train_on_batch

    def timed(model: Any, *args: Any, **options: Any) -> Any:
        logs = train_on_batch(model, *args, **options)
        timer.step_done()
        return logs

    keras.Model.train_on_batch = timed
    steps = timer.steps_per_epoch * (1 + int(training_rounds) * int(epochs))
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [script, data, weights, str(steps), str(Path(folder, "curve.json"))]
        peer = runpy.run_path(script, init_globals={"next": timer.fetch})
    timer.end_round()

    model, test_images = peer["model"], peer["V"]
    for _ in range(int(prediction_rounds)):
        started = time.perf_counter()
        for first in range(0, len(test_images), BATCH_SIZE):
            model.predict_on_batch(test_images[first : first + BATCH_SIZE]).argmax(-1)
        turns.wait(images_per_second=len(test_images) / (time.perf_counter() - started))
    turns.report(versions=installed_versions(("tensorflow-cpu", "keras")))


if __name__ == "__main__":
    main()
