"""The whole main job in one command, on data that is found, downloaded or drawn."""

from pathlib import Path

from pixelwise.config import Config
from pixelwise.data.demo.download import find_oxford_pets
from pixelwise.data.load import load_dataset
from pixelwise.evaluation.evaluator import evaluate
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.predictor import Predictor
from pixelwise.reporting.console import print_metrics, print_run
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.files import next_free_path
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.trainer import train

IMAGES_SHOWN = 12_000
"""Images that the demo trains on, epochs times images: what two cores do in about a minute."""


PREDICTED = 8
"""Test images that the demo predicts."""


def demo(out: Path) -> Run:
    """Train the default preset, evaluate it on the test split, predict some test images; say where all of it is.

    `out` is the run folder; where one is there already, the first free of out-2, out-3, … The epochs are those of
    the preset, or fewer on a data set so large that they would take minutes.
    """
    folder, source = find_oxford_pets()
    print(source, flush=True)
    data = load_dataset(folder)
    epochs = min(Config.from_preset().epochs, max(2, round(IMAGES_SHOWN / len(data.train))))
    run = train(data, next_free_path(out), epochs=epochs)
    print_run(run)
    chosen = [Path(str(record.image)) for record in data.test[:: max(1, len(data.test) // PREDICTED)]][:PREDICTED]
    with ProgressBars() as bars:
        evaluation = evaluate(run, data, out="auto", progress=bars.track("evaluating on test"))
        predict_folder(Predictor.load(run.path), chosen, run.predictions_folder, progress=bars.track("predicting"))
    print_metrics(evaluation.metrics, "test")
    print(f"masks and overlays of {len(chosen)} test images: {run.predictions_folder}")
    return run
