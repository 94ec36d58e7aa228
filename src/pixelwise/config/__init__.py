"""The settings of a training: `Config`, presets, YAML files, and the translation of settings of version 0.1."""

from pixelwise.config.components import registry_of
from pixelwise.config.files import config_to_yaml, read_config, without_backticks
from pixelwise.config.presets import PRESETS
from pixelwise.config.settings import (
    DECODER_FIRST_FRACTION,
    LR_WARMUP_FRACTION,
    Config,
    EncoderTraining,
)
from pixelwise.config.validation import expand_freeze_encoder, format_validation_error
from pixelwise.config.version1 import FORMAT, translate

__all__ = [
    "DECODER_FIRST_FRACTION",
    "FORMAT",
    "LR_WARMUP_FRACTION",
    "PRESETS",
    "Config",
    "EncoderTraining",
    "config_to_yaml",
    "expand_freeze_encoder",
    "format_validation_error",
    "read_config",
    "registry_of",
    "translate",
    "without_backticks",
]
