"""pixelwise: image segmentation, every pixel of a photo given a label."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pixelwise.config import Config
    from pixelwise.data.dataset import SegmentationDataset
    from pixelwise.data.inspect import Inspection, inspect
    from pixelwise.data.load import load_dataset
    from pixelwise.data.records import Dataset, Record
    from pixelwise.data.shards import pack
    from pixelwise.errors import ConfigError, DataError, PixelwiseError, RunError, WeightsError
    from pixelwise.evaluate import evaluate
    from pixelwise.metrics import Metrics
    from pixelwise.plan import Plan, draw_plan
    from pixelwise.predict import Prediction, Predictor
    from pixelwise.report import show
    from pixelwise.run import Run
    from pixelwise.train import train

_HOMES = {
    "Config": "config",
    "ConfigError": "errors",
    "DataError": "errors",
    "Dataset": "data.records",
    "Inspection": "data.inspect",
    "Metrics": "metrics",
    "PixelwiseError": "errors",
    "Plan": "plan",
    "Prediction": "predict",
    "Predictor": "predict",
    "Record": "data.records",
    "Run": "run",
    "RunError": "errors",
    "SegmentationDataset": "data.dataset",
    "WeightsError": "errors",
    "draw_plan": "plan",
    "evaluate": "evaluate",
    "inspect": "data.inspect",
    "load_dataset": "data.load",
    "pack": "data.shards",
    "show": "report",
    "train": "train",
}
"""Public name → the module it lives in, imported when first asked for: processes that only look at pictures start in a
tenth of the time without torch."""

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Dataset",
    "Inspection",
    "Metrics",
    "PixelwiseError",
    "Plan",
    "Prediction",
    "Predictor",
    "Record",
    "Run",
    "RunError",
    "SegmentationDataset",
    "WeightsError",
    "draw_plan",
    "evaluate",
    "inspect",
    "load_dataset",
    "pack",
    "show",
    "train",
]


class _Package(ModuleType):
    """This package, in which `pixelwise.train` stays the function though there is a module of that name."""

    def __getattr__(self, name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        # Python sets a package's attribute to each submodule that it imports.
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
