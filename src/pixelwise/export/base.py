"""The registry of export targets, and their common interface."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pixelwise.inference.exported.metadata import ExportMetadata
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.predictor import Predictor
from pixelwise.models.config import ModelConfig
from pixelwise.registry import Registry


@dataclass(frozen=True)
class ExportJob:
    """What an exporter converts.

    Attributes:
        predictor: the model on the CPU in float32. Its masks are those that the file must give.
        probabilities: True to add the output of probabilities.
    """

    predictor: Predictor
    probabilities: bool = False

    @property
    def config(self) -> ModelConfig:
        """The configuration of the model."""
        return self.predictor.config


class ExportedModel(Protocol):
    """A converted model, before it has metadata."""

    opset: int

    def write(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the file.

        Args:
            path: the file. It is replaced if it exists.
            metadata: the metadata to store in it.
        """
        ...

    def open(self, path: Path) -> ImagePredictor[Any]:
        """Return the predictor of a file that `write` wrote."""
        ...


EXPORTERS: Registry[Callable[[ExportJob], ExportedModel]] = Registry("export target")
"""All export targets by name: functions that convert the model of a job. The trait `suffix` is that of their files."""
