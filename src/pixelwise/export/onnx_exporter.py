"""The export target "onnx": one file with the whole job, from an image to its mask, in plain operators."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from pixelwise.errors import RunError, first_line
from pixelwise.export.base import ExportJob
from pixelwise.export.network import export_network
from pixelwise.export.onnx_graph import OPSET, join_job
from pixelwise.inference.exported.metadata import METADATA_KEY, ExportMetadata
from pixelwise.inference.exported.predictor import ExportedPredictor

_MAX_BYTES = (1 << 31) - (64 << 20)
"""Maximum size of a model in bytes. A protobuf file has at most 2 GiB."""


@dataclass
class OnnxModel:
    """A model in ONNX's operators, see `ExportedModel`.

    Attributes:
        model: the operators.
        opset: the version of the operators.
    """

    model: onnx.ModelProto
    opset: int = OPSET

    def write(self, path: Path, metadata: ExportMetadata) -> None:
        """Write the file, see `ExportedModel`."""
        del self.model.metadata_props[:]
        onnx.helper.set_model_props(self.model, {METADATA_KEY: metadata.model_dump_json()})
        path.write_bytes(self.model.SerializeToString(deterministic=True))

    def open(self, path: Path) -> ExportedPredictor:
        """Return the predictor of a file, see `ExportedModel`."""
        return ExportedPredictor.load(path)


def export_onnx(job: ExportJob) -> OnnxModel:
    """Convert a model to ONNX.

    Raises:
        RunError: An operation cannot be converted, or the model is too large for one file.
    """
    network = export_network(job.predictor.model)
    model = join_job(network, job.config, job.probabilities)
    if model.ByteSize() > _MAX_BYTES:
        raise RunError(f"the model has {model.ByteSize() / 1e9:.1f} GB; an ONNX file has at most 2 GB")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RunError(f"the ONNX file would not be valid ({first_line(error)})") from None
    return OnnxModel(model)
