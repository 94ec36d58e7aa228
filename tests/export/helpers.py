"""Exported files of small networks, and checks of them."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import pixelwise
from pixelwise.data.input_size import to_pair
from pixelwise.errors import RunError
from pixelwise.export.base import ExportedModel
from pixelwise.export.onnx_exporter import OnnxModel
from pixelwise.export.onnx_graph import LOGITS, OPSET
from pixelwise.export.openvino_exporter import OpenVinoModel
from pixelwise.export.torch_exporter import TorchModel
from pixelwise.inference.exported.exported_file import NETWORK_INPUT
from pixelwise.inference.exported.metadata import ExportMetadata, SelfTest
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.exported.self_test import verify
from pixelwise.inference.predictor import Predictor
from pixelwise.inference.thresholds import threshold_shift
from pixelwise.models.config import ModelConfig
from pixelwise.palette import default_palette
from tests.inference.helpers import make_image


def make_config(classes: int = 3, size: Any = 32, channels: int = 3, **fields: Any) -> ModelConfig:
    """Return the configuration of a model."""
    return ModelConfig(
        classes=tuple(f"class {index}" for index in range(classes)),
        palette=default_palette(classes),
        size=size,
        mean=(127.0,) * channels,
        std=(60.0,) * channels,
        encoder="mobilenetv2_050",
        encoder_layers=None,
        encoder_padding="native",
        decoder="fpn",
        **fields,
    )


def make_weights(config: ModelConfig) -> np.ndarray:
    """Return the weights of a network that is one 1x1 convolution, (C, channels) float32."""
    shape = (len(config.classes), len(config.mean))
    return np.random.default_rng(0).normal(0, 0.02, shape).astype(np.float32)


def make_network(config: ModelConfig) -> onnx.ModelProto:
    """Return a network that is one 1x1 convolution of the pixels minus 127."""
    height, width = to_pair(config.size)
    weights = make_weights(config)
    nodes = [
        helper.make_node("Cast", [NETWORK_INPUT], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float", "mean"], ["centered"]),
        helper.make_node("Conv", ["centered", "weights"], [LOGITS]),
    ]
    constants = [
        numpy_helper.from_array(np.array(127, np.float32), "mean"),
        numpy_helper.from_array(weights[:, :, None, None], "weights"),
    ]
    shape = [1, len(config.mean), height, width]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(NETWORK_INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [1, len(weights), height, width])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


class SmallNetwork(nn.Module):
    """The network of `make_network` in torch."""

    weights: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(make_weights(config))[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images."""
        return nn.functional.conv2d(images.float() - 127, self.weights)


def make_exported(
    suffix: str, config: ModelConfig, probabilities: bool = False, thresholds: Mapping[str, float] | None = None
) -> ExportedModel:
    """Return such a network in the format of a suffix."""
    shift = threshold_shift(thresholds or {}, config)
    if suffix == ".pt2":
        return TorchModel(SmallNetwork(config), config, probabilities, shift)
    is_onnx = suffix != ".xml"
    thresholds_shift = None if shift is None else shift.numpy()
    model = OnnxModel(make_network(config), config, probabilities, thresholds_shift, for_openvino=not is_onnx)
    return model if is_onnx else OpenVinoModel(model)


def write_file(
    path: Path,
    config: ModelConfig,
    tests: tuple[SelfTest, ...] | None = None,
    probabilities: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> Path:
    """Write the exported file of such a network. Its suffix is that of a target.

    Without `tests`, its only test is a mask of zeros.
    """
    if tests is None:
        height, width, classes = 6, 8, len(config.classes)
        image = np.zeros((height, width, len(config.mean)), np.uint8)
        tests = (SelfTest.encode(image, np.zeros(config.task.mask_shape(classes, height, width), np.uint8)),)
    model = make_exported(path.suffix, config, probabilities, thresholds)
    metadata = ExportMetadata(
        version=pixelwise.__version__,
        opset=model.opset,
        precision="float32",
        parity=1.0,
        model=config,
        thresholds=dict(thresholds or {}),
        tests=tests,
    )
    model.write(path, metadata)
    return path


def assert_same_predictions(path: Path, predictor: Predictor, *sizes: tuple[int, int]) -> None:
    """Assert that an exported file with probabilities gives the masks and confidences of a run.

    Args:
        path: the exported file.
        predictor: the run.
        sizes: height and width of each image.
    """
    file = ExportedPredictor.load(path)
    for number, size in enumerate(sizes):
        image = make_image(*size, seed=number)
        expected, result = predictor(image, probabilities=True), file(image, probabilities=True)
        assert_array_equal(result.mask, expected.mask)
        assert_array_equal(file(image).mask, expected.mask)
        assert result.probabilities is not None and expected.probabilities is not None
        assert_allclose(result.probabilities, expected.probabilities, atol=1e-4)
        assert result.class_confidences == pytest.approx(expected.class_confidences, abs=1e-4)


def assert_refused(path: Path, *parts: str) -> None:
    """Assert that a file cannot be opened, with an error of one line that names it and has these parts."""
    with pytest.raises(RunError) as caught:
        verify(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 600
    for part in parts:
        assert part in message


def assert_not_imported(code: str, *modules: str) -> None:
    """Run Python code in a new process, and assert that it imports none of these modules."""
    check = f"import sys\nloaded = sorted({set(modules)!r} & set(sys.modules))\nassert not loaded, loaded\n"
    result = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def code_of_command(*tokens: str | Path) -> str:
    """Return Python code that runs `pixelwise` with these arguments and asserts its success."""
    return f"from pixelwise.cli.app import run\nassert run({list(map(str, tokens))!r}) == 0\n"
