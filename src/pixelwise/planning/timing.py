"""TODO: module."""

import math
import time

import torch

from pixelwise.config import DECODER_FIRST_FRACTION, Config
from pixelwise.data.analysis.inspection import DatasetReport
from pixelwise.losses import get_loss
from pixelwise.runtime.cpu import apply_thread_policy
from pixelwise.runtime.device import resolve_device, use_bfloat16
from pixelwise.runtime.progress import Progress, no_progress


def estimate_training_time(
    found: DatasetReport, config: Config, training: int, progress: Progress = no_progress
) -> float:
    """How long a training would take here: a few steps on blank images, with the encoder held and with it tuned."""
    device = resolve_device(config.device)
    apply_thread_policy()  # as the training will
    model = config.create_model(found.data.classes, found.data.palette, found.data.read_spec).to(device).train()
    images = torch.zeros(
        config.batch_size, found.data.read_spec.channels, config.image_size, config.image_size, dtype=torch.uint8
    )
    images = images.to(device).contiguous(memory_format=torch.channels_last)
    shape = found.data.read_spec.task.mask_shape(len(found.data.classes), config.image_size, config.image_size)
    masks = torch.zeros(config.batch_size, *shape, dtype=torch.uint8, device=device)
    seconds: dict[bool, float] = {}
    # The first step of each kind only warms up; of the others the quicker one counts, for a machine may be busy.
    for number, held in enumerate(progress((True,) * 3 + (False,) * 3, 6)):
        model.encoder.pause_gradients(held)
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=use_bfloat16(device, config.precision)):
            loss = get_loss(config.loss, model.config.task)(model(images), masks, None)
        loss.backward()
        model.zero_grad()
        loss.item()
        if number % 3:
            seconds[held] = min(time.perf_counter() - started, seconds.get(held, math.inf))
    a_step = DECODER_FIRST_FRACTION * seconds[True] + (1 - DECODER_FIRST_FRACTION) * seconds[False]
    larger = (config.eval_size / config.image_size) ** 2
    looks = 0.3 * larger * len(found.data.val or found.data.train[training:]) / config.batch_size  # forward alone
    return config.epochs * (training / config.batch_size + looks) * a_step
