"""The course of a training: the times of its validations and of its end, by epochs or by the clock."""

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from pixelwise.config import DECODER_FIRST_FRACTION, START_SIZE_FRACTION, Config
from pixelwise.data.input_size import mean_side
from pixelwise.planning.phases import training_phases
from pixelwise.runtime.distributed import all_reduce_sum

if TYPE_CHECKING:
    from lightning_fabric import Fabric


_FINAL_DRAWINGS = 2.0
"""Estimated duration of the work after the last validation, divided by the longest after an earlier epoch."""

_PAUSED_STEP, _KEPT_STEP = 0.7, 0.35
"""Duration of a step while the encoder is paused, divided by that of a step in which it trains. The second one is for
kept features. It includes the first epochs, in which they are computed (docs/decisions.md)."""

_VALIDATED_FRACTION = 0.1
"""Maximum duration of all validations so far as a fraction of a time budget so far. The last one is made anyway."""


class Course:
    """The course of a training with a given number of epochs.

    If several processes train together, all of them call the methods at the same points.

    Args:
        config: the settings of the training.
        spent_seconds: seconds that count as spent before the training.

    Attributes:
        is_over: True if no further step may start, also within an epoch.
        started: time.monotonic() at the start of the training. If a training is resumed, it is earlier by the seconds
            that were spent before.
    """

    def __init__(self, config: Config, spent_seconds: float = 0.0) -> None:
        self.config, self.is_over = config, False
        self.started = time.monotonic() - spent_seconds

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the training so far. Those before a resume are included."""
        return time.monotonic() - self.started

    def resume(self, seconds: float) -> None:
        """Add the seconds of the training before it was resumed."""
        self.started -= seconds

    def start(self, fabric: "Fabric", validation_steps: float, final_passes: float = 0.0) -> None:
        """Begin the first epoch, after the images and the model are ready.

        Args:
            fabric: the processes that train together.
            validation_steps: estimated duration of a validation, in training steps.
            final_passes: estimated duration of the passes after the last validation, in validations.
        """

    def advance(self) -> None:
        """Update the course after an optimizer step."""

    def starts_epoch(self, epoch: int) -> bool:
        """Return True if another epoch starts after `epoch` completed ones."""
        return epoch < self.config.epochs

    def validates(self, epoch: int) -> bool:
        """Return True if the model is validated after the epoch that has just ended.

        Args:
            epoch: number of completed epochs, with that one.
        """
        return (self.config.epochs - epoch) % self.config.validate_every == 0

    def trains_decoder_only(self, epoch: int) -> bool:
        """Return True if the encoder is paused. It is in the first epochs of the training mode "decoder-first".

        Args:
            epoch: number of completed epochs.
        """
        return epoch < paused_epochs(self.config)

    def uses_start_size(self, epoch: int) -> bool:
        """Return True if training images have `start_size`. They do in the first `START_SIZE_FRACTION` of the epochs.

        Args:
            epoch: number of completed epochs.
        """
        return epoch < small_epochs(self.config)

    def record_validation(self, seconds: float) -> None:
        """Record the duration of a validation in seconds."""

    def record_epoch_end(self, seconds: float) -> None:
        """Record the duration in seconds of the work after a validation: files and images."""


class TimedCourse(Course):
    """The course of a training that ends after a given time.

    Each step moves `fraction` toward 1: by the time of the step, divided by the time that was left for steps. So it
    reaches 1 when the time ends, at any speed and with any pauses. The time for the last validation and for the last
    files and images is reserved. It is estimated from earlier ones.
    Epochs are not validated if validations would take more than a tenth of the time so far.

    The process with rank 0 decides for all processes.

    Args:
        config: the settings, with `time_budget`.
        spent_seconds: see `Course`.

    Attributes:
        fraction: the fraction of the time that has passed, from 0 at the first step to 1 at the end of the last one.
            After a resume, it starts at the fraction of the time that was spent before.
    """

    def __init__(self, config: Config, spent_seconds: float = 0.0) -> None:
        super().__init__(config, spent_seconds)
        assert config.time_budget is not None
        self.budget, self.fraction = config.time_budget, 0.0
        self._phases = _phase_bounds(config)
        self._fabric: Fabric | None = None
        self._steps, self._last, self._step_seconds = 0, 0.0, 0.0
        self._validation_steps = self._final_passes = 0.0
        self._validation = self._validations = self._epoch_end = 0.0
        self._is_validated = True

    def resume(self, seconds: float) -> None:
        """Add the seconds of the training before it was resumed. `fraction` starts at their fraction of the time."""
        super().resume(seconds)
        self.fraction = min(seconds / self.budget, 1.0)

    def start(self, fabric: "Fabric", validation_steps: float, final_passes: float = 0.0) -> None:
        """Begin the first epoch. See `Course.start`."""
        self._fabric, self._validation_steps, self._final_passes = fabric, validation_steps, final_passes
        self._last = self.seconds

    @property
    def position(self) -> float:
        """The estimated fraction of the steps that are done, in [0, 1]. The steps of each phase take a different time.

        The learning rate and the phases of the training depend on it, as they do on the epochs without a time budget.
        """
        return float(np.interp(self.fraction, *self._phases))

    @property
    def reserved(self) -> float:
        """Seconds that the last validation and the last files and images are estimated to take."""
        return self._validation_seconds() * (1 + self._final_passes) + _FINAL_DRAWINGS * self._epoch_end

    def advance(self) -> None:
        """Move `fraction` by the time since the last step. The training is over when the time for steps is over."""
        now = self.seconds
        passed, left = now - self._last, self.budget - self.reserved - self._last
        self._last = now
        self._steps += 1
        if self._steps > 1:  # the first step takes longer than the others
            self._step_seconds += (passed - self._step_seconds) / min(self._steps - 1, 50)
        fraction = min(self.fraction + (1 - self.fraction) * passed / left, 1.0) if left > 0 else 1.0
        # End if less than half a step is left, so that the time is exceeded by at most half a step.
        is_over = self._left() < self._step_seconds / 2
        self.fraction, over = self._agree(1.0 if is_over else fraction, float(is_over))
        self.is_over = bool(over)

    def starts_epoch(self, epoch: int) -> bool:
        """Return True until the time for steps is over. The first epoch always starts."""
        starts = epoch == 0 or not self._is_validated or (not self.is_over and self._left() > self._step_seconds)
        return bool(self._agree(float(starts))[0])

    def validates(self, epoch: int) -> bool:
        """Return False if validations would take too much of the time, so far or until the last one."""
        left, duration = self._left(), self._validation_seconds()
        ends = self.is_over or left <= self._step_seconds
        is_short = left > 1.5 * duration and self._validations + duration <= _VALIDATED_FRACTION * self.seconds
        is_short = is_short and epoch % self.config.validate_every == 0
        self._is_validated = bool(self._agree(float(ends or is_short))[0])
        return self._is_validated

    def trains_decoder_only(self, epoch: int) -> bool:
        """Return True in the first `DECODER_FIRST_FRACTION` of the steps of the training mode "decoder-first"."""
        return self.config.encoder_training == "decoder-first" and self.position < DECODER_FIRST_FRACTION

    def uses_start_size(self, epoch: int) -> bool:
        """Return True in the first `START_SIZE_FRACTION` of the steps if there is a `start_size`."""
        return self.config.start_size is not None and self.position < START_SIZE_FRACTION

    def record_validation(self, seconds: float) -> None:
        """Record the duration of a validation in seconds."""
        self._validation = max(seconds, 0.7 * self._validation)
        self._validations += seconds

    def record_epoch_end(self, seconds: float) -> None:
        """Record the duration in seconds of the work after a validation. The longest one counts: it included images."""
        self._epoch_end = max(seconds, self._epoch_end)

    def _left(self) -> float:
        """Return the seconds that are left for steps."""
        return self.budget - self.reserved - self.seconds

    def _validation_seconds(self) -> float:
        return self._validation or self._validation_steps * self._step_seconds

    def _agree(self, *values: float) -> list[float]:
        """Return the values of the process with rank 0."""
        fabric = self._fabric
        if fabric is None or fabric.world_size == 1:
            return list(values)
        own = torch.tensor(values, device=fabric.device)
        return all_reduce_sum(fabric, own if fabric.is_global_zero else torch.zeros_like(own)).tolist()


def _phase_bounds(config: Config) -> tuple[list[float], list[float]]:
    """Return the bounds of the phases of a training: the fractions of its time and those of its steps.

    The duration of a step is estimated as proportional to the number of pixels.
    """
    times, steps = [0.0], [0.0]
    paused = _KEPT_STEP if config.kept_versions and config.view == "whole" else _PAUSED_STEP
    for phase in training_phases(config, config.encoder_training):
        times.append(times[-1] + phase.fraction * mean_side(phase.size) ** 2 * (paused if phase.is_paused else 1.0))
        steps.append(steps[-1] + phase.fraction)
    return [each / times[-1] for each in times], [each / steps[-1] for each in steps]


def make_course(config: Config, spent_seconds: float = 0.0) -> Course:
    """Return the course of a training: by the clock if there is a time budget, else by epochs.

    Args:
        config: the settings of the training.
        spent_seconds: seconds that count as spent before the training.
    """
    return (TimedCourse if config.time_budget is not None else Course)(config, spent_seconds)


def fraction_done(config: Config, epochs: float, seconds: float) -> float:
    """Return the fraction of a training that is done, by its time budget or else by its epochs, in [0, 1].

    Args:
        config: the settings of the training.
        epochs: number of epochs that are done.
        seconds: duration of the training so far.

    >>> fraction_done(Config(epochs=8), epochs=2, seconds=50), fraction_done(Config(time_budget=100), 2, 50)
    (0.25, 0.5)
    """
    done, total = (epochs, config.epochs) if config.time_budget is None else (seconds, config.time_budget)
    return min(done / total, 1.0)


def paused_epochs(config: Config) -> int:
    """Return the number of epochs at the start in which the decoder trains alone.

    >>> paused_epochs(Config(encoder_training="decoder-first", epochs=8))
    2
    """
    return round(DECODER_FIRST_FRACTION * config.epochs) if config.encoder_training == "decoder-first" else 0


def small_epochs(config: Config) -> int:
    """Return the number of epochs at the start in which the training images have `start_size`.

    >>> small_epochs(Config(image_size=256, start_size=192, epochs=10)), small_epochs(Config(epochs=10))
    (6, 0)
    """
    return min(round(START_SIZE_FRACTION * config.epochs), config.epochs - 1) if config.start_size is not None else 0
