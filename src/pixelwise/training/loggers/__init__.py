"""Loggers of metrics. The registry `LOGGERS` contains them by name."""

from collections.abc import Callable
from importlib.util import find_spec

from pixelwise.registry import Registry
from pixelwise.training.loggers.base import ImageLogger, Logger
from pixelwise.training.loggers.csv import CSVLogger
from pixelwise.training.loggers.tensorboard import TensorBoardLogger

LOGGERS: Registry[Callable[..., Logger]] = Registry("logger")
"""Functions of (state: TrainState, **parameters) that return a logger. They are called before the first epoch.

The trait `requires` names a module that must be installed.
"""

register_logger = LOGGERS.register

LOGGERS.register("csv", CSVLogger)
LOGGERS.register("tensorboard", TensorBoardLogger, requires="tensorboard")


def default_loggers() -> tuple[str, ...]:
    """Return the default names for the setting `loggers`: csv, and tensorboard if it is installed."""
    return ("csv", "tensorboard") if find_spec("tensorboard") else ("csv",)


__all__ = ["LOGGERS", "CSVLogger", "ImageLogger", "Logger", "TensorBoardLogger", "default_loggers", "register_logger"]
