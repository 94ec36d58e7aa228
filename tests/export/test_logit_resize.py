"""Bilinear resizing by matrix products."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose
from onnx import TensorProto, helper

from pixelwise.export.graph_builder import GraphBuilder
from pixelwise.export.logit_resize import add_bilinear_weights, multiply_last_resize
from pixelwise.export.onnx_graph import LOGITS, OPSET


def run(nodes: Any, constants: Any, values: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Compute the logits of nodes. Their inputs are `values` and, if it is given, `size`."""
    inputs = [helper.make_tensor_value_info("values", TensorProto.FLOAT, list(values.shape))]
    fed = {"values": values}
    if size is not None:
        inputs.append(helper.make_tensor_value_info("size", TensorProto.INT64, [2]))
        fed["size"] = np.array(size)
    output = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, None)
    graph = helper.make_graph(list(nodes), "graph", inputs, [output], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, fed)[0]
    return result


def resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize with torch."""
    return torch.nn.functional.interpolate(torch.from_numpy(values), size, mode="bilinear").numpy()


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (7, 5), (24, 40), (25, 39), (500, 375), (3000, 2)])
def test_products_are_the_resizing_of_torch(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(0, 10, (1, 2, 24, 40)).astype(np.float32)
    graph = GraphBuilder()
    rows, columns = add_bilinear_weights(graph, "size", (24, 40))
    graph.add("MatMul", [graph.add("MatMul", [rows, "values"]), columns], LOGITS)
    assert_allclose(run(graph.nodes, graph.constants, values, size), resize(values, size), atol=1e-3)


def make_network(old: tuple[int, int], new: tuple[int, int], **attributes: Any) -> onnx.ModelProto:
    """Return a network whose logits are resized values."""
    sizes = onnx.numpy_helper.from_array(np.array([1, 3, *new]), "sizes")
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["values", "values"], ["small"]),
            helper.make_node("Resize", ["small", "", "", "sizes"], [LOGITS], **attributes),
        ],
        "network",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [1, 3, *old])],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [1, 3, *new])],
        [sizes],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def test_the_last_resizing_of_a_network_becomes_products() -> None:
    network = make_network((8, 6), (32, 24), mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    graph = GraphBuilder()
    nodes = multiply_last_resize(network, graph, LOGITS)
    assert "Resize" not in [node.op_type for node in nodes]
    assert network.graph.node[-1].op_type == "Resize", "the network is not changed"
    values = np.random.default_rng(0).normal(0, 3, (1, 3, 8, 6)).astype(np.float32)
    assert_allclose(run(nodes, graph.constants, values), resize(values**2, (32, 24)), atol=1e-4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "nearest"},
        {"mode": "linear", "antialias": 1},
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ],
)
def test_other_resizing_stays(attributes: dict[str, Any]) -> None:
    network = make_network((8, 6), (32, 24), **attributes)
    graph = GraphBuilder()
    assert list(multiply_last_resize(network, graph, LOGITS)) == list(network.graph.node)
    assert not graph.constants
