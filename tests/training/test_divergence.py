"""A loss that becomes NaN: the step, its images and the cause."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import pixelwise as pw
from pixelwise.errors import TrainingDivergedError
from pixelwise.losses.multiclass import cross_entropy
from pixelwise.training.callbacks import Callback
from pixelwise.training.splits import make_train_val_split
from pixelwise.training.state import TrainState
from tests.training.helpers import SMALL

pytestmark = pytest.mark.integration

WHOLE: dict[str, Any] = SMALL | {"augmentation": "none", "batch_size": 4, "epochs": 3}


def mask_at_training_size(pets: pw.DatasetIndex, record: pw.Record) -> Tensor:
    from pixelwise.data.cache.store import load_and_resize

    return torch.from_numpy(load_and_resize(record, pets.read_spec, WHOLE["image_size"])[1])


def test_the_image_whose_loss_is_not_finite_is_named_and_saved(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    run = tmp_path / "run"
    record = make_train_val_split(pets, pw.Config(**{k: v for k, v in WHOLE.items() if k != "defaults"}))[0][3]
    bad, calls = mask_at_training_size(pets, record), 0

    def diverging(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        nonlocal calls
        calls += 1
        is_bad = calls > 8 and any(torch.equal(each, bad) for each in mask)
        return cross_entropy(logits, mask, pixel_weights) * (float("nan") if is_bad else 1.0)

    with pytest.raises(TrainingDivergedError) as caught:
        pw.train(pets, run, loss=diverging, **WHOLE)
    message = str(caught.value)
    assert f"with the images {record.image} (all in {run / 'diverged'})" in message
    assert "the model's outputs are finite, so the loss function is the cause" in message
    with (run / "diverged" / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    (row,) = [row for row in rows if row["loss"] == "nan"]
    assert row["file"] == str(record.image) and row["outputs_are_finite"] == "True"
    assert 2 <= len(rows) <= 5
    number = int(row["number"])
    with Image.open(run / "diverged" / f"{number:03d}_mask.png") as mask:
        assert np.array_equal(np.array(mask), bad.numpy())
    with Image.open(run / "diverged" / f"{number:03d}_image.png") as image:
        assert image.size == (32, 32) and image.mode == "RGB"
    with Image.open(run / "diverged" / "sheet.png") as sheet:
        assert min(sheet.size) > 100
    assert (run / "model.safetensors").exists(), "the best model so far is kept"


def test_weights_that_are_not_finite_are_the_cause(pets: pw.DatasetIndex, tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_step_end(self, state: TrainState) -> None:
            if state.step == 1:
                next(state.model.decoder.parameters()).data.fill_(float("nan"))

    message = r"epoch 1, step 2, with the images .*: the weights are not finite, because an earlier step was too large"
    with pytest.raises(TrainingDivergedError, match=message):
        pw.train(pets, tmp_path / "run", callbacks=[Spoil()], **WHOLE)


def test_a_report_that_cannot_be_written_does_not_hide_the_error(
    pets: pw.DatasetIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise OSError("no space left")

    def diverging(logits: Tensor, mask: Tensor, pixel_weights: Tensor | None = None) -> Tensor:
        return logits.sum() * float("nan")

    monkeypatch.setattr("pixelwise.training.divergence._write", fail)
    with pytest.raises(TrainingDivergedError, match="became nan in epoch 1, step 1; lower `lr`"):
        pw.train(pets, tmp_path / "run", loss=diverging, **WHOLE)
    assert "diverged: not written (OSError: no space left)" in caplog.messages
