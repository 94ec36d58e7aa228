"""Test-time augmentation: the mean of an image and of its mirror image."""

from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.inference.fingerprint import fingerprint
from pixelwise.inference.flip_average import FlipAverage


def create_model(task: str = "multiclass") -> pw.SegmentationModel:
    torch.manual_seed(0)
    return pw.create_model("test_efficientnet", classes=3, image_size=32, encoder_weights="none", task=task)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_probabilities_are_the_mean_of_both(task: str) -> None:
    model = create_model(task)
    model.set_temperature(2.0)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    plain, averaged = (pw.Predictor(model, "cpu", tta=tta) for tta in (False, True))

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        result = plain(pixels, probabilities=True).probabilities
        assert result is not None
        return result

    expected = (probabilities(image) + probabilities(np.ascontiguousarray(image[:, ::-1]))[..., ::-1]) / 2
    result = averaged(image, probabilities=True).probabilities
    assert result is not None
    assert np.abs(result - expected).max() < 1e-4
    assert np.abs(result - probabilities(image)).max() > 1e-3


def test_the_prediction_of_the_mirror_image_is_the_mirrored_prediction() -> None:
    network = FlipAverage(create_model().eval(), create_model().config)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(network(images.flip(-1)), network(images).flip(-1), atol=1e-4)


def test_options_that_change_masks_are_part_of_the_fingerprint() -> None:
    model = create_model()
    options = [
        pw.Predictor(model, "cpu").options, pw.Predictor(model, "cpu", tta=True).options,
        pw.Predictor(model, "cpu", view="tiles", scale=0.5).options,
    ]  # fmt: skip
    assert options == ["", "tta=True", "view=tiles scale=0.5"]
    assert len({fingerprint(model, each) for each in options}) == 3


def test_saved_models_are_loaded_with_it(tmp_path: Path) -> None:
    model = create_model()
    model.save(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    loaded = pw.Predictor.load_run(tmp_path, "cpu", tta=True)
    expected = pw.Predictor(model, "cpu", tta=True)
    difference = loaded.logits([image])[0] - expected.logits([image])[0]
    assert loaded.tta and difference.abs().max() < 1e-3
