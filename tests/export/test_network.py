"""The network of a run in ONNX, in float32 and as it is prepared for 8-bit integers."""

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose

from pixelwise.export.network import export_network
from pixelwise.export.quantize import join_normalization
from pixelwise.inference.exported.exported_file import NETWORK_INPUT
from pixelwise.models.model import create_model


@pytest.mark.parametrize(
    ("mean", "std", "is_joined"),
    [
        ((127.0,) * 3, (128.0,) * 3, True),
        ((127.5,) * 3, (127.5,) * 3, False),
        ((300.0,) * 3, (128.0,) * 3, False),
        ((120.0, 121.0, 120.0), (60.0,) * 3, False),
        ((120.0,) * 3, (60.0, 60.0, 70.0), False),
    ],
)
def test_the_normalization_is_one_operator_if_possible(
    mean: tuple[float, ...], std: tuple[float, ...], is_joined: bool
) -> None:
    torch.manual_seed(0)
    model = create_model("mobilenetv2_050", image_size=32, encoder_weights="none").eval()
    model.set_normalization(mean, std)
    network = export_network(model)
    assert "DequantizeLinear" not in [node.op_type for node in network.graph.node], "WebGPU computes it wrongly"
    join_normalization(network.graph)
    operators = [node.op_type for node in network.graph.node]
    assert ("DequantizeLinear" in operators, "Sub" in operators) == (is_joined, not is_joined)
    used = {name for node in network.graph.node for name in node.input}
    assert {each.name for each in network.graph.initializer} <= used
    image = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {NETWORK_INPUT: image})
    with torch.no_grad():
        expected = model(torch.from_numpy(image)).numpy()
    assert_allclose(logits, expected, atol=1e-4)
