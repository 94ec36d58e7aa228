"""Fit the temperature of the best model to validation images at the end of a training, or after an interrupt."""

import math
import time

import torch

from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.calibration import TemperatureFit
from pixelwise.models.model import SegmentationModel
from pixelwise.models.model_files import WEIGHTS_FILE
from pixelwise.runs.run_dir import Run
from pixelwise.training.passes import run_in_parts
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.tiled_validation import fixed_size_items

MAX_IMAGES = 200
"""Maximum number of validation images, or windows of them, for the fit of the temperature. They are evenly spaced."""

MAX_STOP_SECONDS = 5.0
"""Maximum time in seconds of a fit after an interrupt. Many schedulers kill a process 10 seconds after the signal."""


def store_temperature(run: Run, setup: TrainingSetup, max_seconds: float = math.inf) -> None:
    """Fit the temperature of the best model, and store it in model.safetensors and model.json.

    Only the process with rank 0 calls this. It uses its part of the validation images.

    Args:
        run: the run, with its best model on disk.
        setup: the training.
        max_seconds: maximum duration in seconds. After it, the fit uses only the images so far, which
            are at least one batch.

    Raises:
        ConfigError: See `run_in_parts`.
    """
    started = time.monotonic()
    model, images = SegmentationModel.load(run.path), fixed_size_items(setup.datasets[1], setup.config)
    predictor = Predictor(model, setup.fabric.device, setup.config.precision)
    labels = images.read_spec.partial_labels
    spaced = range(0, len(images), math.ceil(len(images) / MAX_IMAGES))
    # In random order, a fit that ends early does not depend on the order of the files.
    order = torch.randperm(len(spaced), generator=torch.Generator().manual_seed(0)).tolist()
    fit = TemperatureFit(predictor.task, len(predictor.classes), len(spaced))
    batch = setup.config.batch_size
    for start in range(0, len(spaced), batch):
        pixels, masks = zip(*(images[spaced[index]][:2] for index in order[start : start + batch]), strict=True)
        images_of_batch = torch.stack(pixels)
        parts = run_in_parts(setup, images_of_batch, images_of_batch, lambda part, _: predictor.forward(part).cpu())
        for logits, mask in zip(torch.cat(parts), masks, strict=True):
            fit.add(logits, labels.to_comparable(mask, predictor.task.logits_to_mask(logits)))
        if time.monotonic() - started > max_seconds:
            break
    model.set_temperature(fit.fit())
    run.save_best_model(model, model.config.metrics)


def store_temperature_on_stop(run: Run, setup: TrainingSetup) -> None:
    """Fit the temperature of the best model within `MAX_STOP_SECONDS`. Does nothing if there is no model yet.

    Args:
        run: the run.
        setup: the training.
    """
    if (run.path / WEIGHTS_FILE).exists():
        store_temperature(run, setup, MAX_STOP_SECONDS)
