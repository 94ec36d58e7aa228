"""What happens around the training loop: images, events, checkpoints. HOOKS lists them in their order."""

from pixelwise.training.callbacks.architecture import ArchitectureDiagram
from pixelwise.training.callbacks.base import Callback
from pixelwise.training.callbacks.checkpoint import ModelCheckpoint
from pixelwise.training.callbacks.history import HistoryHook
from pixelwise.training.callbacks.sample_predictions import SamplePredictions
from pixelwise.training.callbacks.tensorboard import TensorBoardLogger

DEFAULT_CALLBACKS: tuple[type[Callback], ...] = (
    SamplePredictions,
    HistoryHook,
    ModelCheckpoint,
    ArchitectureDiagram,
    TensorBoardLogger,
)
