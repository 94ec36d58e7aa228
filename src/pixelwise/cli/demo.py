"""`pixelwise demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import printable
from pixelwise.runtime.progress import ProgressBars

if TYPE_CHECKING:
    from pixelwise.runs.run_dir import Run

MAX_PREDICTED = 8
"""Maximum number of test images that the demo predicts."""


def demo_command(*, out: Path = Path("runs/demo")) -> int:
    """Train, evaluate and predict on Oxford-IIIT Pet.

    Args:
        out: Run directory. If it exists, a number is appended.
    """
    run_demo(out)
    return 0


def run_demo(out: Path) -> "Run":
    """Train with the default preset, evaluate the model on the test split, and predict test images.

    If the data set is large, the training has fewer epochs than the preset: about `TARGET_IMAGES_SEEN` images in total.

    Args:
        out: the run directory. If it exists, the first free one of out-2, out-3, … is used.

    Returns:
        The run.
    """
    # Not at the start of the file: they import torch, which the help does not need.
    from pixelwise.config import Config
    from pixelwise.data.demo.download import find_oxford_pets
    from pixelwise.data.load import load_dataset
    from pixelwise.evaluation.evaluator import evaluate
    from pixelwise.inference.batch import predict_folder
    from pixelwise.inference.predictor import Predictor
    from pixelwise.planning.rules import TARGET_IMAGES_SEEN
    from pixelwise.reporting.evaluation_text import print_evaluation
    from pixelwise.reporting.training_text import print_run
    from pixelwise.runtime.files import next_free_path
    from pixelwise.training.trainer import train

    with ProgressBars() as bars:
        folder, source = find_oxford_pets(progress=bars.track("preparing the data"))
    print(source, flush=True)
    data = load_dataset(folder)
    epochs = min(Config().epochs, max(2, round(TARGET_IMAGES_SEEN / len(data.train))))
    run = train(data, next_free_path(out), epochs=epochs, verbose=True)
    print_run(run, data)
    step = max(1, len(data.test) // MAX_PREDICTED)
    images = [Path(str(record.image)) for record in data.test[::step]][:MAX_PREDICTED]
    with ProgressBars() as bars:
        evaluation = evaluate(run, data, out="auto", progress=bars.track("evaluating on test"))
        predict_folder(Predictor.load(run.path), images, run.predictions_folder, progress=bars.track("predicting"))
    print_evaluation(evaluation)
    print(printable(f"page: {evaluation.page}"))
    print(f"masks and overlays of {len(images)} test images: {run.predictions_folder}")
    return run
