"""Learning-rate range test: the loss of a short training whose learning rate rises with each step.

Smith 2017, "Cyclical learning rates for training neural networks", https://arxiv.org/abs/1506.01186.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count, takewhile, zip_longest
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from scipy.ndimage import gaussian_filter1d

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex, check_index
from pixelwise.errors import ConfigError
from pixelwise.planning.plan import Plan
from pixelwise.runs.checkpoint import rng_states, set_rng_states
from pixelwise.runs.run_dir import Run
from pixelwise.runtime.atomic import atomic_directory
from pixelwise.runtime.distributed import launch_fabric
from pixelwise.runtime.progress import Progress, no_progress
from pixelwise.training.course import make_course
from pixelwise.training.epoch import training_steps, update_weights
from pixelwise.training.passes import Batch, add_gradients
from pixelwise.training.progress import TrainingProgress
from pixelwise.training.resume import create_run, settle_encoder_training
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.trainer import prepare_training, seeded
from pixelwise.visualization.lr_curve import plot_lr_curve

STEPS = 100
"""Maximum number of steps of the test. It has fewer if the loss grows, see `_MAX_GROWTH`."""

MIN_LR, MAX_LR = 1e-5, 1.0
"""First and last learning rate of the test."""

_WIDTH = 3.0
"""Standard deviation, in steps, of the Gaussian weights that smooth the losses."""

_RECENT = 5
"""Number of losses whose mean is compared with the smallest such mean so far."""

_MAX_GROWTH = 4.0
"""The test ends if the mean of the `_RECENT` last losses exceeds its minimum by this factor."""

_MIN_FALL = 0.02
"""Minimum fraction by which the smoothed loss must fall for a suggestion."""

_VALLEY = 0.05
"""Losses that exceed the smallest one by at most this fraction of the total fall are as good as it, see `suggest_rate`.
"""

_MARGINS = {"onecycle": 4.0, "constant": 10.0}
"""The smallest rate in the valley divided by the suggested one, by learning-rate schedule, see `suggest_rate`.

