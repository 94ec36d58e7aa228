"""The export target "web": a folder for any static web server, whose page computes masks in the browser."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ConfigError
from pixelwise.export.base import ExportedModel, ExportJob
from pixelwise.export.onnx_exporter import export_onnx
from pixelwise.export.web.folder import MODEL_FILE, NO_INT8, check_images, write_page
from pixelwise.export.web.runtime import CPU_FILES, read_runtime
from pixelwise.inference.exported.metadata import ExportMetadata
from pixelwise.inference.image_predictor import ImagePredictor


class WebFolder:
    """A page with an ONNX model, see `ExportedModel`. Its files are in a folder.

    Args:
        model: the model in ONNX's operators.
        runtime: the files of ONNX Runtime Web, see `read_runtime`.

    Attributes:
        opset: the version of the operators.
    """

    def __init__(self, model: ExportedModel, runtime: Mapping[str, bytes]) -> None:
        self.opset = model.opset
        self._model, self._runtime = model, runtime

    def write(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the files into a folder that exists, see `ExportedModel`."""
        self._model.write(path / MODEL_FILE, metadata)
        write_page(path, metadata.model, self._runtime, CPU_FILES)

    def quantized(self, inputs: Sequence[npt.NDArray[np.uint8]]) -> Iterator[tuple[int, ExportedModel]]:
        """Raise ConfigError, see `NO_INT8`."""
        raise ConfigError(NO_INT8)

    def open(self, path: Path) -> ImagePredictor[Any]:
        """Return the predictor of the model in a folder, see `ExportedModel`."""
        return self._model.open(path / MODEL_FILE)

    def open_plain(self, path: Path) -> ImagePredictor[Any]:
        """Raise ConfigError, see `NO_INT8`."""
        raise ConfigError(NO_INT8)


def export_web(job: ExportJob) -> WebFolder:
    """Convert a model to a page.

    Raises:
        ConfigError: The model takes other images than RGB, or ONNX Runtime Web is not available, see `read_runtime`.
        RunError: An operation cannot be converted, or the model is too large for one file.
    """
    check_images(job.config)
    runtime = read_runtime(job.runtime)
    return WebFolder(export_onnx(job), runtime)
