"""Trainings reduce every loss, overfit one image, and beat a constant prediction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from pixelwise.data.demo.synthetic import draw_dataset
from pixelwise.losses import list_losses
from tests.training.helpers import SMALL, value

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_the_default_preset_is_far_better_than_the_largest_class(tmp_path: Path) -> None:
    data = pw.load_dataset(draw_dataset(tmp_path / "pets", train=48, test=24, size=(96, 72)))
    run = pw.train(data, tmp_path / "run", epochs=8, image_size=64, batch_size=8, defaults=False)
    assert run.config.encoder_weights == "bundled"
    metrics = pw.evaluate(run, data).metrics
    confusion = np.array(metrics.confusion)
    fractions = confusion.sum(1) / confusion.sum()
    baseline = fractions.max() / 3  # a mask of the largest class: its IoU, and 0 for the others
    assert metrics.mean_iou is not None and metrics.mean_iou > baseline + 0.15
    assert metrics.accuracy is not None and metrics.accuracy > fractions.max() + 0.05
    losses = [value(row, "train_loss") for row in run.read_metrics()]
    assert losses[-1] < 0.75 * losses[0]


def test_it_overfits_one_image(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    one = replace(pets, train=pets.train[:1] * 8, val=pets.train[:1])
    settings = {"augmentation": "none", "image_size": 64, "epochs": 30, "batch_size": 2, "lr": 0.01}
    run = pw.train(one, tmp_path / "run", **SMALL | settings)
    last = run.read_metrics()[-1]
    assert value(last, "val_accuracy") > 0.93
    assert value(last, "val_miou") > 0.8
    assert value(last, "train_loss") < 0.2


@pytest.mark.parametrize("loss", list_losses("multiclass"))
def test_every_loss_decreases(pets: pw.DatasetIndex, tmp_path: Path, loss: str) -> None:
    run = pw.train(pets, tmp_path / "run", **SMALL | {"loss": loss, "epochs": 5, "lr": 0.01})
    losses = [value(row, "train_loss") for row in run.read_metrics()]
    assert losses[-1] < losses[0]