The onecycle schedule has the rate only as its peak. A constant rate must be lower, because all steps have it.
"""


@dataclass(frozen=True)
class LearningRateCurve:
    """Result of `find_learning_rate`.

    Attributes:
        rates: the learning rates of the decoder, increasing. That of the encoder is `encoder_lr_factor` times as high.
        losses: the loss of each step. The last one can be infinite or NaN.
        smoothed: the smoothed loss of each step. Losses that are not finite are left out.
        suggestion: the suggested setting `lr`, or None if the loss did not fall.
        path: the directory of lr-finder.csv and lr-finder.png.
    """

    rates: tuple[float, ...] = field(repr=False)
    losses: tuple[float, ...] = field(repr=False)
    smoothed: tuple[float, ...] = field(repr=False)
    suggestion: float | None
    path: Path


def find_learning_rate(
    data: DatasetIndex,
    out: str | Path,
    config: Config | None = None,
    *,
    plan: Plan | None = None,
    preset: str | None = None,
    verbose: bool = False,
    **settings: Any,
) -> LearningRateCurve:
    """Train for at most `STEPS` steps with a learning rate that rises from `MIN_LR` to `MAX_LR`, and suggest one.

    The model, the images and the loss are those of `train` with the same arguments. With `encoder_training`
    "decoder-first", the encoder trains from the first step. No model is written.

    Args:
        data: the data set, see `load_dataset`.
        out: the directory for lr-finder.csv and lr-finder.png. It must be empty or missing.
        config: see `train`.
        plan: see `train`.
        preset: see `train`.
        verbose: show a progress bar on stderr.
        settings: fields of `Config`. `lr` is not used.

    Returns:
        The curve and the suggestion.

    Raises:
        PixelwiseError: See `train`. Also if several processes train together.

    >>> find_learning_rate(load_dataset("pets/"), "lr").suggestion  # doctest: +SKIP
    0.0028
    """
    check_index(data)
    run = create_run(Path(out), config, settings, preset=preset, plan=plan)
    fabric = launch_fabric(run.config.device, run.config.precision)
    if fabric.world_size > 1:
        raise ConfigError("the learning-rate finder needs a single process; start it without torchrun")
    run = Run(run.path, settle_encoder_training(run.config, fabric.device.type), run.preset)
    rates = [MIN_LR * (MAX_LR / MIN_LR) ** (step / (STEPS - 1)) for step in range(STEPS)]
    with seeded(run.config.seed, fabric), TrainingProgress(verbose) as bars:
        setup, _ = prepare_training(data, run, fabric, None, make_course(run.config), bars)
        losses = sweep(setup, rates, bars.track("raising the learning rate"))
    smoothed, rates, margin = smooth(losses), rates[: len(losses)], _MARGINS[run.config.lr_schedule]
    curve = LearningRateCurve(
        tuple(rates), tuple(losses), tuple(smoothed), suggest_rate(rates, smoothed, margin), run.path
    )
    _write(curve)
    return curve


def sweep(setup: TrainingSetup, rates: Sequence[float], progress: Progress = no_progress) -> list[float]:
    """Train one step per learning rate, and restore the weights, the optimizer and the random numbers afterwards.

    Args:
        setup: the training.
        rates: the learning rates of the decoder. The ratio of the encoder's to the decoder's is that of the optimizer.
        progress: see `Progress`. It counts the steps.

    Returns:
        The loss of each step. It has fewer values than `rates` if the loss became infinite or NaN, or grew, see
        `_MAX_GROWTH`.
    """
    optimizer, model = setup.optimizer, setup.model
    saved = deepcopy(model.state_dict()), deepcopy(optimizer.state_dict()), rng_states()
    factors = [group["lr"] / optimizer.param_groups[0]["lr"] for group in optimizer.param_groups]
    losses: list[float] = []
    lowest = math.inf
    model.train().encoder.pause_gradients(False)
    try:
        for rate, (batches, images) in zip(progress(rates, len(rates)), _endless_steps(setup), strict=False):
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["lr"] = rate * factor
            parts = add_gradients(setup, batches, images)
            weighted = [loss * len(part[0]) for loss, part in zip(parts, batches, strict=True)]
            losses.append(float(torch.stack(weighted).sum()) / images)
            recent = mean(losses[-_RECENT:])
            lowest = min(lowest, recent)
            if not math.isfinite(losses[-1]) or recent > _MAX_GROWTH * lowest:
                break
            update_weights(setup)
    finally:
        optimizer.zero_grad()
        model.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        set_rng_states(saved[2])
        setup.sampler.epoch = 0
    return losses


def _endless_steps(setup: TrainingSetup) -> Iterator[tuple[list[Batch], int]]:
    """Yield the steps of one epoch after the other, see `training_steps`."""
    for epoch in count():
        setup.sampler.epoch = epoch
        yield from training_steps(setup)


def smooth(losses: Sequence[float]) -> list[float]:
    """Return losses that are smoothed with Gaussian weights, which do not shift the curve. Stop before inf or NaN.

    >>> smooth([1.0, 1.0, 1.0])
    [1.0, 1.0, 1.0]
    """
    finite = list(takewhile(math.isfinite, losses))
    return [round(loss, 6) for loss in gaussian_filter1d(finite, _WIDTH, mode="nearest").tolist()] if finite else []


def suggest_rate(rates: Sequence[float], smoothed: Sequence[float], margin: float) -> float | None:
    """Suggest a learning rate below the valley of the losses.

    The total fall is the first loss minus the smallest one. The valley contains the rates whose loss exceeds the
    smallest one by at most `_VALLEY` of the total fall. The suggestion is the smallest rate of the valley divided by
    `margin`. The rate with the smallest loss itself is arbitrary if the valley is flat.

    Args:
        rates: learning rates, increasing by a constant factor.
        smoothed: the smoothed loss of each of the first rates.
        margin: the smallest rate of the valley divided by the suggested one.

    Returns:
        The rate, rounded to two digits. None if the loss falls by less than `_MIN_FALL` of its first value.

    >>> suggest_rate([1e-4, 1e-3, 1e-2, 1e-1], [1.0, 0.95, 0.5, 0.6], margin=4)
    0.0025
    """
    if len(smoothed) < 3 or min(smoothed) > (1 - _MIN_FALL) * smoothed[0]:
        return None
    limit = min(smoothed) + _VALLEY * (smoothed[0] - min(smoothed))
    first = next(rate for rate, loss in zip(rates, smoothed, strict=False) if loss <= limit)
    return float(f"{first / margin:.1e}")


def _write(curve: LearningRateCurve) -> None:
    """Write lr-finder.csv with a row per step, and the plot."""
    with atomic_directory(curve.path, replace=True) as part:
        with (part / "lr-finder.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("lr", "loss", "smoothed_loss"))
            writer.writerows(zip_longest(curve.rates, curve.losses, curve.smoothed))
        plot_lr_curve(part / "lr-finder.png", curve.rates, curve.losses, curve.smoothed, curve.suggestion)
