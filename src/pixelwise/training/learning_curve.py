"""Learning curve: trainings on a quarter and on half of the images, to estimate the gain from more images.

The directory `learning-curve/` of a run contains the two runs, and the result:

    learning-curve.json   numbers of images, mIoU, and the expected gain from twice the images
    learning-curve.png    the curve
    quarter/, half/       the runs
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.data.schema import Record
from pixelwise.data.splits import nested_subsets
from pixelwise.errors import DataError
from pixelwise.evaluation.evaluator import evaluate
from pixelwise.evaluation.extrapolation import Gain, extrapolate
from pixelwise.metrics.evaluation import ImageScore
from pixelwise.metrics.intervals import bootstrap_mean_ious
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.atomic import atomic_write
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.runtime.progress import ProgressBars
from pixelwise.training.splits import prepare_splits, with_split
from pixelwise.training.trainer import train
from pixelwise.visualization.learning_curve import plot_learning_curve

logger = logging.getLogger(__name__)

FOLDER = "learning-curve"
"""Name of the directory in the run directory."""

FRACTIONS = {"quarter": 0.25, "half": 0.5}
"""Name of a smaller run → fraction of the training images that it is trained on."""

MIN_IMAGES = 6
"""Minimum number of training images. A quarter of fewer images is a single image."""


@dataclass(frozen=True)
class LearningCurve:
    """Result of `measure_learning_curve`.

    Attributes:
        sizes: numbers of training images, increasing. The last one is that of the run itself.
        scores: mean IoU on the same validation images after training on each number of images, in [0, 1].
        val_images: number of validation images.
        gain: the expected gain of mean IoU from twice as many training images.
        path: the directory of the files.
    """

    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    val_images: int
    gain: Gain
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        return asdict(self) | {"path": str(self.path)}

    def __repr__(self) -> str:
        return f"LearningCurve({self})"

    def __str__(self) -> str:
        points = ", ".join(f"{size}: {score:.3f}" for size, score in zip(self.sizes, self.scores, strict=True))
        gain = self.gain
        return (
            f"mIoU by training images: {points}; twice the images ({gain.images}): about {gain.gain:+.3f} "
            f"({gain.low:+.3f} to {gain.high:+.3f} with 90 % probability)"
        )


def measure_learning_curve(run: Run, data: DatasetIndex, verbose: bool = False) -> LearningCurve:
    """Train on a quarter and on half of a run's training images, and extrapolate the mIoU to twice the images.

    The smaller trainings have the settings of the run without `time_budget` and `patience`, about as many optimizer
    steps, and the same validation images. The half contains the quarter. The cache of the run's images is used again.
    Smaller trainings that are complete are not repeated.

    Args:
        run: a completed run.
        data: the data set of the run.
        verbose: see `train`.

    Returns:
        The curve. Its files are in the directory `learning-curve` of the run.

    Raises:
        DataError: There are fewer than `MIN_IMAGES` training images, or their groups are too large to divide.
        PixelwiseError: See `train`.

    >>> print(measure_learning_curve(run, data))  # doctest: +SKIP
    mIoU by training images: 75: 0.689, 150: 0.716, 300: 0.738; twice the images (600): about +0.016 (+0.004 to +0.031
    with 90 % probability)
    """
    check_index(data)
    data = prepare_splits(data, run.config)
    subsets = _subsets(data.train, data, run.config)
    fabric = launch_fabric(run.config.device, run.config.precision)
    folder = run.path / FOLDER
    runs = [
        _train_subset(folder / name, run, with_split(data, subset, data.val), len(data.train), verbose)
        for name, subset in subsets.items()
    ]
    with ProgressBars(shown=verbose and fabric.is_global_zero) as bars:
        evaluations = [
            evaluate(
                each, data, "val", None, device=run.config.device,
                skip_unreadable=run.config.skip_unreadable, progress=bars.track(f"evaluating {each.path.name}"),
            )
            for each in (*runs, run)
        ]  # fmt: skip
    sizes = (*map(len, subsets.values()), len(data.train))
    scores = tuple(evaluation.metrics.mean_iou or 0.0 for evaluation in evaluations)
    gain = extrapolate(sizes, scores, 2 * sizes[-1], _deviations([each.images for each in evaluations]))
    curve = LearningCurve(sizes, scores, len(data.val), gain, folder)
    if fabric.is_global_zero:
        _write(curve)
    return curve


def _deviations(images: Sequence[Sequence[ImageScore]]) -> npt.NDArray[np.float64] | None:
    """Return the deviations of bootstrap scores from their mean, for `extrapolate`.

    Args:
        images: for each evaluation, the scores of the same images.

    Returns:
        (resamples, evaluations) float64, see `bootstrap_mean_ious`. Resamples without any class are left out. None if
        there are too few images to resample.
    """
    counts = [np.stack([image.counts for image in scores]) for scores in images]
    samples = bootstrap_mean_ious(counts, [image.group for image in images[-1]])
    if samples is None:
        return None
    samples = samples[np.isfinite(samples).all(1)]
    return samples - samples.mean(0) if len(samples) > 1 else None


def _subsets(records: Sequence[Record], data: DatasetIndex, config: Config) -> dict[str, list[Record]]:
    """Return the training records of each of `FRACTIONS`. Raise DataError if they cannot be divided."""
    if len(records) < MIN_IMAGES:
        raise DataError(
            f"{data.root}: a learning curve needs at least {MIN_IMAGES} training images, not {len(records)}"
        )
    subsets = dict(zip(FRACTIONS, nested_subsets(records, tuple(FRACTIONS.values()), config.seed), strict=True))
    sizes = [*map(len, subsets.values()), len(records)]
    if len(set(sizes)) < len(sizes):
        raise DataError(
            f"{data.root}: the groups of the training images are too large for a quarter and a half of them"
        )
    return subsets


def _train_subset(out: Path, run: Run, data: DatasetIndex, full_count: int, verbose: bool) -> Run:
    """Train on a part of the images with about as many steps as the run, without the default drawings.

    Args:
        out: the directory of the smaller run. If it contains a run, that run is continued.
        run: the run.
        data: the data set with the part as its train split.
        full_count: number of training images of the run.
        verbose: see `train`.
    """
    count = len(data.train)
    batch_size = min(run.config.batch_size, count)
    steps = len(run.read_metrics()) * max(1, full_count // run.config.batch_size)
    epochs = max(1, round(steps / max(1, count // batch_size)))
    config = run.config.replace(epochs=epochs, batch_size=batch_size, time_budget=None, patience=None)
    logger.info("learning curve: %d of %d training images, %d epochs", count, full_count, config.epochs)
    return train(data, out, config, preset=run.preset, resume=Run.exists(out), defaults=False, verbose=verbose)


def _write(curve: LearningCurve) -> None:
    with atomic_write(curve.path / "learning-curve.json") as part:
        part.write_text(json.dumps(curve.to_dict(), indent=2) + "\n", encoding="utf-8")
    gain = curve.gain
    plot_learning_curve(
        curve.path / "learning-curve.png", curve.sizes, curve.scores, gain.images, (gain.low, gain.gain, gain.high)
    )
