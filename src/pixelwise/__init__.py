"""Image segmentation: train, evaluate and use models that predict the class of every pixel.

>>> import pixelwise as pw
>>> data = pw.load_dataset("oxford-iiit-pet/")  # doctest: +SKIP
>>> run = pw.train(data, "runs/pets", epochs=3)  # doctest: +SKIP
>>> pw.Predictor.load(run.path)("cat.jpg").mask  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelwise.config import Config
    from pixelwise.data.analysis.inspection import DatasetReport, inspect
    from pixelwise.data.analysis.joined import join_reports
    from pixelwise.data.augmentations import build_transform, register_augmentation
    from pixelwise.data.demo.download import find_oxford_pets
    from pixelwise.data.formats.registry import register_format
    from pixelwise.data.index import DatasetIndex
    from pixelwise.data.join import join_datasets
    from pixelwise.data.load import load_dataset
    from pixelwise.data.pack import PackResult, pack
    from pixelwise.data.schema import Record
    from pixelwise.data.task import MULTICLASS, MULTILABEL
    from pixelwise.data.task_base import Task
    from pixelwise.data.torch_dataset import SegmentationDataset
    from pixelwise.errors import (
        AmbiguousDataError,
        AnnotationError,
        CacheUnavailableError,
        ConfigError,
        DataError,
        OutputError,
        OutputExistsError,
        PixelwiseError,
        RunError,
        TrainingDivergedError,
        UndecodableTiffError,
        WeightsError,
        WorkerCrashedError,
        WorkerDataError,
    )
    from pixelwise.evaluation.evaluator import evaluate
    from pixelwise.export.export import export_model
    from pixelwise.inference.batch import PredictResult, predict_folder
    from pixelwise.inference.exported.predictor import ExportedPredictor
    from pixelwise.inference.exported.self_test import verify
    from pixelwise.inference.prediction import Prediction
    from pixelwise.inference.predictor import Predictor
    from pixelwise.losses.base import list_losses, register_loss
    from pixelwise.metrics.base import Metric, list_metrics, register_metric
    from pixelwise.metrics.confusion import Metrics
    from pixelwise.metrics.evaluation import Evaluation
    from pixelwise.models.decoders.base import list_decoders, register_decoder
    from pixelwise.models.model import SegmentationModel, create_model
    from pixelwise.models.timm_models import list_encoders
    from pixelwise.planning.plan import Plan
    from pixelwise.planning.rules import make_plan
    from pixelwise.registry import Params
    from pixelwise.reporting.preview import preview
    from pixelwise.runs.group import RunGroup
    from pixelwise.runs.run_dir import Run
    from pixelwise.training.callbacks import Callback, register_callback
    from pixelwise.training.learning_curve import measure_learning_curve
    from pixelwise.training.loggers import register_logger
    from pixelwise.training.lr_finder import find_learning_rate
    from pixelwise.training.repeats import train_folds, train_seeds
    from pixelwise.training.state import TrainState
    from pixelwise.training.trainer import train
    from pixelwise.tuning.result import Tuning
    from pixelwise.tuning.study import tune

__version__ = "0.2.0.dev0"

_MODULES = {
    "AmbiguousDataError": "errors",
    "AnnotationError": "errors",
    "CacheUnavailableError": "errors",
    "Callback": "training.callbacks",
    "Config": "config",
    "ConfigError": "errors",
    "DataError": "errors",
    "DatasetIndex": "data.index",
    "DatasetReport": "data.analysis.inspection",
    "Evaluation": "metrics.evaluation",
    "ExportedPredictor": "inference.exported.predictor",
    "MULTICLASS": "data.task",
    "MULTILABEL": "data.task",
    "Metric": "metrics.base",
    "Metrics": "metrics.confusion",
    "OutputError": "errors",
    "OutputExistsError": "errors",
    "PackResult": "data.pack",
    "Params": "registry",
    "PixelwiseError": "errors",
    "Plan": "planning.plan",
    "PredictResult": "inference.batch",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "Record": "data.schema",
    "Run": "runs.run_dir",
    "RunError": "errors",
    "RunGroup": "runs.group",
    "SegmentationDataset": "data.torch_dataset",
    "SegmentationModel": "models.model",
    "Task": "data.task_base",
    "TrainState": "training.state",
    "TrainingDivergedError": "errors",
    "Tuning": "tuning.result",
    "UndecodableTiffError": "errors",
    "WeightsError": "errors",
    "WorkerCrashedError": "errors",
    "WorkerDataError": "errors",
    "build_transform": "data.augmentations",
    "create_model": "models.model",
    "evaluate": "evaluation.evaluator",
    "export_model": "export.export",
    "find_learning_rate": "training.lr_finder",
    "find_oxford_pets": "data.demo.download",
    "inspect": "data.analysis.inspection",
    "join_datasets": "data.join",
    "join_reports": "data.analysis.joined",
    "list_decoders": "models.decoders.base",
    "list_encoders": "models.timm_models",
    "list_losses": "losses.base",
    "list_metrics": "metrics.base",
    "load_dataset": "data.load",
    "make_plan": "planning.rules",
    "measure_learning_curve": "training.learning_curve",
    "pack": "data.pack",
    "predict_folder": "inference.batch",
    "preview": "reporting.preview",
    "register_augmentation": "data.augmentations",
    "register_callback": "training.callbacks",
    "register_decoder": "models.decoders.base",
    "register_format": "data.formats.registry",
    "register_logger": "training.loggers",
    "register_loss": "losses.base",
    "register_metric": "metrics.base",
    "train": "training.trainer",
    "train_folds": "training.repeats",
    "train_seeds": "training.repeats",
    "tune": "tuning.study",
    "verify": "inference.exported.self_test",
}
"""Public name → the module that defines it, below `pixelwise`. `__getattr__` imports the module at the first use of the
name. So a process that only reads images does not import torch and starts ten times as fast."""

__all__ = [
    "MULTICLASS",
    "MULTILABEL",
    "AmbiguousDataError",
    "AnnotationError",
    "CacheUnavailableError",
    "Callback",
    "Config",
    "ConfigError",
    "DataError",
    "DatasetIndex",
    "DatasetReport",
    "Evaluation",
    "ExportedPredictor",
    "Metric",
    "Metrics",
    "OutputError",
    "OutputExistsError",
    "PackResult",
    "Params",
    "PixelwiseError",
    "Plan",
    "PredictResult",
    "Prediction",
    "Predictor",
    "Record",
    "Run",
    "RunError",
    "RunGroup",
    "SegmentationDataset",
    "SegmentationModel",
    "Task",
    "TrainState",
    "TrainingDivergedError",
    "Tuning",
    "UndecodableTiffError",
    "WeightsError",
    "WorkerCrashedError",
    "WorkerDataError",
    "build_transform",
    "create_model",
    "evaluate",
    "export_model",
    "find_learning_rate",
    "find_oxford_pets",
    "inspect",
    "join_datasets",
    "join_reports",
    "list_decoders",
    "list_encoders",
    "list_losses",
    "list_metrics",
    "load_dataset",
    "make_plan",
    "measure_learning_curve",
    "pack",
    "predict_folder",
    "preview",
    "register_augmentation",
    "register_callback",
    "register_decoder",
    "register_format",
    "register_logger",
    "register_loss",
    "register_metric",
    "train",
    "train_folds",
    "train_seeds",
    "tune",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
