"""Training, evaluation and prediction of images with several bands, any number type, and pixels without data."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import pixelwise as pw
from pixelwise.data.io.tiff import NODATA_TAG
from pixelwise.data.pixel_scale import PixelScale
from pixelwise.data.spec import DatasetSpec
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.prediction import Prediction
from pixelwise.models.config import ModelConfig
from pixelwise.models.model import SegmentationModel

pytestmark = pytest.mark.integration


def write(root: Path, kind: str, count: int = 14) -> Path:
    """Write images whose mask is visible in one band, or in the few values that microscopes use of 16 bits."""
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((64, 80), np.uint8)
        top, left = rng.integers(0, 30, 2)
        mask[top : top + 30, left + 10 : left + 45] = 1
        if kind == "uint16":
            image = rng.normal(300, 30, mask.shape) + mask * 250.0
            image[0, 0] = 60_000  # a hot pixel
            tifffile.imwrite(root / "images" / f"{number}.tif", image.astype(np.uint16))
        else:
            bands = rng.normal(0, 1, (5, *mask.shape))
            bands[3] += mask * 6.0
            bands *= np.array([100, 1000, 50, 200, 500])[:, None, None]
            bands[:, :, :10] = -9999
            bands[1, 5, 20] = 30_000
            tags = [(NODATA_TAG, "s", 0, "-9999", True)]
            path = root / "images" / f"{number}.tif"
            tifffile.imwrite(path, bands.astype(kind), photometric="minisblack", extratags=tags)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    return root


@pytest.mark.parametrize("kind", ["float32", "uint16"])
def test_a_model_of_such_images_is_trained_evaluated_and_used(kind: str, tmp_path: Path) -> None:
    root = write(tmp_path / "data", kind)
    run = pw.train(
        pw.load_dataset(root), tmp_path / "run", encoder_training="none",
        image_size=64, epochs=5, batch_size=4, lr=1e-2, defaults=False,
    )  # fmt: skip
    config = SegmentationModel.load(run.path).config
    low, high = config.band_ranges[0]
    assert len(config.band_ranges) == len(config.mean) == (3 if kind == "uint16" else 5)
    assert 150 < high - low < 700 if kind != "uint16" else 350 < high - low < 600
    evaluation = pw.evaluate(run)
    assert evaluation.metrics.mean_iou is not None and evaluation.metrics.mean_iou > 0.7

    predictor = pw.Predictor.load(run.path)
    path = root / "images" / "0.tif"
    prediction = predictor(path)
    missing = np.zeros((64, 80), bool)
    if kind != "uint16":
        missing[:, :10] = True
    np.testing.assert_array_equal(prediction.mask == 255, missing)
    assert prediction.nodata_pixels == missing.sum()
    assert sum(prediction.areas.values()) == (~missing).sum()
    assert sum(prediction.class_fractions.values()) == pytest.approx(1)

    out = tmp_path / "out"
    assert predict_folder(predictor, [path], out, masks="as-given").image_count == 1
    stored = np.asarray(Image.open(out / "0_mask.png"))
    np.testing.assert_array_equal(stored == 255, missing)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert sum(int(row["pixels"]) for row in csv.DictReader(file)) == (~missing).sum()


def test_an_image_without_any_data_has_an_empty_prediction(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "float32", 4)
    data = pw.load_dataset(root)
    model = pw.Config(encoder="mobilenetv3_small_050", encoder_weights="none", image_size=64, device="cpu")
    predictor = pw.Predictor(model.create_model(data.classes, data.palette, data.read_spec))
    empty = predictor(np.full((130, 140, 5), np.nan, np.float32))  # large enough for a legend
    assert (empty.mask == 255).all() and set(empty.class_fractions.values()) == {0.0}
    assert empty.class_confidences == {"background": None, "foreground": None}
    assert empty.overlay().size == (140, 130) and empty.overlay().getbbox() is None


def test_masks_are_ignored_where_images_have_no_data_and_the_spec_keeps_the_option(tmp_path: Path) -> None:
    root = write(tmp_path / "data", "int16", 4)
    for path in (root / "images").iterdir():  # without the tag
        tifffile.imwrite(path, tifffile.imread(path), photometric="minisblack")
    image, mask = (data := pw.load_dataset(root, nodata=-9999)).read(data.train[0])
    assert (mask[:, :10] == 255).all() and (mask[:, 10:] < 2).all() and not image[:, :10].any()
    spec = DatasetSpec.of(data)
    assert spec.nodata == -9999 and spec.load(root).read_spec == data.read_spec
    assert (pw.load_dataset(root).read(data.train[0])[1] < 2).all(), "without the option, they are values"


def test_multilabel_masks_have_the_value_for_ignore_in_all_classes() -> None:
    model = pw.create_model(
        "mobilenetv3_small_050", classes=("a", "b"), encoder_weights="none", image_size=64, task="multilabel",
        pixel_scale=PixelScale(band_ranges=((0, 255),) * 3, nodata=9),
    )  # fmt: skip
    predictor = pw.Predictor(model, "cpu")
    image = np.full((20, 30, 3), 100, np.uint8)
    image[:, :5] = 9
    prediction = predictor(image)
    assert (prediction.mask[:, :, :5] == 255).all() and (prediction.mask[:, :, 5:] < 2).all()
    for packed in (False, True):
        (logits,) = predictor.logits([predictor_input(image, model.config)])
        again = predictor.to_prediction(predictor_input(image, model.config), logits, packed=packed)
        assert isinstance(again, Prediction)
        np.testing.assert_array_equal(np.asarray(again.mask), prediction.mask)


def predictor_input(image: np.ndarray, config: ModelConfig) -> np.ndarray:
    return config.pixel_scale.apply(image)
