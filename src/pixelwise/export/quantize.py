"""Networks whose layers compute with 8-bit integers."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from pixelwise.inference.exported.exported_file import NETWORK_INPUT

FLOAT_LAYERS = (1, 4, 6, 8, 16, 32)
"""Numbers of layers, from the first one, that stay in float32. They are tried in this order.

The first layer takes pixels. Its rounding hurts more than that of all other layers together (docs/decisions.md)."""

_SCALE, _ZERO_POINT = "pixel_scale", "pixel_zero_point"
"""Names of the inputs of the normalization."""

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators with weights."""


class _Images(CalibrationDataReader):
    """The images that calibrate a network, one after the other."""

    def __init__(self, images: Sequence[npt.NDArray[np.uint8]]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the inputs of the next image, or None at the end."""
        image = next(self._images, None)
        return None if image is None else {NETWORK_INPUT: image}


def quantized_networks(
    network: onnx.ModelProto, images: Sequence[npt.NDArray[np.uint8]]
) -> Iterator[tuple[int, onnx.ModelProto]]:
    """Yield quantized versions of a network, each with more layers in float32 than the one before.

    Activations are uint8 with a scale per tensor, and weights are int8 with a scale per channel. The scales of the
    activations come from the images. Weights use 7 of the 8 bits: processors without VNNI add two products in 16 bits,
    which overflow with larger weights, so that their masks would differ from those of other processors.

    Args:
        network: the network, see `pixelwise.export.network.export_network`.
        images: its inputs, (1, channels, height, width) each.

    Yields:
        The number of layers in float32, and the network. Its operators are QuantizeLinear, DequantizeLinear and those
        of the network.
    """
    prepared = onnx.shape_inference.infer_shapes(network)
    join_normalization(prepared.graph)
    helper.set_model_props(prepared, {"onnx.quant.pre_process": "onnxruntime.quant"})  # else it warns on stderr
    layers = [node.name for node in network.graph.node if node.op_type in _LAYERS]
    after = _nodes_after(network, layers)
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "network.onnx", Path(folder) / "quantized.onnx"
        onnx.save(prepared, source)
        for count in FLOAT_LAYERS:
            if count >= len(layers):
                return
            quantize_static(
                source, result, _Images(images), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True,
                nodes_to_exclude=[*layers[:count], *after], calibration_cache_path=Path(folder) / "ranges.json",
            )  # fmt: skip
            yield count, _without_unused_domains(onnx.load(result))


def join_normalization(graph: onnx.GraphProto) -> None:
    """Replace the conversion of the pixels to float, and (pixel - mean) / std, by one DequantizeLinear, in place.

    This is possible if the mean is a whole number in 0..255 and all channels have the same mean and std, as those of
    the EfficientNet-Lite encoders do. Otherwise nothing is changed. Three passes over the pixels become one. Files in
    float32 keep the three operators: ONNX Runtime computes other masks from this one with WebGPU (docs/decisions.md).
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
    joined = helper.make_node("DequantizeLinear", [NETWORK_INPUT, _SCALE, _ZERO_POINT], [value], name="normalize")
    position = list(graph.node).index(chain[0])
    for node in chain:
        graph.node.remove(node)
    graph.node.insert(position, joined)


def _nodes_after(network: onnx.ModelProto, layers: Sequence[str]) -> list[str]:
    """Return the names of the nodes after the last of `layers`, such as the resizing of the logits.

    Their values are no inputs of a layer with weights, so that 8 bits would cost time and save none.
    """
    names = [node.name for node in network.graph.node]
    return names[names.index(layers[-1]) + 1 :] if layers else []


def _without_unused_domains(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the operator sets that no node uses, in place, and return the model."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model
