"""The network of a run as an ONNX model of one image at the model's size."""

import warnings

import numpy as np
import onnx
import onnxscript.optimizer
import torch
from onnx import numpy_helper

from pixelwise.data.input_size import to_pair
from pixelwise.errors import RunError, first_line
from pixelwise.export.onnx_graph import LOGITS, NETWORK_INPUT, OPSET
from pixelwise.models.ensemble import SegmentationEnsemble
from pixelwise.models.fold_batchnorm import fold_batchnorms
from pixelwise.models.model import SegmentationModel

_MAX_FOLDED_BYTES = 1 << 30
"""Maximum size in bytes of constants that are computed during the export."""

_SCALE, _ZERO_POINT = "pixel_scale", "pixel_zero_point"
"""Names of the inputs of the normalization."""


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
    network = program.model_proto
    _join_normalization(network.graph)
    return network


def _join_normalization(graph: onnx.GraphProto) -> None:
    """Replace the conversion of the pixels to float, and (pixel - mean) / std, by one DequantizeLinear, in place.

    This is possible if the mean is a whole number in 0..255 and all channels have the same mean and std, as those of
    the EfficientNet-Lite encoders do. Otherwise nothing is changed. Three passes over the pixels become one.
    """
    constants = {each.name: each for each in graph.initializer}
    chain: list[onnx.NodeProto] = []
    value = NETWORK_INPUT
    for op in ("Cast", "Sub", "Div"):
        users = [node for node in graph.node if value in node.input]
        if len(users) != 1 or users[0].op_type != op or any(each not in constants for each in users[0].input[1:]):
            return
        chain += users
        value = users[0].output[0]
    means, stds = (np.unique(numpy_helper.to_array(constants[node.input[1]])) for node in chain[1:])
    if len(means) > 1 or len(stds) > 1 or means[0] not in range(256):
        return
    for node in chain[1:]:
        graph.initializer.remove(constants[node.input[1]])
    scale, zero_point = np.array(1 / stds[0], np.float32), np.array(means[0], np.uint8)
    graph.initializer.extend([numpy_helper.from_array(scale, _SCALE), numpy_helper.from_array(zero_point, _ZERO_POINT)])
    joined = onnx.helper.make_node("DequantizeLinear", [NETWORK_INPUT, _SCALE, _ZERO_POINT], [value], name="normalize")
    position = list(graph.node).index(chain[0])
    for node in chain:
        graph.node.remove(node)
    graph.node.insert(position, joined)
