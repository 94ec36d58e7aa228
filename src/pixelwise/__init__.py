"""pixelwise: image segmentation, every pixel of a photo given a label."""

from pixelwise.config import Config
from pixelwise.data.dataset import Dataset, Record, SegmentationDataset
from pixelwise.data.formats import load_dataset
from pixelwise.errors import ConfigError, DataError, PixelwiseError, RunError, WeightsError
from pixelwise.evaluate import evaluate
from pixelwise.metrics import Metrics
from pixelwise.predict import Prediction, Predictor
from pixelwise.report import show
from pixelwise.run import Run
from pixelwise.train import train

__version__ = "0.1.0"

__all__ = [
    "Config",
    "ConfigError",
    "DataError",
    "Dataset",
    "Metrics",
    "PixelwiseError",
    "Prediction",
    "Predictor",
    "Record",
    "Run",
    "RunError",
    "SegmentationDataset",
    "WeightsError",
    "evaluate",
    "load_dataset",
    "show",
    "train",
]
