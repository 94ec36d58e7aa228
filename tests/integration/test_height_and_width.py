"""Images with a height and a width: training, validation, evaluation and prediction in both views."""

import csv

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.input_size import View
from pixelwise.inference.predictor import Predictor
from tests.conftest import TINY

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def run(pets: pw.DatasetIndex, tmp_path_factory: pytest.TempPathFactory) -> pw.Run:
    settings = TINY | {"image_size": "48x80", "eval_scale": 1.4, "epochs": 1}
    return pw.train(pets, tmp_path_factory.mktemp("runs") / "wide", **settings)


def test_the_model_has_the_size_of_the_validation(run: pw.Run) -> None:
    assert "image_size: 48x80" in (run.path / "config.yaml").read_text()
    assert Predictor.load(run.path).size == (64, 96)


def test_the_validation_of_the_training_is_that_of_an_evaluation(run: pw.Run, pets: pw.DatasetIndex) -> None:
    with (run.path / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    evaluation = pw.evaluate(run, pets, "val", resolution="model")
    assert evaluation.metrics.mean_iou == pytest.approx(float(row["val_miou"]), abs=1e-5)


@pytest.mark.parametrize("view", ["whole", "tiles"])
def test_masks_have_the_size_of_the_image(view: View, run: pw.Run) -> None:
    image = np.random.default_rng(0).integers(0, 256, (150, 90, 3), dtype=np.uint8)
    prediction = Predictor.load(run.path, view=view)(image)
    assert prediction.mask.shape == (150, 90)
