"""Tests of data whose pixels can have several classes: training, evaluation by class, and prediction."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import LabelMap, MultilabelMask, ReadSpec
from pixelwise.errors import ConfigError
from pixelwise.inference.batch import predict_folder
from pixelwise.losses import list_losses
from pixelwise.palette import default_palette

pytestmark = pytest.mark.integration

READ_SPEC = ReadSpec(LabelMap("multilabel", {0: 0, 255: 1}))
CLASSES = ("bright", "left")


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> pw.DatasetIndex:
    """Draw images with a bright square. One class is the square, the other the left half: they overlap."""
    root = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(3)
    records = []
    for number in range(20):
        image = rng.integers(0, 90, (64, 80, 3), np.uint8)
        mask = np.zeros((2, 64, 80), np.uint8)
        top, left = rng.integers(0, 30), rng.integers(0, 45)
        image[top : top + 30, left : left + 30] += 150
        mask[0, top : top + 30, left : left + 30] = 255
        mask[1, :, :40] = 255
        Image.fromarray(image).save(root / f"{number}.png")
        files = tuple(root / f"{number}-{name}.png" for name in CLASSES)
        for file, channel in zip(files, mask, strict=True):
            Image.fromarray(channel).save(file)
        records.append(pw.Record(root / f"{number}.png", MultilabelMask(files)))
    return pw.DatasetIndex(
        root,
        "squares",
        CLASSES,
        default_palette(2),
        READ_SPEC,
        train=tuple(records[:12]),
        val=tuple(records[12:16]),
        test=tuple(records[16:]),
    )


def test_mask_has_a_channel_for_each_class(squares: pw.DatasetIndex) -> None:
    image, mask = read_image_and_mask(squares.train[0], READ_SPEC)
    assert mask.shape == (2, *image.shape[:2])
    assert (mask[1, :, :40] == 1).all() and (mask[1, :, 40:] == 0).all()
    assert mask[0].sum() == 900 and (image[mask[0] == 1] >= 150).all()


@pytest.mark.slow
@pytest.mark.parametrize("loss", list_losses("multilabel"))
def test_training_learns_both_classes_where_they_overlap(squares: pw.DatasetIndex, loss: str, tmp_path: Path) -> None:
    run = pw.train(
        squares,
        tmp_path / "run",
        loss=loss,
        defaults=False,
        image_size=64,
        epochs=10,
        batch_size=4,
        augmentation="none",
        lr=1e-2,
        encoder_training="none",
    )
    metrics = pw.evaluate(run, squares, "test").metrics
    left, bright = metrics.classes["left"].iou, metrics.classes["bright"].iou
    assert left is not None and left > 0.7
    assert bright is not None and bright > 0.5
    first, *_, last = [row["val_loss"] for row in run.read_metrics()]
    assert first is not None and last is not None and 0 < last < first
    check_prediction(run, Path(str(squares.test[0].image)), tmp_path / "masks")


def check_prediction(run: pw.Run, image: Path, out: Path) -> None:
    """Check that prediction files, the report and `Prediction` agree, and that classes overlap."""
    predictor = pw.Predictor.load(run.path)
    predict_folder(predictor, [image], out)
    prediction = predictor(image)
    assert prediction.mask.shape == (2, 64, 80) and set(np.unique(prediction.mask)) <= {0, 1}
    assert (prediction.mask.sum(0) == 2).any(), "some pixels have both classes"
    for name, channel in zip(CLASSES, prediction.mask, strict=True):
        with Image.open(out / f"{image.stem}_mask_{name}.png") as stored:
            np.testing.assert_array_equal(np.array(stored), channel)
    report = json.loads((out / "predictions.json").read_text())
    assert report["photos"][0]["shares"]["left"] == pytest.approx(prediction.mask[1].mean(), abs=1e-6)
    assert sum(prediction.class_fractions.values()) > 0.5


def test_class_weights_change_the_loss(squares: pw.DatasetIndex, tmp_path: Path) -> None:
    losses = []
    for class_weights in ("none", "balanced"):
        run = pw.train(
            squares,
            tmp_path / class_weights,
            loss="bce",
            class_weights=class_weights,
            defaults=False,
            image_size=64,
            epochs=1,
            batch_size=4,
            encoder_weights="none",
            encoder_training="none",
        )
        losses.append(run.read_metrics()[0]["train_loss"] or 0.0)
    assert losses[0] != losses[1] and min(losses) > 0


def test_loss_must_fit_the_task(squares: pw.DatasetIndex, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cross_entropy.*multilabel.*bce"):
        pw.train(squares, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"bce.*multiclass.*cross_entropy"):
        pw.train(pets, tmp_path / "b", loss="bce")
    assert not list(tmp_path.iterdir())
