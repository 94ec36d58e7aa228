"""The phases of a training, whose steps differ in their duration."""

from dataclasses import dataclass
from itertools import pairwise

from pixelwise.config import DECODER_FIRST_FRACTION, START_SIZE_FRACTION, Config
from pixelwise.data.input_size import InputSize


@dataclass(frozen=True)
class Phase:
    """A part of a training whose steps take the same time.

    Attributes:
        fraction: the part of the steps, in (0, 1].
        size: size of the training images in pixels.
        is_paused: True if the gradients of the encoder are paused.
    """

    fraction: float
    size: InputSize
    is_paused: bool


def training_phases(config: Config, encoder_training: str) -> list[Phase]:
    """Return the phases of a training.

    Args:
        config: the settings.
        encoder_training: "none", "decoder-first" or "all".
    """
    paused = {"none": 1.0, "decoder-first": DECODER_FIRST_FRACTION, "all": 0.0}[encoder_training]
    small = 0.0 if config.start_size is None else START_SIZE_FRACTION
    bounds = sorted({0.0, paused, small, 1.0})
    return [
        Phase(end - start, config.smallest_size if end <= small else config.image_size, end <= paused)
        for start, end in pairwise(bounds)
    ]
