"""What happens around the training loop: pictures, events, checkpoints. HOOKS lists them in their order."""

from pixelwise.training.callbacks.architecture import ArchitectureHook
from pixelwise.training.callbacks.base import Hook
from pixelwise.training.callbacks.checkpoint import BestModelHook
from pixelwise.training.callbacks.history import HistoryHook
from pixelwise.training.callbacks.sample_predictions import SampleHook
from pixelwise.training.callbacks.tensorboard import TensorBoardHook

HOOKS: tuple[type[Hook], ...] = (SampleHook, HistoryHook, BestModelHook, ArchitectureHook, TensorBoardHook)
