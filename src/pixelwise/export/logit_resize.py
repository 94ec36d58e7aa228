"""Bilinear resizing of logits by matrix products.

OpenVINO 2026.4 resizes one class at a time without vector instructions, and so it computes the comparisons after it.
The products are equal to its resizing but for rounding (docs/decisions.md).
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from pixelwise.export.graph_builder import GraphBuilder


def add_bilinear_weights(graph: GraphBuilder, size: str, old: Sequence[int]) -> tuple[str, str]:
    """Add the weights that resize logits to the size of the image without antialiasing.

    Args:
        graph: the graph.
        size: the name of the height and width of the image, (2,) int64.
        old: height and width of the logits.

    Returns:
        The names of R, (H, height), and of C, (width, W). R @ logits @ C are the logits at the size of the image.
    """
    rows, columns = (_add_weights(graph, size, axis, length) for axis, length in enumerate(old))
    return rows, graph.add("Transpose", [columns], perm=[1, 0])


def _add_weights(graph: GraphBuilder, size: str, axis: int, old: int) -> str:
    """Add the weights of `old` values for each new value along an axis, (new, old). Each row sums to 1.

    The positions are computed as torch does, in float32. The weight of an old value is 1 minus its distance.
    """
    new = graph.add("Gather", [size, graph.constant(axis, np.int64)])
    zero, one, half = (graph.constant(value, np.float32) for value in (0, 1, 0.5))
    count = graph.add("Cast", [new], to=TensorProto.FLOAT)
    scale = graph.add("Div", [graph.constant(old, np.float32), count])
    centers = graph.add("Mul", [graph.add("Add", [graph.add("Range", [zero, count, one]), half]), scale])
    limits = [zero, graph.constant(old - 1, np.float32)]
    positions = graph.add("Clip", [graph.add("Sub", [centers, half]), *limits])
    positions = graph.add("Unsqueeze", [positions, graph.constant([1], np.int64)])
    distances = graph.add("Abs", [graph.add("Sub", [positions, graph.constant([np.arange(old)], np.float32)])])
    return graph.add("Max", [graph.add("Sub", [one, distances]), zero])


def multiply_last_resize(network: onnx.ModelProto, graph: GraphBuilder, logits: str) -> Sequence[onnx.NodeProto]:
    """Return the nodes of a network, with matrix products in the place of the resizing that makes the logits.

    Args:
        network: the network. It is not changed.
        graph: it gets the constants.
        logits: the name of the logits.

    Returns:
        The nodes. They are those of the network if bilinear resizing does not make its logits.
    """
    *nodes, last = network.graph.node
    if last.op_type != "Resize" or list(last.output) != [logits] or not _is_bilinear(last):
        return network.graph.node
    graph_with_shapes = onnx.shape_inference.infer_shapes(network).graph
    old, new = (_shape(graph_with_shapes, name)[2:] for name in (last.input[0], logits))
    builder = graph.branch("upsampled")
    rows, columns = add_bilinear_weights(builder, builder.constant(new, np.int64), old)
    builder.add("MatMul", [builder.add("MatMul", [rows, last.input[0]]), columns], logits)
    return [*nodes, *builder.nodes]


def _is_bilinear(resize: onnx.NodeProto) -> bool:
    """Return True if a node Resize computes the same as `_add_weights`."""
    attributes = {each.name: helper.get_attribute_value(each) for each in resize.attribute}
    kinds = attributes.get("mode"), attributes.get("coordinate_transformation_mode", b"half_pixel")
    return kinds in ((b"linear", b"half_pixel"), (b"linear", b"pytorch_half_pixel")) and not attributes.get("antialias")


def _shape(graph: onnx.GraphProto, name: str) -> list[int]:
    """Return the shape of a value of a graph without dynamic axes."""
    (value,) = (each for each in [*graph.value_info, *graph.output] if each.name == name)
    return [each.dim_value for each in value.type.tensor_type.shape.dim]
