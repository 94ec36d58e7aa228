"""The export target "openvino": the operators of the ONNX file as an OpenVINO model, an .xml file and a .bin file."""

import errno
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ConfigError, RunError
from pixelwise.export.base import ExportJob
from pixelwise.export.onnx_exporter import OnnxModel, export_onnx
from pixelwise.inference.exported.metadata import METADATA_KEY, ExportMetadata
from pixelwise.inference.exported.openvino_file import OpenVinoFile, has_bfloat16, import_openvino
from pixelwise.inference.exported.predictor import ExportedPredictor


class OpenVinoModel:
    """A model in OpenVINO's operators, see `ExportedModel`.

    Args:
        source: the model in ONNX's operators.

    Attributes:
        opset: the version of ONNX's operators.
    """

    def __init__(self, source: OnnxModel) -> None:
        self.opset = source.opset
        self._source = source
        self._openvino: Any = import_openvino()

    def write(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the .xml file, and the .bin file beside it, see `ExportedModel`.

        Raises:
            RunError: OpenVINO cannot convert an operator.
            OSError: A file cannot be written, for example because the disk is full.
        """
        try:
            model = self._openvino.Core().read_model(self._source.model.SerializeToString(deterministic=True))
        except RuntimeError as error:
            raise RunError(f"OpenVINO cannot convert the model ({OpenVinoFile.plain(error)})") from None
        model.set_rt_info(metadata.model_dump_json(), METADATA_KEY)
        # Weights of 16 bits change more than 0.1 % of the pixels (docs/decisions.md).
        try:
            self._openvino.save_model(model, path, compress_to_fp16=False)
        except RuntimeError as error:
            # The error of OpenVINO has no number.
            is_full = shutil.disk_usage(path.parent).free < self._source.model.ByteSize()
            raise OSError(errno.ENOSPC if is_full else errno.EIO, OpenVinoFile.plain(error), str(path)) from None

    def quantized(self, inputs: Sequence[npt.NDArray[np.uint8]]) -> Iterator[tuple[int, "OpenVinoModel"]]:
        """Yield versions with 8-bit integers, see `ExportedModel`."""
        for float_layers, source in self._source.quantized(inputs):
            yield float_layers, OpenVinoModel(source)

    def open(self, path: Path) -> ExportedPredictor:
        """Return the predictor of a file, see `ExportedModel`."""
        return ExportedPredictor.load(path)

    def open_plain(self, path: Path) -> ExportedPredictor:
        """Return a predictor that computes the same operators with ONNX Runtime, see `ExportedModel`."""
        metadata = ExportedPredictor.load(path).file.metadata
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "model.onnx"
            self._source.write(source, metadata)
            return self._source.open_plain(source)


def export_openvino(job: ExportJob) -> OpenVinoModel:
    """Convert a model to OpenVINO.

    Raises:
        ConfigError: openvino is not installed, or this processor has no bfloat16.
        RunError: An operation cannot be converted, or the model is too large.
    """
    openvino = import_openvino()  # before the conversion to ONNX, which takes long
    if job.bfloat16 and not has_bfloat16(openvino):
        raise ConfigError(
            "this processor has no instructions for bfloat16, so the masks of the file cannot be measured; export on a "
            "processor with AVX-512 BF16 or AMX, or set `int8`"
        )
    return OpenVinoModel(export_onnx(job, for_openvino=True))
