"""The network of a run as an ONNX model of one image at the model's size."""

import warnings

import onnx
import onnxscript.optimizer
import torch

from pixelwise.data.input_size import to_pair
from pixelwise.errors import RunError, first_line
from pixelwise.export.onnx_graph import LOGITS, OPSET
from pixelwise.inference.exported.exported_file import NETWORK_INPUT
from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.fold_batchnorm import fold_batchnorms
from pixelwise.models.model import SegmentationModel

_MAX_FOLDED_BYTES = 1 << 30
"""Maximum size in bytes of constants that are computed during the export."""


def export_network(model: SegmentationModel | SegmentationEnsemble) -> onnx.ModelProto:
    """Convert a model to ONNX. Batch norms are folded into the convolutions before them.

    Args:
        model: a model on the CPU in evaluation mode. It is not changed.

    Returns:
        A model with the input `NETWORK_INPUT`, (1, channels, height, width) uint8, and the output `LOGITS`,
        (1, C, height, width) float32.

    Raises:
        RunError: torch cannot convert an operation of the encoder or the decoder.
    """
    height, width = to_pair(model.config.size)
    generator = torch.Generator().manual_seed(0)
    example = torch.randint(256, (1, len(model.config.mean), height, width), dtype=torch.uint8, generator=generator)
    folded = fold_batchnorms(model, example)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch warns about its own deprecated functions
            program = torch.onnx.export(
                folded.eval(), (example,), dynamo=True, opset_version=OPSET, verbose=False,
                input_names=[NETWORK_INPUT], output_names=[LOGITS],
            )  # fmt: skip
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        encoder = model.config.encoder
        raise RunError(f"torch cannot convert the encoder {encoder} to ONNX ({first_line(error)})") from None
    assert program is not None
    # torch leaves large constants unfolded. Padding of weights is one, and ONNX Runtime 1.32 fails to load it.
    onnxscript.optimizer.fold_constants(
        program.model, input_size_limit=_MAX_FOLDED_BYTES, output_size_limit=_MAX_FOLDED_BYTES
    )
    return program.model_proto
