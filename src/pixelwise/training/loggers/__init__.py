"""Loggers of metrics. The registry `LOGGERS` contains them by name."""

from collections.abc import Callable
from importlib.util import find_spec

from pixelwise.registry import Registry
from pixelwise.training.loggers.base import ImageLogger, Logger
from pixelwise.training.loggers.csv import CSVLogger
from pixelwise.training.loggers.mlflow import MLflowLogger, MLflowParams
from pixelwise.training.loggers.tensorboard import TensorBoardLogger
from pixelwise.training.loggers.trackio import TrackioLogger, TrackioParams
from pixelwise.training.loggers.wandb import WandbLogger, WandbParams

LOGGERS: Registry[Callable[..., Logger]] = Registry("logger")
"""Functions of (state: TrainState, **parameters) that return a logger. They are called before the first epoch.

The trait `requires` names a module that must be installed. The trait `extra` names the extra of pixelwise for it.
"""

register_logger = LOGGERS.register

LOGGERS.register("csv", CSVLogger)
LOGGERS.register("tensorboard", TensorBoardLogger, requires="tensorboard", extra="tensorboard")
LOGGERS.register("mlflow", MLflowLogger, params=MLflowParams, requires="mlflow", extra="mlflow")
LOGGERS.register("wandb", WandbLogger, params=WandbParams, requires="wandb", extra="wandb")
LOGGERS.register("trackio", TrackioLogger, params=TrackioParams, requires="trackio", extra="trackio")


def default_loggers() -> tuple[str, ...]:
    """Return the default names for the setting `loggers`: csv, and tensorboard if it is installed."""
    return ("csv", "tensorboard") if find_spec("tensorboard") else ("csv",)


__all__ = [
    "LOGGERS",
    "CSVLogger",
    "ImageLogger",
    "Logger",
    "MLflowLogger",
    "TensorBoardLogger",
    "TrackioLogger",
    "WandbLogger",
    "default_loggers",
    "register_logger",
]
