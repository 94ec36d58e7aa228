"""Models with random weights: their masks have several classes, and no training is needed."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.inference.predictor import Predictor
from pixelwise.models.config import ModelConfig
from pixelwise.models.model import SegmentationModel
from pixelwise.palette import default_palette
from tests.inference.helpers import make_image


def make_model(classes: tuple[str, ...], task: Task = MULTICLASS) -> SegmentationModel:
    """Build a small model of fixed random weights for images of 64x64 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SegmentationModel(
            ModelConfig(
                classes=classes,
                palette=default_palette(len(classes)),
                size=64,
                mean=(127.0, 127.0, 127.0),
                std=(60.0, 60.0, 60.0),
                task=task,
                encoder="mobilenetv2_050",
                encoder_layers=None,
                encoder_padding="native",
                decoder="fpn",
            )
        )


@pytest.fixture(scope="package")
def predictor() -> Predictor:
    """Predict three classes, on the CPU in float32."""
    return Predictor(make_model(("pet", "background", "border")), "cpu", "32-true")


@pytest.fixture(scope="package")
def multilabel_predictor() -> Predictor:
    """Predict three classes that may overlap. Two of their names differ only in characters that file names lack."""
    return Predictor(make_model(("left eye", "left/eye", "face"), MULTILABEL), "cpu", "32-true")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Write five images and a truncated one."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(make_image(20 + number, 30, number)).save(folder / f"{number}.png")
    (folder / "2b.png").write_bytes((folder / "2.png").read_bytes()[:200])
    return folder
