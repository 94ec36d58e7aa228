"""Nodes and constants of an ONNX graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper


class GraphBuilder:
    """Nodes and constants of a graph, added one after the other.

    Args:
        prefix: the start of the names that are made.

    Attributes:
        nodes: the nodes.
        constants: the constants.
    """

    def __init__(self, prefix: str = "job") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix

    def branch(self, name: str) -> "GraphBuilder":
        """Return a builder for the body of a control flow operator. It shares the constants, so nodes may use them."""
        body = GraphBuilder(f"{self._prefix}/{name}")
        body.constants = self.constants
        return body

    def body(self, output: str) -> onnx.GraphProto:
        """Return the nodes as the body of a control flow operator.

        Args:
            output: the name of its result, a uint8 tensor.
        """
        result = helper.make_tensor_value_info(output, onnx.TensorProto.UINT8, None)
        return helper.make_graph(self.nodes, self._prefix, [], [result])

    def add(self, op: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node with one output.

        Args:
            op: the operator.
            inputs: names of its inputs. "" stands for an optional input that is left out.
            output: the name of its output, or "" to make one.
            attributes: attributes of the operator.

        Returns:
            The name of the output.
        """
        output = output or f"{self._prefix}/{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"{output}_node", **attributes))
        return output

    def split(self, values: str, count: int, axis: int) -> list[str]:
        """Split a tensor into parts of length 1 along an axis, and return their names."""
        if count == 1:
            return [values]
        parts = [f"{self._prefix}/{values}_{index}" for index in range(count)]
        sizes = self.constant([1] * count, np.int64)
        name = f"{self._prefix}/{values}_split_node"
        self.nodes.append(helper.make_node("Split", [values, sizes], parts, name=name, axis=axis))
        return parts

    def join(self, parts: Sequence[str], axis: int) -> str:
        """Concatenate tensors along an axis, and return the name of the result."""
        return self.add("Concat", parts, axis=axis) if len(parts) > 1 else parts[0]

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Add a constant and return its name."""
        name = f"job/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name
