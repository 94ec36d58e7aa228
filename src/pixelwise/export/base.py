"""The registry of export targets, and their common interface."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pixelwise.inference.exported.metadata import ExportMetadata
from pixelwise.inference.image_predictor import ImagePredictor
from pixelwise.inference.predictor import Predictor
from pixelwise.models.config import ModelConfig
from pixelwise.registry import Registry


@dataclass(frozen=True)
class ExportJob:
    """The input of an exporter: a model, and the options of its target.

    Attributes:
        predictor: the model on the CPU in float32. Its masks are those that the file must give, with its thresholds.
        probabilities: True to add the output of probabilities.
        runtime: the package file of ONNX Runtime Web for the target "web", or None to download it once.
        bfloat16: True to compute with bfloat16, for targets with the trait `has_bfloat16`.
    """

    predictor: Predictor
    probabilities: bool = False
    runtime: Path | None = None
    bfloat16: bool = False

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
            path: the file. It is replaced if it exists, as are those of the trait `companions` beside it. For a target
                without a suffix: a folder that exists.
            metadata: the metadata to store in it.
        """
        ...

    def quantized(self, inputs: Sequence[npt.NDArray[np.uint8]]) -> "Iterator[tuple[int, ExportedModel]]":
        """Yield versions with 8-bit integers, each with more layers in float32 than the one before.

        Args:
            inputs: inputs of the network that calibrate it, (1, channels, height, width) uint8.

        Yields:
            The number of layers in float32, and the version.
        """
        ...

    def open(self, path: Path) -> ImagePredictor[Any]:
        """Return the predictor of a file that `write` wrote."""
        ...

    def open_plain(self, path: Path) -> ImagePredictor[Any]:
        """Return a predictor of a version with 8-bit integers that rounds otherwise, as other processors do.

        Args:
            path: the file that `write` wrote.
        """
        ...


EXPORTERS: Registry[Callable[[ExportJob], ExportedModel]] = Registry("export target")
"""All export targets by name: functions that convert the model of a job.

The trait `suffix` is that of their files, or "" for a folder. The trait `next_step` tells the user what to do with the
result. The trait `companions` has the suffixes of other files of the same name, `takes_runtime` is True if
`ExportJob.runtime` is used, and `has_bfloat16` if `ExportJob.bfloat16` is. `no_int8` is the error for 8-bit integers if
there are none.
"""
