"""Estimate the duration of a training from a few steps."""

import math
import time

import torch

from pixelwise.config import DECODER_FIRST_FRACTION, Config
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.losses import get_loss
from pixelwise.runtime.cpu import apply_thread_policy
from pixelwise.runtime.device import resolve_device, use_bfloat16
from pixelwise.runtime.progress import Progress, no_progress

_STEPS = 3
"""Number of steps per mode: encoder gradients paused, or computed. The first step of each mode is not measured."""

_FORWARD_FRACTION = 0.3
"""Duration of a forward pass divided by that of a training step."""


def estimate_training_time(
    report: DatasetReport, config: Config, train_count: int, progress: Progress = no_progress
) -> float:
    """Estimate the duration of a training on this machine by running a few steps on blank images.

    Args:
        report: the data set.
        config: the settings of the training.
        train_count: number of training images. If there is no val split, the other images of the train split are used
            for validation.
        progress: see `Progress`. It counts the steps.

    Returns:
        Seconds of all epochs, with validation.
    """
    device = resolve_device(config.device)
    apply_thread_policy()  # the same number of threads as in the training
    mode = config.resolve_encoder_training(device.type).mode
    paused = {"none": 1.0, "decoder-first": DECODER_FIRST_FRACTION, "all": 0.0}[mode]
    fractions = {pause: fraction for pause, fraction in ((True, paused), (False, 1 - paused)) if fraction}
    seconds = _time_steps(report, config, device, list(fractions), progress)
    step = sum(fraction * seconds[pause] for pause, fraction in fractions.items())
    scale = (config.eval_size / config.image_size) ** 2
    val_count = len(report.data.train) + len(report.data.val) - train_count
    return config.epochs * step * (train_count + _FORWARD_FRACTION * scale * val_count) / config.batch_size


def _time_steps(
    report: DatasetReport, config: Config, device: torch.device, pauses: list[bool], progress: Progress
) -> dict[bool, float]:
    """Measure a training step. Return a mapping: True if the encoder's gradients are paused, else False → seconds."""
    data, size = report.data, config.image_size
    model = config.create_model(data.classes, data.palette, data.read_spec).to(device).train()
    images = torch.zeros(config.batch_size, data.read_spec.channels, size, size, dtype=torch.uint8, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    shape = data.read_spec.task.mask_shape(len(data.classes), size, size)
    masks = torch.zeros(config.batch_size, *shape, dtype=torch.uint8, device=device)
    loss_function = get_loss(config.loss, data.read_spec.task)
    seconds: dict[bool, float] = {}
    # The fastest step is used, because other programs can slow down a step.
    schedule = [(pause, step) for pause in pauses for step in range(_STEPS)]
    for pause, step in progress(schedule, len(schedule)):
        model.encoder.pause_gradients(pause)
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(device, config.precision)):
            loss = loss_function(model(images), masks, None)
        loss.backward()
        model.zero_grad()
        loss.item()
        if step > 0:
            seconds[pause] = min(time.perf_counter() - started, seconds.get(pause, math.inf))
    return seconds
