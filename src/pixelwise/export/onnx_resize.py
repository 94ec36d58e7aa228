"""The operators that resize an image to the model's size exactly as `pixelwise.data.resize.resize_image` does.

ONNX has an operator with antialiasing, Resize. But it rounds its weights otherwise than torch, so up to 0.5 % of the
values differ by 1 of 255, which changed up to 0.3 % of the pixels of masks (docs/decisions.md). So the image is
multiplied by the weights that torch uses, which are computed from its size. Most weights are 0. They are left out by
computing the result in blocks, each from the part of the image that it needs.
"""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from pixelwise.data.input_size import to_pair
from pixelwise.export.graph_builder import GraphBuilder
from pixelwise.inference.exported.exported_file import PLANES
from pixelwise.models.config import ModelConfig

BLOCK = 64
"""Number of new rows or columns that are computed at once."""

_WEIGHT_LIMIT = 1 << 15
"""torch's weights are integers below this limit."""

_MAX_DIGITS = 22
"""Maximum number of binary digits of torch's weights after the point."""


@dataclass(frozen=True)
class _Block:
    """A range of new values, and the old values that they depend on.

    Attributes:
        start, stop: names of the first old value and of the one after the last, (1,) int64.
        weights: the name of the weights, (new values, old values) float64. Each row sums to 1.
    """

    start: str
    stop: str
    weights: str


def add_input_resize(graph: GraphBuilder, image: str, config: ModelConfig, output: str, has_size: str = "") -> None:
    """Add the conversion of an image to the network's input.

    Args:
        graph: the graph.
        image: the name of the image, (1, H, W, channels) uint8.
        config: the configuration of the model.
        output: the name of the result, (1, channels, height, width) uint8.
        has_size: the name of the result of `add_size_check`. If it is true, the image is used as it is. "" to resize
            each image.
    """
    if not has_size:
        planes = graph.add("Identity", [_to_planes(graph, image)], PLANES)
        graph.add("Identity", [_resize(graph, planes, config)], output)
        return
    same, other = graph.branch("same"), graph.branch("resized")
    graph.add(
        "If",
        [has_size],
        output,
        then_branch=same.body(_to_planes(same, image)),
        else_branch=other.body(_resize(other, _to_planes(other, image), config)),
    )


def add_size_check(graph: GraphBuilder, size: str, config: ModelConfig) -> str:
    """Return the name of a truth value: the image has the model's size.

    Args:
        graph: the graph.
        size: the name of the height and width of the image, (2,) int64.
        config: the configuration of the model.
    """
    equal = graph.add("Equal", [size, graph.constant(to_pair(config.size), np.int64)])
    differences = graph.add("Cast", [graph.add("Not", [equal])], to=TensorProto.INT64)
    count = graph.add("ReduceSum", [differences], keepdims=0)
    return graph.add("Equal", [count, graph.constant(0, np.int64)])


def _to_planes(graph: GraphBuilder, image: str) -> str:
    """Return (1, channels, H, W) of an image (1, H, W, channels)."""
    return graph.add("Transpose", [image], perm=[0, 3, 1, 2])


def _resize(graph: GraphBuilder, planes: str, config: ModelConfig) -> str:
    """Resize an image, (1, channels, H, W) uint8, to the model's size, and return the name of the result."""
    height, width = to_pair(config.size)
    # torch resizes the width first, and rounds the result to 8 bits.
    return _resize_axis(graph, _resize_axis(graph, planes, width, 3), height, 2)


