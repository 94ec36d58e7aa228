"""The duration of a model's training steps and validations, measured on a batch."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from pixelwise.config import Config
from pixelwise.data.index import DatasetIndex
from pixelwise.errors import is_out_of_memory
from pixelwise.losses import get_loss
from pixelwise.losses.partial import merge_possible_classes
from pixelwise.models.model import SegmentationModel
from pixelwise.runtime.device import use_bfloat16

_STEPS = 4
"""Minimum number of steps per mode: encoder gradients paused, or computed. The first step is not measured."""

_MIN_SECONDS = 0.4
"""Minimum duration of the measured steps of a mode, in seconds. Fast steps are therefore measured more often."""

_MAX_STEPS = 40
"""Maximum number of measured steps per mode."""


class StepTimer:
    """Measure the steps of a model.

    Args:
        model: the model, on the device.
        data: the data set.
        config: the settings.
        device: the device.
    """

    def __init__(self, model: SegmentationModel, data: DatasetIndex, config: Config, device: torch.device) -> None:
        self.model, self.device, self.data = model, device, data
        self.loss = get_loss(config.loss, data.read_spec.task)
        self.bfloat16 = use_bfloat16(device, config.precision)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # The learning rate is 0, so that the weights do not change and the steps do the same work.
        self.optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=device.type != "mps")

    def step(self, batch: Sequence[Tensor], paused: bool) -> float:
        """Return the seconds of a training step.

        Args:
            batch: images (N, channels, H, W) uint8, and masks uint8 (see `Task`).
            paused: True if the gradients of the encoder are paused.
        """
        self.model.train().encoder.pause_gradients(paused)

        def step(images: Tensor, masks: Tensor) -> None:
            loss = self._loss(images, masks)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            loss.item()

        return _seconds_in_parts(step, *(tensor.to(self.device) for tensor in batch[:2]))

    @torch.no_grad()
    def validation(self, batch: Sequence[Tensor]) -> float:
        """Return the seconds of the validation of a batch of images and masks."""
        self.model.eval()
        task, labels = self.data.read_spec.task, self.data.read_spec.partial_labels

        def validate(images: Tensor, masks: Tensor) -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                logits = self.model(images)
            self._value(logits, masks).item()
            prediction = task.logits_to_mask(logits)
            task.confusion(labels.to_comparable(masks, prediction), prediction, len(self.data.classes)).sum().item()

        return _seconds_in_parts(validate, *(tensor.to(self.device) for tensor in batch[:2]))

    def _loss(self, images: Tensor, masks: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self._value(self.model(images), masks)

    def _value(self, logits: Tensor, masks: Tensor) -> Tensor:
        return self.loss(*merge_possible_classes(logits, masks, self.data.read_spec.partial_labels), None)


def _seconds_in_parts(work: Callable[[Tensor, Tensor], None], images: Tensor, masks: Tensor) -> float:
    """Return the median duration of a function of a batch in seconds.

    If memory runs out, a part of the batch is measured. A training then computes the batch in such parts too.

    Args:
        work: a function of images and masks.
        images: (N, …), the images of the batch.
        masks: (N, …), their masks.
    """
    parts = 1
    while True:
        count = math.ceil(len(images) / parts)
        try:
            return parts * _median_seconds(partial(work, images[:count], masks[:count]))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or count <= 2:  # batch norm can need two images
                raise
        parts *= 2


def _median_seconds(work: Callable[[], None]) -> float:
    """Return the median duration of a function in seconds. The first call is not measured."""
    work()
    seconds: list[float] = []
    while len(seconds) < _STEPS - 1 or (sum(seconds) < _MIN_SECONDS and len(seconds) < _MAX_STEPS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return sorted(seconds)[len(seconds) // 2]
