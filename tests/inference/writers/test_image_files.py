"""Tests of cutouts, confidence, probabilities and labels: their pixels are those of the prediction."""

import csv
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

from pixelwise.data.task import MULTICLASS, MULTILABEL, Task
from pixelwise.inference.batch import predict_folder
from pixelwise.inference.object_labels import image_labels
from pixelwise.inference.objects import find_objects
from pixelwise.inference.predictor import Predictor
from tests.inference.helpers import make_image

BANDS = {
    "cutout": (4, "uint8"), "confidence": (1, "uint8"), "probabilities": (3, "float32"), "labels": (1, "uint16"),
}  # fmt: skip
"""Kind of file → its number of bands and their type."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    Image.fromarray(make_image(70, 90, 4)).save(path)
    return path


def test_cutout_confidence_and_probabilities(predictor: Predictor, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict_folder(predictor, [image], out, write=["cutout", "confidence", "probabilities"])
    prediction = predictor(image, probabilities=True)
    assert prediction.probabilities is not None
    cutout = np.asarray(Image.open(out / "one_cutout.png"))
    opaque = prediction.mask != prediction.classes.index("background")
    assert opaque.any() and not opaque.all() and cutout.shape == (70, 90, 4)
    assert np.mean((cutout[..., 3] == 255) == opaque) > 0.999
    shown = cutout[..., 3] == 255
    np.testing.assert_array_equal(cutout[shown, :3], prediction.image[shown])
    assert not cutout[~shown].any(), "hidden pixels keep no colors"
    confidence = np.asarray(Image.open(out / "one_confidence.png"))
    np.testing.assert_allclose(confidence / 255, prediction.probabilities.max(0), atol=0.01)
    np.testing.assert_allclose(tifffile.imread(out / "one_probabilities.tif"), prediction.probabilities, atol=0.01)


def test_labels_are_the_rows_of_the_objects(predictor: Predictor, image: Path, tmp_path: Path) -> None:
    predict_folder(predictor, [image], tmp_path / "out", write=["label-tiff", "csv"])
    with tifffile.TiffFile(tmp_path / "out" / "one_labels.tif") as file:
        labels, info = file.asarray(), file.imagej_metadata
        assert file.is_imagej and file.pages.first.dtype == np.uint16 and labels.shape == (70, 90)
    with (tmp_path / "out" / "objects.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert rows and labels.max() == len(rows)
    assert np.bincount(labels.ravel())[1:].tolist() == [int(row["area"]) for row in rows]
    for number, row in enumerate(rows, start=1):
        at = np.argwhere(labels == number)
        assert [at[:, 0].min(), at[:, 1].min()] == [int(row["bbox-0"]), int(row["bbox-1"])]
    assert info is not None
    assert {line.split(": ")[1] for line in info["Info"].splitlines()} == {row["class"] for row in rows}


def test_labels_of_a_multilabel_model_have_a_channel_per_class(
    multilabel_predictor: Predictor, image: Path, tmp_path: Path
) -> None:
    predict_folder(multilabel_predictor, [image], tmp_path / "out", write=["label-tiff"])
    mask = multilabel_predictor(image).mask
    with tifffile.TiffFile(tmp_path / "out" / "one_labels.tif") as file:
        assert file.series[0].axes == "CYX"
        assert np.mean((file.asarray() > 0) == (mask == 1)) > 0.999


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL])
def test_labels_of_bands_are_connected(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.ndimage import label

    monkeypatch.setattr("pixelwise.inference.object_labels.TILE", 7)
    mask = np.random.default_rng(0).integers(0, 2, (3, 40, 30)).astype(np.uint8)
    mask[:, 5:9, 3:6] = 255
    channels = mask if task is MULTILABEL else mask[:1]
    labels = image_labels(list(channels), task, 3 if task is MULTILABEL else 2, (0,))
    painted = np.concatenate(list(labels.bands(np.uint32))).reshape(channels.shape)
    first = 0
    for channel, numbers in zip(channels, painted, strict=True):
        expected, count = label(channel == 1, np.ones((3, 3)))
        np.testing.assert_array_equal(numbers, np.where(expected, expected + first, 0))
        first += count
    found = find_objects(channels if task is MULTILABEL else mask[0], task, 3 if task is MULTILABEL else 2, (0,))
    assert labels.count == first == len(found.areas)


def test_many_objects_need_32_bits(tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    from pixelwise.inference.writers import image_files

    Image.fromarray(make_image(60, 60)).save(tmp_path / "a.png")
    monkeypatch.setattr(image_files, "_MAX_IMAGEJ_LABELS", 0)
    predict_folder(predictor, [tmp_path / "a.png"], tmp_path / "out", write=["label-tiff"])
    with tifffile.TiffFile(tmp_path / "out" / "a_labels.tif") as file:
        assert not file.is_imagej and file.pages.first.dtype == np.uint32 and file.asarray().max() > 0


def test_a_georeferenced_image_keeps_its_georeference_in_all_files(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    transform = rasterio.Affine(0.5, 0, 440720, 0, -0.5, 3751320)
    with rasterio.open(
        path, "w", driver="GTiff", width=90, height=70, count=3, dtype="uint8", crs="EPSG:32611", transform=transform
    ) as file:
        file.write(np.moveaxis(make_image(70, 90), 2, 0))
    names = ["cutout", "confidence", "probabilities", "label-tiff"]
    result = predict_folder(predictor, [path], tmp_path / "out", write=names)
    (entry,) = result.report["photos"]
    for kind in BANDS:
        with rasterio.open(tmp_path / "out" / entry[kind]) as file:
            assert (file.crs, file.transform) == ("EPSG:32611", transform), kind
            assert (file.height, file.width) == (70, 90)
            assert (file.count, file.dtypes[0]) == BANDS[kind]
    assert not list((tmp_path / "out").glob(".*")), "no temporary files are left"
