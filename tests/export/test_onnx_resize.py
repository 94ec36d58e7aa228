"""The operators that resize an image: each value must be that of torch."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from onnx import TensorProto, checker, helper

from pixelwise.data.input_size import to_pair
from pixelwise.data.resize import resize_image
from pixelwise.export.graph_builder import GraphBuilder
from pixelwise.export.onnx_resize import BLOCK, add_input_resize, add_size_check
from tests.export.helpers import make_config

Bytes = npt.NDArray[np.uint8]

MODEL_SIZE = (BLOCK + 7, 2 * BLOCK)


@pytest.fixture(scope="module", params=[False, True], ids=["all", "if needed"])
def resize(request: pytest.FixtureRequest) -> Callable[[Bytes], Bytes]:
    """Resize an image with the operators: each image, or those that do not have the model's size."""
    graph = GraphBuilder()
    config = make_config(size=MODEL_SIZE, channels=2)
    size = graph.add("Shape", ["image"], start=1, end=3)
    add_input_resize(graph, "image", config, "result", add_size_check(graph, size, config) if request.param else "")
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "resize",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "height", "width", 2])],
            [helper.make_tensor_value_info("result", TensorProto.UINT8, [1, 2, *to_pair(config.size)])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def run(image: Bytes) -> Bytes:
        result: Bytes = session.run(None, {"image": image[None]})[0][0]
        return result

    return run


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (1, 1),
        (1, 700),
        (700, 1),
        (2, 3),
        (61, 77),
        MODEL_SIZE,
        (MODEL_SIZE[0], 50),
        (MODEL_SIZE[0] + 1, MODEL_SIZE[1] - 1),
        (375, 500),
    ],
)
def test_each_value_is_that_of_torch(resize: Callable[[Bytes], Bytes], height: int, width: int) -> None:
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 2), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image), resize_image(image, MODEL_SIZE).numpy())


def test_extreme_values_stay_in_range(resize: Callable[[Bytes], Bytes]) -> None:
    image = np.zeros((200, 300, 2), np.uint8)
    image[:, 150:] = 255
    result = resize(image)
    assert (result[:, :, 0] == 0).all() and (result[:, :, -1] == 255).all()
    np.testing.assert_array_equal(result, resize_image(image, MODEL_SIZE).numpy())
