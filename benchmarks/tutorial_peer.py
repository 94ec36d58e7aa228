"""TensorFlow's side of the throughput rounds: runs the peer script, as it is, taking turns with pixelwise.

usage, in the peer's interpreter: tutorial_peer.py SCRIPT DATA WEIGHTS ROUNDS EPOCHS

The script's own `next` and `train_on_batch` are watched, and time is counted as the script counts it: a step is
fetching the batch and training on it. EPOCHS passes over the images make a round; one pass before the first warms up.
"""

import importlib.metadata
import os
import runpy
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import report, rest

BATCH_SIZE = 64


class Watch:
    """Counts the seconds of training steps and hands over after each round."""

    def __init__(self, images: int, epochs: int) -> None:
        self.images, self.epochs = images, epochs
        self.steps_per_epoch = -(-images // BATCH_SIZE)  # the last batch is smaller
        self.steps, self.seconds, self.started = 0, 0.0, 0.0
        self.round_ends = self.steps_per_epoch  # the warm-up
        self.warm = False

    def fetch(self, batches: Any) -> Any:
        """In place of `next` in the peer's script: the first thing of a step, after any evaluation."""
        if self.steps == self.round_ends:
            self.hand_over()
        self.started = time.perf_counter()
        return next(batches)

    def step_done(self) -> None:
        self.seconds += time.perf_counter() - self.started
        self.steps += 1

    def hand_over(self) -> None:
        rate = self.epochs * self.images / self.seconds
        rest(**({"images_per_second": rate} if self.warm else {"ready": True}))
        self.warm, self.seconds = True, 0.0
        self.round_ends += self.epochs * self.steps_per_epoch


def main() -> None:
    script, data, weights, rounds, epochs = sys.argv[1:]
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the script does, before TensorFlow is imported
    import keras

    listed = Path(data, "annotations", "trainval.txt").read_text().splitlines()
    images = len([line for line in listed if line.strip() and not line.startswith("#")])
    watch = Watch(images, int(epochs))
    train_on_batch = keras.Model.train_on_batch

    def watched(model: Any, *args: Any, **options: Any) -> Any:
        logs = train_on_batch(model, *args, **options)
        watch.step_done()
        return logs

    keras.Model.train_on_batch = watched
    steps = watch.steps_per_epoch * (1 + int(rounds) * int(epochs))
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [script, data, weights, str(steps), str(Path(folder, "curve.json"))]
        peer = runpy.run_path(script, init_globals={"next": watch.fetch})
    watch.hand_over()

    model, images_shown = peer["model"], peer["V"]
    for _ in range(int(rounds)):
        started = time.perf_counter()
        for first in range(0, len(images_shown), BATCH_SIZE):
            model.predict_on_batch(images_shown[first : first + BATCH_SIZE]).argmax(-1)
        rest(images_per_second=len(images_shown) / (time.perf_counter() - started))
    versions = {name: importlib.metadata.version(name) for name in ("tensorflow-cpu", "keras")}
    report(versions=versions)


if __name__ == "__main__":
    main()
