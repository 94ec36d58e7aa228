"""Image segmentation: a label for every pixel."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pixelwise.config import Config
    from pixelwise.data.analysis.inspection import DatasetReport, inspect
    from pixelwise.data.load import load_dataset
    from pixelwise.data.pack import pack
    from pixelwise.data.schema import DatasetIndex, Record
    from pixelwise.data.torch_dataset import SegmentationDataset
    from pixelwise.errors import ConfigError, DataError, PixelwiseError, RunError, WeightsError
    from pixelwise.evaluation.evaluator import evaluate
    from pixelwise.inference.predictor import Prediction, Predictor
    from pixelwise.metrics.confusion import Metrics
    from pixelwise.planning.plan import Plan
    from pixelwise.planning.rules import make_plan
    from pixelwise.reporting.preview import preview
    from pixelwise.runs.run_dir import Run
    from pixelwise.training.trainer import train


__version__ = "0.1.0"

_MODULES = {
    "Config": "config",
    "ConfigError": "errors",
    "DataError": "errors",
    "DatasetIndex": "data.schema",
    "DatasetReport": "data.analysis.inspection",
    "Metrics": "metrics.confusion",
    "PixelwiseError": "errors",
    "Plan": "planning.plan",
    "Prediction": "inference.predictor",
    "Predictor": "inference.predictor",
    "Record": "data.schema",
    "Run": "runs.run_dir",
    "RunError": "errors",
    "SegmentationDataset": "data.torch_dataset",
    "WeightsError": "errors",
    "make_plan": "planning.rules",
    "evaluate": "evaluation.evaluator",
    "inspect": "data.analysis.inspection",
    "load_dataset": "data.load",
    "pack": "data.pack",
    "preview": "reporting.preview",
    "train": "training.trainer",
}
"""Public name → the module that defines it. A module is imported at the first use of a name: a process that only reads
images starts in a tenth of the time without torch."""

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "DatasetIndex",
    "DatasetReport",
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
    "evaluate",
    "inspect",
    "load_dataset",
    "make_plan",
    "pack",
    "preview",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
