"""The export target "onnx": one file with the whole job, from an image to its mask, in plain operators."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from pixelwise.errors import RunError, first_line
from pixelwise.export.base import ExportJob
from pixelwise.export.network import export_network
from pixelwise.export.onnx_graph import OPSET, join_job
from pixelwise.inference.exported.metadata import METADATA_KEY, ExportMetadata
from pixelwise.inference.exported.onnx_file import OnnxFile, import_onnxruntime
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.models.config import ModelConfig

_MAX_BYTES = (1 << 31) - (64 << 20)
"""Maximum size of a model in bytes. A protobuf file has at most 2 GiB."""


class OnnxModel:
    """A model in ONNX's operators, see `ExportedModel`.

    Args:
        network: the network, see `join_job`.
        config: the configuration of the model.
        probabilities: True to add the output of probabilities.
        shift: the thresholds of the classes, see `join_job`.
        for_openvino: see `join_job`.

    Attributes:
        model: the operators of the whole job.
        opset: the version of the operators.

    Raises:
        RunError: The model is too large for one file, or is not valid.
    """

    opset = OPSET

    def __init__(
        self,
        network: onnx.ModelProto,
        config: ModelConfig,
        probabilities: bool = False,
        shift: npt.NDArray[np.float32] | None = None,
        for_openvino: bool = False,
    ) -> None:
        self._network = network
        self._join = partial(
            OnnxModel, config=config, probabilities=probabilities, shift=shift, for_openvino=for_openvino
        )
        self.model = join_job(network, config, probabilities, shift, for_openvino)
        if self.model.ByteSize() > _MAX_BYTES:
            raise RunError(f"the model has {self.model.ByteSize() / 1e9:.1f} GB; an ONNX file has at most 2 GB")
        try:
            onnx.checker.check_model(self.model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise RunError(f"the ONNX file would not be valid ({first_line(error)})") from None

    def write(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the file, see `ExportedModel`."""
        del self.model.metadata_props[:]
        onnx.helper.set_model_props(self.model, {METADATA_KEY: metadata.model_dump_json()})
        path.write_bytes(self.model.SerializeToString(deterministic=True))

    def quantized(self, inputs: Sequence[npt.NDArray[np.uint8]]) -> Iterator[tuple[int, "OnnxModel"]]:
        """Yield versions with 8-bit integers, see `ExportedModel`."""
        import_onnxruntime()  # before pixelwise.export.quantize does
        from pixelwise.export.quantize import quantized_networks

        for float_layers, network in quantized_networks(self._network, inputs):
            yield float_layers, self._join(network)

    def open(self, path: Path) -> ExportedPredictor:
        """Return the predictor of a file, see `ExportedModel`."""
        return ExportedPredictor.load(path)

    def open_plain(self, path: Path) -> ExportedPredictor:
        """Return a predictor without ONNX Runtime's combined operators, see `ExportedModel`."""
        return ExportedPredictor(OnnxFile(path, optimize=False))


def export_onnx(job: ExportJob, for_openvino: bool = False) -> OnnxModel:
    """Convert a model to ONNX.

    Args:
        job: the model and its options.
        for_openvino: see `join_job`.

    Raises:
        RunError: An operation cannot be converted, or the model is too large for one file.
    """
    shift = None if job.predictor.shift is None else job.predictor.shift.numpy()
    return OnnxModel(export_network(job.predictor.model), job.config, job.probabilities, shift, for_openvino)
