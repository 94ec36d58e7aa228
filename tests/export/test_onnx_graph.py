"""The operators around a network, of each target: mask, confidences and probabilities are those of a Predictor."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from pixelwise.data.input_size import to_pair
from pixelwise.data.resize import resize_image
from pixelwise.data.task import MULTILABEL
from pixelwise.errors import ConfigError
from pixelwise.export.onnx_exporter import OnnxModel
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.make_prediction import make_prediction
from pixelwise.inference.model_location import EXPORTED_SUFFIXES
from pixelwise.inference.prediction import Prediction
from pixelwise.inference.thresholds import threshold_shift
from pixelwise.models.config import ModelConfig
from tests.export.helpers import make_config, make_network, make_weights, write_file

CONFIGS: dict[str, dict[str, Any]] = {
    "multiclass": {"temperature": 1.7},
    "one class": {"classes": 1},
    "many classes, not square": {"classes": 40, "size": (24, 40)},
    "multi-label": {"task": MULTILABEL, "temperature": 0.6},
    "one label": {"task": MULTILABEL, "classes": 1},
    "bands with nodata": {"channels": 5, "band_ranges": ((0.0, 1000.0),) * 5},
    "multi-label bands with nodata": {"channels": 2, "band_ranges": ((0.0, 1.0),) * 2, "task": MULTILABEL},
}
SIZES = ((1, 1), (1, 50), (33, 20), (70, 90), (32, 32), (24, 40), (40, 32))
"""Sizes of images. The models have 32x32 or 24x40 pixels."""


def predict(
    config: ModelConfig,
    image: np.ndarray,
    probabilities: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> Prediction:
    """Predict with PyTorch."""
    pixels = resize_image(image, to_pair(config.size)).float() - 127
    logits = torch.einsum("kc,chw->khw", torch.from_numpy(make_weights(config)), pixels)
    return make_prediction(image, logits, config, probabilities, shift=threshold_shift(thresholds or {}, config))


def make_image(config: ModelConfig, height: int, width: int) -> np.ndarray:
    """Return an image of random values. A quarter of it has no data if the model has a value for it."""
    rng = np.random.default_rng(height)
    image = rng.integers(1, 256, (height, width, len(config.mean)), dtype=np.uint8)
    if config.band_ranges:
        image[: height // 2, : width // 2] = 0
        image[-1, -1, 0] = 0  # this pixel has data in another channel
    return image


@pytest.mark.parametrize("suffix", EXPORTED_SUFFIXES)
@pytest.mark.parametrize("name", [name for name, fields in CONFIGS.items() if fields.get("classes") != 1])
def test_thresholds_are_operators_of_the_file(name: str, suffix: str, tmp_path: Path) -> None:
    config = make_config(**CONFIGS[name])
    thresholds = {"class 0": 0.35, "class 1": 0.8}
    path = write_file(tmp_path / f"model{suffix}", config, probabilities=True, thresholds=thresholds)
    exported = ExportedPredictor.load(path)
    changed = 0
    for size in SIZES:
        image = make_image(config, *size)
        expected = predict(config, image, probabilities=True, thresholds=thresholds)
        result = exported.predict_batch([image], probabilities=True)[0]
        assert_array_equal(result.mask, expected.mask)
        changed += int(np.count_nonzero(expected.mask != predict(config, image).mask))
        assert result.probabilities is not None and expected.probabilities is not None
        assert_allclose(result.probabilities, expected.probabilities, atol=1e-5)
        with_data = expected.mask != 255 if expected.mask.ndim == 2 else expected.mask[0] != 255
        assert_allclose(result.confidence[with_data], expected.confidence[with_data], atol=1e-5)
        later = exported.predict_batch([image])[0]  # its confidence is computed when it is read
        assert_allclose(later.confidence[with_data], expected.confidence[with_data], atol=1e-5)
        assert result.class_confidences is not None and expected.class_confidences is not None
        for one, other in zip(result.class_confidences.values(), expected.class_confidences.values(), strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    assert changed > 100


@pytest.mark.parametrize("suffix", EXPORTED_SUFFIXES)
@pytest.mark.parametrize("name", CONFIGS)
def test_a_file_gives_the_prediction_of_pytorch(name: str, suffix: str, tmp_path: Path) -> None:
    config = make_config(**CONFIGS[name])
    exported = ExportedPredictor.load(write_file(tmp_path / f"model{suffix}", config, probabilities=True))
    for size in SIZES:
        image = make_image(config, *size)
        expected = predict(config, image, probabilities=True)
        result = exported.predict_batch([image], probabilities=True)[0]
        assert_array_equal(result.mask, expected.mask)
        assert result.probabilities is not None and expected.probabilities is not None
        assert_allclose(result.probabilities, expected.probabilities, atol=1e-5)
        assert result.nodata_pixels == expected.nodata_pixels
        assert result.class_fractions == expected.class_fractions
        confidences = expected.class_confidences or {}
        assert list(result.class_confidences or ()) == list(confidences)
        for each, value in (result.class_confidences or {}).items():
            assert value == (None if confidences[each] is None else pytest.approx(confidences[each], abs=1e-5))


def test_an_image_of_the_size_of_the_model_is_not_resized(tmp_path: Path) -> None:
    config = make_config()
    path = write_file(tmp_path / "model.onnx", config)
    model = onnx.load(path)
    branches = [node for node in model.graph.node if node.op_type == "If"]
    assert len(branches) == 2  # before and after the network
    same = [next(each.g for each in node.attribute if each.name == "then_branch") for node in branches]
    assert [[each.op_type for each in body.node] for body in same] == [["Transpose"], ["Identity"]]
    rest = [node.op_type for node in model.graph.node]
    assert "Resize" not in rest and "MatMul" not in rest
    model = OnnxModel(make_network(config), config, for_openvino=True).model
    assert "If" not in [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("suffix", EXPORTED_SUFFIXES)
def test_probabilities_need_the_output(suffix: str, tmp_path: Path) -> None:
    config = make_config()
    exported = ExportedPredictor.load(write_file(tmp_path / f"model{suffix}", config))
    image = make_image(config, 9, 9)
    with pytest.raises(ConfigError, match=rf"model\{suffix}: has no probabilities; export it with `probabilities`"):
        exported(image, probabilities=True)
    with pytest.raises(ConfigError, match="has no probabilities"):
        _ = exported(image).confidence
