"""`pixelwise demo`."""

from importlib.util import find_spec
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

    At the end, the model for pets in the package predicts a real cat.

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
    print(printable(predict_cat(run.path / "cat")))
    return run


def predict_cat(out: Path) -> str:
    """Predict a photo of a cat with the model for pets in the package. The training can be on synthetic animals.

    Args:
        out: the directory of the mask and the overlay. If it exists, a number is appended.

    Returns:
        A line with the paths of the mask and the overlay. Without scikit-image, which has the photo, a line about it.
    """
    from pixelwise.inference.batch import predict_folder
    from pixelwise.inference.predictor import Predictor
    from pixelwise.runtime.files import next_free_path

    photo = find_chelsea()
    if photo is None:
        return "a real cat: pip install scikit-image, which has a photo of one"
    out = next_free_path(out)
    files = predict_folder(Predictor.load(), [photo], out).images[0]
    return (
        f"a real cat, predicted by the model for pets in the package: {out / files['mask']}, {out / files['overlay']}"
    )


def find_chelsea() -> Path | None:
    """Return the file of `skimage.data.chelsea`, a photo of a cat (CC0), or None if scikit-image is not installed."""
    spec = find_spec("skimage")
    file = Path(spec.origin).parent / "data" / "chelsea.png" if spec is not None and spec.origin else None
    return file if file is not None and file.is_file() else None
