"""The images inside a file, and the comparison of their masks."""

from pathlib import Path

import numpy as np
import pytest

from pixelwise.data.task import MULTILABEL
from pixelwise.inference.exported.metadata import SelfTest
from pixelwise.inference.exported.predictor import ExportedPredictor
from pixelwise.inference.exported.self_test import verify
from tests.export.helpers import make_config, write_file
from tests.inference.helpers import make_image


@pytest.mark.parametrize(("channels", "classes"), [(3, None), (1, None), (5, 4), (3, 2)])
def test_images_and_masks_are_stored_without_loss(channels: int, classes: int | None) -> None:
    rng = np.random.default_rng(channels)
    image = rng.integers(0, 256, (7, 11, channels), dtype=np.uint8)
    mask = rng.integers(0, 2, (7, 11) if classes is None else (classes, 7, 11), dtype=np.uint8)
    again = SelfTest.encode(image, mask).decode(channels, classes)
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], mask)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_verify_counts_equal_pixels(task: str, tmp_path: Path) -> None:
    config = make_config(task=task)
    image = make_image(20, 50)
    mask = ExportedPredictor.load(write_file(tmp_path / "first.onnx", config))(image).mask
    wrong = mask.copy()
    if config.task is MULTILABEL:
        wrong[0, 0, :3] = 1 - wrong[0, 0, :3]
    else:
        wrong[0, :3] = (wrong[0, :3] + 1) % 3
    for stored, equal in ((mask, 1.0), (wrong, 1 - 3 / mask.size)):
        result = verify(write_file(tmp_path / "model.onnx", config, (SelfTest.encode(image, stored),)))
        assert list(result.equal) == pytest.approx([equal])
        assert result.sizes == ((20, 50),)
        assert result.is_passed == (equal >= 0.999)
