"""The settings of a training: `Config`, presets, YAML files, and the translation of settings of version 0.1."""

from pixelwise.config.components import registry_of
from pixelwise.config.data_settings import START_SIZE_FRACTION
from pixelwise.config.encoder_training import DECODER_FIRST_FRACTION, EncoderTraining
from pixelwise.config.files import EARLIER_DEFAULTS, config_to_yaml, read_config, without_backticks
from pixelwise.config.machine_settings import MACHINE_SETTINGS
from pixelwise.config.presets import PRESETS
from pixelwise.config.settings import LR_WARMUP_FRACTION, Config
from pixelwise.config.validation import check_length, expand_shorthands, format_validation_error
from pixelwise.config.version1 import FORMAT, translate

__all__ = [
    "DECODER_FIRST_FRACTION",
    "EARLIER_DEFAULTS",
    "FORMAT",
    "LR_WARMUP_FRACTION",
    "MACHINE_SETTINGS",
    "PRESETS",
    "START_SIZE_FRACTION",
    "Config",
    "EncoderTraining",
    "check_length",
    "config_to_yaml",
    "expand_shorthands",
    "format_validation_error",
    "read_config",
    "registry_of",
    "translate",
    "without_backticks",
]
