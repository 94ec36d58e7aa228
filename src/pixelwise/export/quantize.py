"""Networks whose layers compute with 8-bit integers."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from pixelwise.inference.exported.exported_file import NETWORK_INPUT

FLOAT_LAYERS = (1, 2, 4, 8, 16, 32)
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

    The bias of a convolution contains the mean error that the rounding of its weights adds to its output, from Nagel et
    al. 2019, "Data-free quantization through weight equalization and bias correction".

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

        def quantize(network: onnx.ModelProto, float_layers: Sequence[str]) -> onnx.ModelProto:
            onnx.save(network, source)
            quantize_static(
                source, result, _Images(images), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True,
                nodes_to_exclude=[*float_layers, *after], calibration_cache_path=Path(folder) / "ranges.json",
            )  # fmt: skip
            return onnx.load(result)

        counts = [count for count in FLOAT_LAYERS if count < len(layers)]
        shifts = bias_shifts(prepared, quantize(prepared, layers[: counts[0]]), images) if counts else {}
        for count in counts:
            corrected = with_shifted_biases(prepared, {each: shifts[each] for each in layers[count:] if each in shifts})
            yield count, _without_unused_domains(quantize(corrected, layers[:count]))


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


def bias_shifts(
    network: onnx.ModelProto, quantized: onnx.ModelProto, images: Sequence[npt.NDArray[np.uint8]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return what the biases of convolutions lack, because their weights are rounded.

    Args:
        network: the network in float32.
        quantized: the same with 8-bit integers. It has the rounded weights.
        images: inputs of the network. The mean inputs of the convolutions are those of these images.

    Returns:
        For the name of each convolution with rounded weights and a bias: the mean of its output in float32 minus that
        with rounded weights, (channels,). Zeros around the image are not considered.
    """
    weights = {each.name: each for each in network.graph.initializer}
    rounded = {each.name: each for each in quantized.graph.initializer}
    layers = [
        node
        for node in network.graph.node
        if node.op_type == "Conv"
        and len(node.input) == 3
        and node.input[2] in weights
        and f"{node.input[1]}_quantized" in rounded
    ]
    means = _channel_means(network, [node.input[0] for node in layers], images) if layers else {}
    shifts = {}
    for node in layers:
        weight = numpy_helper.to_array(weights[node.input[1]])
        integers, scale = (numpy_helper.to_array(rounded[f"{node.input[1]}_{each}"]) for each in ("quantized", "scale"))
        errors = weight - integers * scale.reshape(-1, *[1] * (weight.ndim - 1))
        sums = errors.reshape(*weight.shape[:2], -1).sum(2)  # (output channels, input channels of a group)
        inputs = means[node.input[0]].reshape(-1, weight.shape[1])
        shifts[node.name] = (sums * np.repeat(inputs, len(sums) // len(inputs), axis=0)).sum(1)
    return shifts


def with_shifted_biases(network: onnx.ModelProto, shifts: Mapping[str, npt.NDArray[np.float32]]) -> onnx.ModelProto:
    """Return a copy of a network, with values added to the biases of convolutions.

    Args:
        network: the network.
        shifts: for the name of a convolution, what is added.
    """
    result = onnx.ModelProto()
    result.CopyFrom(network)
    biases = {each.name: numpy_helper.to_array(each) for each in network.graph.initializer}
    for node in result.graph.node:
        if node.name in shifts:
            name = f"{node.name}_bias"  # two convolutions can have the same bias
            bias = (biases[node.input[2]] + shifts[node.name]).astype(np.float32)
            result.graph.initializer.append(numpy_helper.from_array(bias, name))
            node.input[2] = name
    used = {name for node in result.graph.node for name in node.input}
    for each in [each for each in result.graph.initializer if each.name not in used]:
        result.graph.initializer.remove(each)
    return result


def _channel_means(
    network: onnx.ModelProto, values: Sequence[str], images: Sequence[npt.NDArray[np.uint8]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the mean of each channel of values of a network over images, (channels,) each."""
    names = list(dict.fromkeys(values))
    observed = onnx.ModelProto()
    observed.CopyFrom(network)
    del observed.graph.output[:]
    observed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = InferenceSession(observed.SerializeToString(), providers=["CPUExecutionProvider"])
    each_image = [
        [value.mean(axis=(0, *range(2, value.ndim))) for value in session.run(names, {NETWORK_INPUT: image})]
        for image in images
    ]
    return dict(zip(names, (np.mean(each, axis=0) for each in zip(*each_image, strict=True)), strict=True))


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
