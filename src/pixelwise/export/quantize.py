"""Networks whose layers compute with 8-bit integers."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from pixelwise.export.onnx_graph import NETWORK_INPUT

FLOAT_LAYERS = (1, 4, 6, 8, 16, 32)
"""Numbers of layers, from the first one, that stay in float32. They are tried in this order.

The first layer takes pixels. Its rounding hurts more than that of all other layers together (docs/decisions.md)."""

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
