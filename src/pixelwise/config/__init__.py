"""The settings of a training: one flat model, its presets, and the names of version 0.1."""

from pixelwise.config.presets import PRESETS
from pixelwise.config.settings import (
    DECODER_FIRST_FRACTION,
    LR_WARMUP_FRACTION,
    Config,
    choices_of,
    format_validation_error,
    read_config,
)
from pixelwise.config.version1 import FORMAT

__all__ = [
    "DECODER_FIRST_FRACTION",
    "FORMAT",
    "LR_WARMUP_FRACTION",
    "PRESETS",
    "Config",
    "choices_of",
    "format_validation_error",
    "read_config",
]