def _resize_axis(graph: GraphBuilder, values: str, new: int, axis: int) -> str:
    """Resize one axis of an image, and return the name of the result.

    Args:
        graph: the graph.
        values: (1, channels, H, W) uint8.
        new: the new length of the axis.
        axis: 2 or 3.
    """
    old = graph.add("Shape", [values], start=axis, end=axis + 1)
    ranges = [range(start, min(start + BLOCK, new)) for start in range(0, new, BLOCK)]
    blocks = [_make_block(graph, old, new, each) for each in ranges]
    unit = _weight_of_one(graph, [block.weights for block in blocks])
    half = graph.constant([0.5], np.float64)
    parts = []
    for block in blocks:
        scaled = graph.add("Add", [graph.add("Mul", [block.weights, unit]), half])
        weights = graph.add("Cast", [graph.add("Floor", [scaled])], to=TensorProto.FLOAT)
        part = graph.add("Slice", [values, block.start, block.stop, graph.constant([axis], np.int64)])
        part = graph.add("Cast", [part], to=TensorProto.FLOAT)
        if axis == 3:
            sums = graph.add("MatMul", [part, graph.add("Transpose", [weights], perm=[1, 0])])
        else:
            sums = graph.add("MatMul", [weights, part])
        parts.append(_to_bytes(graph, sums, graph.add("Cast", [unit], to=TensorProto.FLOAT)))
    return graph.join(parts, axis=axis)


def _make_block(graph: GraphBuilder, old: str, new: int, part: range) -> _Block:
    """Add the weights of old values in a range of new values, see `pixelwise.data.antialias.antialias_weights`.

    Positions are integers, in units of 1 / (2 * new) old values. So a runtime that computes in float32 rounds only the
    quotient of two integers.

    Args:
        graph: the graph.
        old: the name of the number of old values, (1,) int64.
        new: the number of all new values.
        part: the new values.
    """
    zero, one, two, unit = (graph.constant([value], np.int64) for value in (0, 1, 2, 2 * new))
    support = graph.add("Mul", [graph.add("Max", [old, graph.constant([new], np.int64)]), two])
    center = graph.add("Mul", [graph.constant(2 * np.array(part)[:, None] + 1, np.int64), old])
    first, last = (
        graph.add(
            "Add", [graph.add("Mul", [graph.constant([2 * each + 1], np.int64), old]), graph.constant([new], np.int64)]
        )
        for each in (part[0], part[-1])
    )
    low = graph.add("Max", [graph.add("Sub", [first, support]), zero])
    start = graph.add("Div", [low, unit])
    stop = graph.add("Min", [graph.add("Div", [graph.add("Add", [last, support]), unit]), old])
    ends = [graph.add("Squeeze", [each]) for each in (start, stop)]
    numbers = graph.add("Range", [*ends, graph.add("Squeeze", [one])])
    position = graph.add(
        "Mul", [graph.add("Add", [graph.add("Mul", [numbers, two]), one]), graph.constant([new], np.int64)]
    )
    distance = graph.add("Abs", [graph.add("Sub", [position, center])])
    shares = graph.add("Max", [graph.add("Sub", [support, distance]), zero])
    values = graph.add("Cast", [shares], to=TensorProto.DOUBLE)
    total = graph.add("ReduceSum", [values, graph.constant([1], np.int64)], keepdims=1)
    return _Block(start, stop, graph.add("Div", [values, total]))


def _weight_of_one(graph: GraphBuilder, weights: list[str]) -> str:
    """Add the integer that stands for the weight 1, a power of 2, (1,) float64.

    It is the largest for which all weights stay below `_WEIGHT_LIMIT`, with at most `_MAX_DIGITS` digits.
    """
    largest = [graph.add("ReduceMax", [each], keepdims=0) for each in weights]
    highest = graph.add("Max", largest)
    powers = graph.constant(2.0 ** np.arange(1, _MAX_DIGITS + 1), np.float64)
    scaled = graph.add("Add", [graph.add("Mul", [highest, powers]), graph.constant([0.5], np.float64)])
    fits = graph.add("Less", [scaled, graph.constant([_WEIGHT_LIMIT], np.float64)])
    digits = graph.add("ReduceSum", [graph.add("Cast", [fits], to=TensorProto.DOUBLE)], keepdims=1)
    return graph.add("Pow", [graph.constant([2], np.float64), digits])


def _to_bytes(graph: GraphBuilder, sums: str, unit: str) -> str:
    """Divide by the integer that stands for 1, round half up, limit to 0..255, and convert to uint8."""
    scaled = graph.add("Add", [graph.add("Div", [sums, unit]), graph.constant([0.5], np.float32)])
    limits = [graph.constant(limit, np.float32) for limit in (0, 255)]
    return graph.add("Cast", [graph.add("Clip", [graph.add("Floor", [scaled]), *limits])], to=TensorProto.UINT8)
