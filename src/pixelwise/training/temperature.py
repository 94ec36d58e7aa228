"""Fit the temperature of the best model to validation images at the end of a training."""

import math

import torch

from pixelwise.inference.predictor import Predictor
from pixelwise.metrics.calibration import TemperatureFit
from pixelwise.models.model import SegmentationModel
from pixelwise.runs.run_dir import Run
from pixelwise.training.setup import TrainingSetup
from pixelwise.training.tiled_validation import fixed_size_items

MAX_IMAGES = 200
"""Maximum number of validation images, or windows of them, for the fit of the temperature. They are evenly spaced."""


def store_temperature(run: Run, setup: TrainingSetup) -> None:
    """Fit the temperature of the best model, and store it in model.safetensors and model.json.

    The process with rank 0 calls this, with its part of the validation images.

    Args:
        run: the run, with its best model on disk.
        setup: the training.
    """
    model, images = SegmentationModel.load(run.path), fixed_size_items(setup.datasets[1], setup.config)
    predictor = Predictor(model, setup.fabric.device, setup.config.precision)
    labels = images.read_spec.partial_labels
    indices = range(0, len(images), math.ceil(len(images) / MAX_IMAGES))
    fit = TemperatureFit(predictor.task, len(predictor.classes), len(indices))
    batch = setup.config.batch_size
    for start in range(0, len(indices), batch):
        pixels, masks = zip(*(images[index][:2] for index in indices[start : start + batch]), strict=True)
        for logits, mask in zip(predictor.forward(torch.stack(pixels)).cpu(), masks, strict=True):
            fit.add(logits, labels.to_comparable(mask, predictor.task.logits_to_mask(logits)))
    model.set_temperature(fit.fit())
    run.save_best_model(model, model.config.metrics)
