"""Callbacks: code that runs at fixed points of a training. `CALLBACKS` contains them by name."""

from collections.abc import Callable

from pixelwise.registry import Registry
from pixelwise.training.callbacks.architecture import ArchitectureDiagram
from pixelwise.training.callbacks.augmentation_sheet import AugmentationSheet
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.callbacks.early_stopping import EarlyStopping, EarlyStoppingParams
from pixelwise.training.callbacks.history import HistoryPlot
from pixelwise.training.callbacks.notebook_display import NotebookDisplay
from pixelwise.training.callbacks.sample_predictions import SamplePredictions

CALLBACKS: Registry[Callable[..., Callback]] = Registry("callback")
"""All callbacks by name: classes, or functions that return a `Callback`. Parameters are keyword arguments."""

register_callback = CALLBACKS.register

CALLBACKS.register("sample_predictions", SamplePredictions)
CALLBACKS.register("history_plot", HistoryPlot)
CALLBACKS.register("architecture_diagram", ArchitectureDiagram)
CALLBACKS.register("augmentation_sheet", AugmentationSheet)
CALLBACKS.register("notebook_display", NotebookDisplay)
CALLBACKS.register("early_stopping", EarlyStopping, params=EarlyStoppingParams)

DEFAULT_CALLBACKS = (
    "sample_predictions",
    "history_plot",
    "architecture_diagram",
    "augmentation_sheet",
    "notebook_display",
)
"""Names of the callbacks that run in each training by default, in the order they run."""

__all__ = ["CALLBACKS", "DEFAULT_CALLBACKS", "Callback", "EarlyStopping", "register_callback"]
