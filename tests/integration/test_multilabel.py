"""Data in which a pixel can be of several classes: trained, measured by class, predicted, drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from pixelwise.data.io.mask import read_image_and_mask
from pixelwise.data.schema import LabelMap, MultilabelMask, ReadSpec
from pixelwise.inference.batch import predict_folder
from pixelwise.losses import list_losses
from pixelwise.palette import default_palette

READING = ReadSpec(LabelMap("multilabel", {0: 0, 255: 1}))
CLASSES = ("bright", "left")


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> pw.DatasetIndex:
    """Images with a bright square; one class is the square, the other the left half: they overlap."""
    root = tmp_path_factory.mktemp("layered")
    rng = np.random.default_rng(3)
    records = []
    for number in range(20):
        image = rng.integers(0, 90, (64, 80, 3), np.uint8)
        masks = np.zeros((2, 64, 80), np.uint8)
        top, left = rng.integers(0, 30), rng.integers(0, 45)
        image[top : top + 30, left : left + 30] += 150
        masks[0, top : top + 30, left : left + 30] = 255
        masks[1, :, :40] = 255
        Image.fromarray(image).save(root / f"{number}.png")
        images = []
        for name, mask in zip(CLASSES, masks, strict=True):
            Image.fromarray(mask).save(root / f"{number}-{name}.png")
            images.append(root / f"{number}-{name}.png")
        records.append(pw.Record(root / f"{number}.png", MultilabelMask(tuple(images))))
    kept = tuple(records)
    return pw.DatasetIndex(root, "made", CLASSES, default_palette(2), READING, kept[:12], kept[12:16], kept[16:])


def test_a_mask_has_a_layer_for_each_class(layered: pw.DatasetIndex) -> None:
    image, mask = read_image_and_mask(layered.train[0], READING)
    assert mask.shape == (2, *image.shape[:2])
    assert (mask[1, :, :40] == 1).all() and (mask[1, :, 40:] == 0).all()
    assert mask[0].sum() == 900 and (image[mask[0] == 1] >= 150).all()


@pytest.mark.parametrize("loss", list_losses("multilabel"))
def test_it_learns_both_classes_where_they_overlap(layered: pw.DatasetIndex, loss: str, tmp_path: Path) -> None:
    settings = {"image_size": 64, "epochs": 10, "batch_size": 4, "augmentation": "none", "lr": 1e-2, "freeze_encoder": True}
    run = pw.train(layered, tmp_path / "run", loss=loss, callbacks=["history_plot"], defaults=False, **settings)
    metrics = pw.evaluate(run, layered, "test")
    assert metrics.classes["left"].iou > 0.7 and metrics.classes["bright"].iou > 0.5, metrics.classes
    row = run.read_metrics()[-1]
    assert 0 < row["val_loss"] < run.read_metrics()[0]["val_loss"]

    out = tmp_path / "masks"
    image = layered.test[0].image
    predict_folder(pw.Predictor.load(run.path), [Path(str(image))], out)
    prediction = pw.Predictor.load(run.path)(Path(str(image)))
    assert prediction.mask.shape == (2, 64, 80) and set(np.unique(prediction.mask)) <= {0, 1}
    for index, name in enumerate(CLASSES):
        with Image.open(out / f"{Path(str(image)).stem}_mask_{name}.png") as image:
            np.testing.assert_array_equal(np.array(image), prediction.mask[index])
    report = json.loads((out / "predictions.json").read_text())
    assert report["photos"][0]["shares"]["left"] == pytest.approx(prediction.mask[1].mean(), abs=1e-6)
    assert sum(prediction.class_fractions.values()) > 0.5


def test_balanced_weights_lift_the_rare_class(layered: pw.DatasetIndex, tmp_path: Path) -> None:
    run = pw.train(
        layered, tmp_path / "run", size=64, epochs=1, batch_size=4, loss="sigmoid", class_weights="balanced",
        encoder_weights="none", freeze_encoder=True, samples=2,
    )  # fmt: skip
    assert run.read_metrics()[0]["train_loss"] > 0


def test_the_loss_must_fit_the_data(layered: pw.DatasetIndex, pets: pw.DatasetIndex, tmp_path: Path) -> None:
    with pytest.raises(pw.ConfigError, match=r"'cross_entropy' is not for this data.*sigmoid"):
        pw.train(layered, tmp_path / "a")
    with pytest.raises(pw.ConfigError, match=r"'sigmoid' is not for this data.*cross_entropy"):
        pw.train(pets, tmp_path / "b", loss="sigmoid")
